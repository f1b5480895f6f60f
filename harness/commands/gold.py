"""`harness gold`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from harness.commands.options import (
    BudgetUsd,
    Json,
    Quiet,
    Seed,
    print_json,
    sets,
    typed,
)


def gold(
    teacher: Annotated[str, typer.Option(help="Who answers: MODEL, or MODEL@URL of its server.")],
    data: Annotated[
        str,
        typer.Option(help="Prompts: mini, a JSONL/parquet file, or a hub set ORG/NAME[:SPLIT]."),
    ],
    out: Annotated[Path, typer.Option(help="JSONL file to write, for --data.")],
    replace: Annotated[
        bool, typer.Option("--replace", help="Ask about prompts that have a gold answer, too.")
    ] = False,
    budget_usd: BudgetUsd = None,
    seed: Seed = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", help="How the teacher is asked, such as max_new_tokens=1024."),
    ] = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Have a teacher write gold answers for prompts that have none; the same command resumes.

    Example: harness gold --teacher my-model@http://127.0.0.1:8000/v1 --data p.jsonl --out g.jsonl
    """
    from harness import config as configs
    from harness import gold as golds
    from harness.progress import Reporter

    given = typed(
        {"teacher": teacher, "data": data, "seed": seed, "judging": {"budget_usd": budget_usd}}
    )
    layers = configs.merge(configs.parse_sets(sets(set_)), given)
    config = configs.validate(configs.GoldConfig, layers)
    found = golds.write_golds(config, out, replace, Reporter(quiet))
    if as_json:
        print_json(golds.as_dict(found))
    elif not quiet:
        typer.echo(golds.sentence(found))
