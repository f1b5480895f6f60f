"""`harness run` and `harness plan`."""

from __future__ import annotations

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
    """Run a method iteration by iteration, score each, write board and report.

    The same command again resumes. Example: harness run --method dno --iters 6
    """
    from harness import app as application
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
    record = application.run(request, Reporter(quiet))
    from leaderboards import table
    from leaderboards.board import rows_of

    if as_json:
        report = str(record.path / application.REPORT / "index.html")
        print_json({"run": str(record.path), "report": report, **table.as_dicts(rows_of(record))})
    elif not quiet:
        print_tables(table.render(rows_of(record), with_published=False))


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
    from harness import show
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
    experiment, stages = application.plan(request, Reporter(quiet=True))
    if as_json:
        print_json(show.plan_dict(experiment, stages))
    else:
        print_tables(show.plan_tables(experiment, stages))
