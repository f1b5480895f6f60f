"""`harness judge`, `harness judges` and `harness calibrate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from harness.commands.options import (
    BudgetUsd,
    Json,
    Quiet,
    SetJudging,
    asking,
    print_json,
    print_tables,
)

JudgeName = Annotated[str, typer.Option("--judge", help="A judge; harness judges lists them.")]
Seed = Annotated[int, typer.Option(min=0, help="Seed of sample and bootstrap.")]


def judge(
    judge: JudgeName,
    outputs: Annotated[Path, typer.Option(help="AlpacaEval's model_outputs.json.")],
    reference: Annotated[Path, typer.Option(help="The same of the model to compare with.")],
    out: Annotated[Path, typer.Option(help="annotations.json to write.")],
    budget_usd: BudgetUsd = None,
    set_: SetJudging = None,
    seed: Seed = 0,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Judge a file of outputs against another; writes AlpacaEval's annotations.json and scores it.

    Example: harness judge --judge longer --outputs a.json --reference b.json --out annotations.json
    """
    from harness import judging, show_scores
    from harness.progress import Reporter
    from harness.scoring.summary import summarise

    config = asking(judge, budget_usd, set_)
    found = judging.judge_files(config, outputs, reference, out, Reporter(quiet))
    summary = summarise(found.judgements, seed, baseline=found.baseline)
    if as_json:
        print_json({"out": str(out), **show_scores.summary_dict(found, summary, seed)})
    elif not quiet:
        print_tables(show_scores.summary_tables(found, summary))


def judges(as_json: Json = False) -> None:
    """List the judges, and how far each agrees with the yardstick.

    Example: harness judges --json
    """
    from harness import show_judges

    listed = show_judges.as_dicts()
    if as_json:
        print_json(listed)
    else:
        print_tables([show_judges.table(listed)])


def calibrate(
    judge: JudgeName,
    archive: Annotated[Path, typer.Option(help="Folder of stored judgements (docs).")],
    comparisons: Annotated[
        int | None, typer.Option(min=10, help="A seeded sample of so many (all).")
    ] = None,
    budget_usd: BudgetUsd = None,
    set_: SetJudging = None,
    seed: Seed = 0,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Measure a judge against stored judgements of AlpacaEval's own; kept for boards and reports.

    Example: harness calibrate --judge longer --archive alpaca_eval/ --comparisons 2000
    """
    from harness import calibrations, show_judges
    from harness.codec import dump
    from harness.progress import Reporter

    config = asking(judge, budget_usd, set_)
    found = calibrations.calibrate_judge(config, archive, comparisons, seed, Reporter(quiet))
    if as_json:
        print_json(dump(found))
    else:
        print_tables([show_judges.calibration_table(found)])
