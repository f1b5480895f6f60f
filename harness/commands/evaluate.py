"""`harness eval`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from harness.commands.options import (
    AlpacaDir,
    BudgetUsd,
    Json,
    Quiet,
    Seed,
    Set,
    print_json,
    print_tables,
    sets,
    typed,
)


def evaluate(
    model: Annotated[
        str,
        typer.Argument(
            help="Embedded name, folder, org/name, MODEL@URL of a server, or outputs (.json)."
        ),
    ],
    benchmark: Annotated[
        str, typer.Option(help="mini, alpaca_eval, or a JSONL/parquet file of prompts.")
    ],
    judge: Annotated[str, typer.Option(help="Judge of the outputs.")],
    alpaca_dir: AlpacaDir = None,
    budget_usd: BudgetUsd = None,
    out: Annotated[Path | None, typer.Option(help="Folder (evals/MODEL-BENCHMARK).")] = None,
    seed: Seed = None,
    set_: Set = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Score one model, or a file of outputs, against a benchmark's reference answers.

    The same command again resumes. Example: harness eval tiny --benchmark mini --judge longer
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
