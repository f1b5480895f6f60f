"""`harness judge`, `harness judges` and `harness calibrate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from harness.commands.options import (
    BudgetUsd,
    Json,
    OneJudge,
    Quiet,
    Seed,
    SetJudging,
    asking,
    print_json,
    print_tables,
)


def judge(
    judge: OneJudge,
    outputs: Annotated[Path, typer.Option(metavar="FILE", help="AlpacaEval's model_outputs.json.")],
    reference: Annotated[
        Path, typer.Option(metavar="FILE", help="The same of the model to compare with.")
    ],
    out: Annotated[Path, typer.Option(metavar="FILE", help="annotations.json to write.")],
    budget_usd: BudgetUsd = None,
    set_: SetJudging = None,
    seed: Seed = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Judge a file of outputs against another, and score it.

    Writes AlpacaEval's annotations.json. What a model has answered is not asked again.

    Example: harness judge --judge longer --outputs a.json --reference b.json --out annotations.json
    """
    from harness import judging, show_scores
    from harness.progress import Reporter
    from harness.scoring.summary import summarise

    config = asking(judge, budget_usd, set_)
    found = judging.judge_files(config, outputs, reference, out, Reporter(quiet))
    summary = summarise(found.judgements, seed or 0, baseline=found.baseline)
    if as_json:
        print_json({"out": str(out), **show_scores.summary_dict(found, summary, seed or 0)})
    elif not quiet:
        print_tables(show_scores.summary_tables(found, summary))


def judges(as_json: Json = False) -> None:
    """List the judges, and how far each agrees with the yardstick.

    Example: harness judges
    """
    from harness import show_judges

    listed = show_judges.as_dicts()
    if as_json:
        print_json(listed)
    else:
        print_tables([show_judges.table(listed)])


def calibrate(
    judge: OneJudge,
    archive: Annotated[
        Path,
        typer.Option(
            metavar="FOLDER",
            help="Stored judgements: a checkout of alpaca_eval, or its data as parquet files.",
        ),
    ],
    comparisons: Annotated[
        int | None,
        typer.Option(metavar="N", min=10, help="A seeded sample of so many.", show_default="all"),
    ] = None,
    budget_usd: BudgetUsd = None,
    set_: SetJudging = None,
    seed: Seed = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Measure a judge against stored judgements of AlpacaEval's own.

    The result is kept, and boards and reports tell it. What a model has answered is not
    asked again.

    Example: harness calibrate --judge longer --archive alpaca_eval/ --comparisons 2000
    """
    from harness import calibrations, show_judges
    from harness.codec import dump
    from harness.progress import Reporter

    config = asking(judge, budget_usd, set_)
    found = calibrations.calibrate_judge(config, archive, comparisons, seed or 0, Reporter(quiet))
    if as_json:
        print_json(dump(found))
    elif not quiet:
        print_tables([show_judges.calibration_table(found)])
