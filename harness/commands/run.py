"""`harness run` and `harness plan`."""
# annotations are read while this loads, so they are no strings here

import inspect
from collections.abc import Callable
from dataclasses import asdict
from functools import wraps
from typing import TYPE_CHECKING, Any

from harness.commands.options import (
    AllowContamination,
    AlpacaDir,
    Benchmark,
    BudgetUsd,
    Config,
    Data,
    EvalJudge,
    Fork,
    Iters,
    Json,
    Judge,
    Match,
    Method,
    Model,
    Out,
    Preset,
    Quiet,
    Seed,
    Set,
    narrow,
    print_json,
    print_tables,
    sets,
    typed,
)

if TYPE_CHECKING:
    from harness.app import Request


def _request(
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
    alpaca_dir: AlpacaDir = None,
    match: Match = None,
    allow_contamination: AllowContamination = False,
    budget_usd: BudgetUsd = None,
    set_: Set = None,
    config: Config = None,
) -> "Request":
    """What was typed; what was not is left to the other layers."""
    from harness.app import Request

    options = {
        "iterations": iters,
        "seed": seed,
        "model": model,
        "data": {"train": data, "allow_contamination": allow_contamination or None},
        "judge": {"train": judge, "eval": eval_judge},
        "judging": {"budget_usd": budget_usd},
        "benchmark": {"name": benchmark, "alpaca_dir": alpaca_dir},
    }
    return Request(method, preset, typed(options), config, sets(set_), out, fork, match)


def _asked(command: Callable[..., None]) -> Callable[..., None]:
    """A command that takes the options of `_request` in place of the request they make."""
    options = inspect.signature(_request).parameters
    _, *own = inspect.signature(command).parameters.values()

    @wraps(command)
    def asked(**given: Any) -> None:
        request = _request(**{name: given.pop(name) for name in options})
        command(request, **given)

    asked.__signature__ = inspect.Signature([*options.values(), *own])  # type: ignore[attr-defined]
    asked.__annotations__ = {p.name: p.annotation for p in (*options.values(), *own)}
    return asked


@_asked
def run(request: "Request", quiet: Quiet = False, as_json: Json = False) -> None:
    """Run methods iteration by iteration, and score each iteration.

    Board and report are written as it goes. The same command again resumes.

    Example: harness run --method dno,sft --iters 6
    """
    from harness import app as application
    from harness.progress import Reporter
    from leaderboards import table
    from leaderboards.board import rows_of

    if "," in request.method:
        _run_several(request, quiet, as_json)
        return
    record = application.run(request, Reporter(quiet))
    if as_json:
        report = str(record.path / application.REPORT / "index.html")
        print_json({"run": str(record.path), "report": report, **table.as_dicts(rows_of(record))})
    elif not quiet:
        print_tables(table.render(rows_of(record), with_published=False, narrow=narrow()))


def _run_several(request: "Request", quiet: bool, as_json: bool) -> None:
    from harness import several, show_compare
    from harness.errors import HarnessError
    from harness.match import spent
    from harness.progress import Reporter
    from leaderboards import table
    from leaderboards.board import rows_of

    made = several.run_several(request, Reporter(quiet))
    rows = [row for record in made.records for row in rows_of(record)]
    costs = {record.method: spent(record) for record in made.records}
    if as_json:
        seed = made.records[0].config.seed if made.records else 0
        comparison = show_compare.as_dict(made.compared, seed) if made.compared else None
        said = {
            "runs": [str(record.path) for record in made.records],
            "comparison": comparison,
            "match": request.match,
            "spent": {method: asdict(cost) for method, cost in costs.items()},
            "failed": dict(made.failed),
        }
        print_json({**said, **table.as_dicts(rows)})
    elif not quiet:
        print_tables(table.render(rows, with_published=False, narrow=narrow()))
        if made.compared:
            print_tables(show_compare.tables(made.compared))
        print_tables([show_compare.costs_table(costs, request.match)])
    if made.failed:
        why = "; ".join(f"{method}: {error}" for method, error in made.failed.items())
        raise HarnessError(f"{len(made.failed)} of the methods did not finish: {why}")


@_asked
def plan(request: "Request", as_json: Json = False) -> None:
    """Show what a run would do and what it would cost.

    Nothing is changed.

    Example: harness plan --method dno --iters 6
    """
    from harness import app as application
    from harness import several, show
    from harness.progress import Reporter

    many = "," in request.method
    reporter = Reporter(quiet=True)
    plans = (
        several.plan_several(request, reporter) if many else [application.plan(request, reporter)]
    )
    if as_json:
        said = [show.plan_dict(experiment, stages) for experiment, stages in plans]
        print_json(said if many else said[0])
    else:
        for experiment, stages in plans:
            print_tables(show.plan_tables(experiment, stages))
