"""`harness score` and `harness compare`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from harness.commands import complete
from harness.commands.layout import JUDGING
from harness.commands.options import (
    NAMED,
    BudgetUsd,
    Json,
    Quiet,
    Seed,
    SetJudging,
    asking,
    print_json,
    print_tables,
)


def score(
    annotations: Annotated[
        Path,
        typer.Option(
            metavar="FILE", help="AlpacaEval's annotations.json, or parquet or JSONL like it."
        ),
    ],
    c: Annotated[
        float | None,
        typer.Option(
            metavar="X",
            min=1e-4,
            help="Data's strength against the penalty.",
            show_default="21.54",
        ),
    ] = None,
    seed: Seed = None,
    as_json: Json = False,
) -> None:
    """Score a file of judgements: raw and length-controlled win rate.

    With intervals. Nothing is asked and nothing is downloaded.

    Example: harness score --annotations results/my-model/annotations.json
    """
    from harness import show_scores
    from harness.data.annotations import read_annotations
    from harness.scoring.length_control import C
    from harness.scoring.summary import summarise

    read = read_annotations(annotations)
    summary = summarise(read.judgements, seed or 0, baseline=read.baseline, c=c or C)
    if as_json:
        print_json(show_scores.summary_dict(read, summary, seed or 0))
    else:
        print_tables(show_scores.summary_tables(read, summary))


def compare(
    paths: Annotated[
        list[Path],
        typer.Argument(
            metavar="PATH",
            help="Folders of runs, iterations or evaluations; files of judgements or outputs.",
        ),
    ],
    judge: Annotated[
        str | None,
        typer.Option(
            metavar="JUDGE",
            help=f"Let it compare the outputs head to head, too: {NAMED}.",
            autocompletion=complete.judges,
            rich_help_panel=JUDGING,
        ),
    ] = None,
    budget_usd: BudgetUsd = None,
    set_: SetJudging = None,
    seed: Seed = None,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print Markdown tables.")] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV, one line a pair.")] = False,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Tell models apart: paired differences of their win rates.

    Raw and length-controlled, over the instructions that all have answered.

    Example: harness compare runs/dno-quickstart runs/sft-quickstart
    """
    from harness import show_compare
    from harness.compare import compare_paths
    from harness.errors import HarnessError
    from harness.progress import Reporter

    if sum((markdown, as_csv, as_json)) > 1:
        raise HarnessError("--markdown, --csv and --json each print the whole answer; choose one.")
    if judge is None and (budget_usd is not None or set_):
        raise HarnessError("--budget-usd and --set are for the --judge; name one, or drop them.")
    asked = asking(judge, budget_usd, set_) if judge else None
    compared = compare_paths(paths, seed or 0, asked, Reporter(quiet or not judge))
    if as_json:
        print_json(show_compare.as_dict(compared, seed or 0))
    elif markdown:
        typer.echo(show_compare.as_markdown(compared))
    elif as_csv:
        typer.echo(show_compare.as_csv(compared), nl=False)
    elif not quiet:
        print_tables(show_compare.tables(compared))
