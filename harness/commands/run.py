"""`harness run` and `harness plan`."""

from __future__ import annotations

from typing import TYPE_CHECKING

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
    Method,
    Model,
    Out,
    Preset,
    Quiet,
    Seed,
    Set,
    options,
    print_json,
    print_tables,
    sets,
)

if TYPE_CHECKING:
    from harness.app import Request


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
    alpaca_dir: AlpacaDir = None,
    allow_contamination: AllowContamination = False,
    budget_usd: BudgetUsd = None,
    set_: Set = None,
    config: Config = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Run methods iteration by iteration, score each, write board and report.

    The same command again resumes. Example: harness run --method dno,sft --iters 6
    """
    from harness import app as application
    from harness.progress import Reporter
    from leaderboards import table
    from leaderboards.board import rows_of

    wanted = options(
        iters,
        seed,
        model,
        data,
        judge,
        eval_judge,
        benchmark,
        alpaca_dir,
        allow_contamination,
        budget_usd,
    )
    request = application.Request(method, preset, wanted, config, sets(set_), out, fork)
    if "," in method:
        _run_several(request, quiet, as_json)
        return
    record = application.run(request, Reporter(quiet))
    if as_json:
        report = str(record.path / application.REPORT / "index.html")
        print_json({"run": str(record.path), "report": report, **table.as_dicts(rows_of(record))})
    elif not quiet:
        print_tables(table.render(rows_of(record), with_published=False))


def _run_several(request: Request, quiet: bool, as_json: bool) -> None:
    from harness import several, show_compare
    from harness.errors import HarnessError
    from harness.progress import Reporter
    from leaderboards import table
    from leaderboards.board import rows_of

    made = several.run_several(request, Reporter(quiet))
    rows = [row for record in made.records for row in rows_of(record)]
    if as_json:
        seed = made.records[0].config.seed if made.records else 0
        comparison = show_compare.as_dict(made.compared, seed) if made.compared else None
        runs = [str(record.path) for record in made.records]
        said = {"runs": runs, "comparison": comparison, "failed": dict(made.failed)}
        print_json({**said, **table.as_dicts(rows)})
    elif not quiet:
        print_tables(table.render(rows, with_published=False))
        if made.compared:
            print_tables(show_compare.tables(made.compared))
    if made.failed:
        why = "; ".join(f"{method}: {error}" for method, error in made.failed.items())
        raise HarnessError(f"{len(made.failed)} of the methods did not finish: {why}")


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
    alpaca_dir: AlpacaDir = None,
    allow_contamination: AllowContamination = False,
    budget_usd: BudgetUsd = None,
    set_: Set = None,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Show what a run would do and what it would cost; changes nothing.

    Example: harness plan --method dno --iters 6
    """
    from harness import app as application
    from harness import several, show
    from harness.progress import Reporter

    wanted = options(
        iters,
        seed,
        model,
        data,
        judge,
        eval_judge,
        benchmark,
        alpaca_dir,
        allow_contamination,
        budget_usd,
    )
    request = application.Request(method, preset, wanted, config, sets(set_), out, fork)
    each = several.requests(request) if "," in method else [request]
    plans = [application.plan(one, Reporter(quiet=True)) for one in each]
    if as_json:
        said = [show.plan_dict(experiment, stages) for experiment, stages in plans]
        print_json(said if "," in method else said[0])
    else:
        for experiment, stages in plans:
            print_tables(show.plan_tables(experiment, stages))
