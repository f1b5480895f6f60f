"""The command line: one short function a command, no logic, nothing heavy at --help."""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from harness.errors import HarnessError

app = typer.Typer(
    name="harness",
    help="Benchmark methods that post-train language models with preferences.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
models_app = typer.Typer(help="The embedded models.", no_args_is_help=True)
app.add_typer(models_app, name="models")

Method = Annotated[
    str, typer.Option("--method", "-m", help="A method's name, or my_file.py:MyMethod.")
]
Iters = Annotated[int | None, typer.Option("--iters", "-n", min=1, help="Iterations (6).")]
Preset = Annotated[str, typer.Option(help="tiny, quickstart or laptop.")]
Out = Annotated[Path | None, typer.Option(help="Run folder (runs/METHOD-PRESET).")]
Fork = Annotated[
    Path | None, typer.Option(help="Start anew in this folder from what is equal in the run's.")
]
Seed = Annotated[int | None, typer.Option(min=0, help="Seed of everything random (0).")]
Model = Annotated[str | None, typer.Option(help="Embedded name, local folder, or org/name.")]
Data = Annotated[str | None, typer.Option(help="Training prompts: mini, or a JSONL/parquet file.")]
Judge = Annotated[str | None, typer.Option(help="Judge of training candidates.")]
EvalJudge = Annotated[str | None, typer.Option(help="Judge of the outputs (the training judge).")]
Benchmark = Annotated[str | None, typer.Option(help="mini, or a JSONL/parquet file of prompts.")]
Set = Annotated[list[str] | None, typer.Option("--set", help="name=value; method.x=… for its own.")]
Config = Annotated[Path | None, typer.Option(help="YAML file of settings.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress, errors only.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON alone on stdout.")]


@app.command()
def run(
    method: Method,
    iters: Iters = None,
    preset: Preset = "quickstart",
    out: Out = None,
    fork: Fork = None,
    seed: Seed = None,
    model: Model = None,
    data: Data = None,
    judge: Judge = None,
    eval_judge: EvalJudge = None,
    benchmark: Benchmark = None,
    set_: Set = None,
    config: Config = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Run a method iteration by iteration, score each, write board and report.

    The same command again resumes. Example: harness run --method dno --iters 6
    """
    from harness import app as application
    from harness.progress import Reporter

    options = _options(iters, seed, model, data, judge, eval_judge, benchmark)
    request = application.Request(method, preset, options, config, _sets(set_), out, fork)
    record = application.run(request, Reporter(quiet))
    from leaderboards import table
    from leaderboards.board import rows_of

    if as_json:
        report = str(record.path / application.REPORT / "index.html")
        _print_json({"run": str(record.path), "report": report, **table.as_dicts(rows_of(record))})
    elif not quiet:
        _print_tables(table.render(rows_of(record), with_published=False))


@app.command()
def plan(
    method: Method,
    iters: Iters = None,
    preset: Preset = "quickstart",
    out: Out = None,
    fork: Fork = None,
    seed: Seed = None,
    model: Model = None,
    data: Data = None,
    judge: Judge = None,
    eval_judge: EvalJudge = None,
    benchmark: Benchmark = None,
    set_: Set = None,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Show what a run would do and what it would cost; changes nothing.

    Example: harness plan --method dno --iters 6
    """
    from harness import app as application
    from harness import show
    from harness.progress import Reporter

    options = _options(iters, seed, model, data, judge, eval_judge, benchmark)
    request = application.Request(method, preset, options, config, _sets(set_), out, fork)
    experiment, stages = application.plan(request, Reporter(quiet=True))
    if as_json:
        _print_json(show.plan_dict(experiment, stages))
    else:
        _print_tables(show.plan_tables(experiment, stages))


@app.command()
def methods(as_json: Json = False) -> None:
    """List the methods: paper, declared plan, settings, and where each was loaded from.

    Example: harness methods --json
    """
    from harness import show

    listed = show.method_dicts()
    if as_json:
        _print_json(listed)
    else:
        _print_tables(show.method_tables(listed))


@app.command()
def board(
    runs: Annotated[list[Path] | None, typer.Argument(help="Run folders (all of runs/).")] = None,
    as_json: Json = False,
) -> None:
    """Rank the iterations of runs by benchmark, decoding and judge; judges are never mixed.

    Example: harness board runs/dno-quickstart runs/sft-quickstart
    """
    from harness import app as application
    from leaderboards import table

    rows = application.board_rows(runs or [])
    if as_json:
        _print_json(table.as_dicts(rows))
    else:
        _print_tables(table.render(rows))


@app.command()
def report(
    runs: Annotated[list[Path], typer.Argument(help="Run folders.")],
    out: Annotated[Path | None, typer.Option(help="Folder (RUN/report, or ./report).")] = None,
    as_json: Json = False,
) -> None:
    """Write one self-contained index.html and its figures as PNG and SVG.

    Example: harness report runs/dno-quickstart
    """
    from harness import app as application

    folder = out or (runs[0] / application.REPORT if len(runs) == 1 else Path("report"))
    page = application.write_run_report(runs, folder)
    if as_json:
        _print_json({"report": str(page)})
    else:
        typer.echo(page)


@models_app.command("list")
def models_list(as_json: Json = False) -> None:
    """List the embedded models and where they are kept.

    Example: harness models list
    """
    from harness import show
    from harness.models.store import list_models

    infos = list_models()
    if as_json:
        _print_json(show.model_dicts(infos))
    else:
        _print_tables([show.model_table(infos)])


@models_app.command("pull")
def models_pull(
    name: Annotated[str, typer.Argument(help="An embedded model, such as smollm2-135m.")],
    quiet: Quiet = False,
) -> None:
    """Fetch an embedded model and keep it under HARNESS_HOME.

    Example: harness models pull smollm2-135m
    """
    from harness.models.store import pull
    from harness.progress import Reporter

    typer.echo(pull(name, Reporter(quiet).say))


def _options(
    iters: int | None,
    seed: int | None,
    model: str | None,
    data: str | None,
    judge: str | None,
    eval_judge: str | None,
    benchmark: str | None,
) -> dict[str, Any]:
    """What was typed, in RunConfig's shape; what was not is left to the other layers."""
    nested = {
        "iterations": iters,
        "seed": seed,
        "model": model,
        "data": {"train": data},
        "judge": {"train": judge, "eval": eval_judge},
        "benchmark": {"name": benchmark},
    }
    typed: dict[str, Any] = {}
    for key, value in nested.items():
        if isinstance(value, dict):
            value = {k: v for k, v in value.items() if v is not None} or None
        if value is not None:
            typed[key] = value
    return typed


def _sets(sets: list[str] | None) -> tuple[str, ...]:
    return tuple(sets or ())


def _print_json(data: Any) -> None:
    typer.echo(json.dumps(data, indent=1, ensure_ascii=False))


def _print_tables(tables: Any) -> None:
    from rich.console import Console

    # a pipe has no width: tables are then as wide as they need
    console = Console(width=None if sys.stdout.isatty() else 160)
    for table in tables:
        console.print(table)


class _Stopped(BaseException):
    """Ctrl-C or SIGTERM; click would turn a KeyboardInterrupt into a bare 'Aborted!'."""


def _stop(_signal: int, _frame: object) -> NoReturn:
    raise _Stopped


def main() -> NoReturn:
    """The console script: a user's mistake is one sentence and exit code 1."""
    signal.signal(signal.SIGINT, _stop)
    signal.signal(signal.SIGTERM, _stop)
    try:
        app(prog_name="harness")  # not `python -m …` where it is started so
    except HarnessError as error:
        if os.environ.get("HARNESS_DEBUG") == "1":
            raise
        typer.echo(f"harness: {error}", err=True)
        sys.exit(1)
    except OSError as error:
        if os.environ.get("HARNESS_DEBUG") == "1" or error.strerror is None:
            raise
        where = f"{error.filename}: " if error.filename else ""
        typer.echo(
            f"harness: {where}{error.strerror}; check the path (HARNESS_DEBUG=1 says more).",
            err=True,
        )
        sys.exit(1)
    except _Stopped:
        typer.echo("harness: stopped; the same command goes on from here.", err=True)
        sys.exit(130)
    sys.exit(0)


if __name__ == "__main__":
    main()
