"""`harness eval`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from harness.commands import complete
from harness.commands.layout import WHAT, WHERE
from harness.commands.options import (
    BENCHMARK,
    AlpacaDir,
    BudgetUsd,
    Json,
    OneJudge,
    Quiet,
    Seed,
    SetEval,
    print_json,
    print_tables,
    sets,
    typed,
)


def evaluate(
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL",
            help="An embedded one's name, a folder, ORG/NAME of the hub, MODEL@URL of a server, or "
            "a file of outputs (AlpacaEval's model_outputs.json).",
            autocompletion=complete.models,
        ),
    ],
    benchmark: Annotated[
        str,
        typer.Option(
            metavar="PROMPTS",
            help=BENCHMARK,
            autocompletion=complete.benchmarks,
            rich_help_panel=WHAT,
        ),
    ],
    judge: OneJudge,
    alpaca_dir: AlpacaDir = None,
    budget_usd: BudgetUsd = None,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Folder of the evaluation.",
            show_default="evals/MODEL-BENCHMARK",
            rich_help_panel=WHERE,
        ),
    ] = None,
    seed: Seed = None,
    set_: SetEval = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Score one model, or a file of outputs, without a run.

    It is judged against the benchmark's reference answers. The same command again resumes.

    Example: harness eval tiny --benchmark mini --judge longer
    """
    from harness import evaluate as evaluations
    from harness import show_eval
    from harness.progress import Reporter

    given = typed(
        {
            "model": model,
            "judge": judge,
            "seed": seed,
            "judging": {"budget_usd": budget_usd},
            "benchmark": {"name": benchmark, "alpaca_dir": alpaca_dir},
        }
    )
    record = evaluations.evaluate(evaluations.Request(given, sets(set_), out), Reporter(quiet))
    if as_json:
        print_json(show_eval.as_dict(record))
    elif not quiet:
        print_tables([show_eval.table(record)])
