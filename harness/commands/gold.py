"""`harness gold`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from harness.commands import complete
from harness.commands.options import (
    PROMPTS,
    BudgetUsd,
    Json,
    Quiet,
    Seed,
    SetGold,
    print_json,
    sets,
    typed,
)


def gold(
    teacher: Annotated[
        str, typer.Option(metavar="MODEL[@URL]", help="Who answers, and where it is served.")
    ],
    data: Annotated[
        str,
        typer.Option(
            metavar="PROMPTS",
            help=f"Prompts: mini, {PROMPTS}.",
            autocompletion=complete.training_prompts,
        ),
    ],
    out: Annotated[
        Path, typer.Option(metavar="FILE", help="JSONL file to write, for --data of a run.")
    ],
    replace: Annotated[
        bool, typer.Option("--replace", help="Ask about prompts that have a gold answer, too.")
    ] = False,
    budget_usd: BudgetUsd = None,
    seed: Seed = None,
    set_: SetGold = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Have a teacher write gold answers for prompts without one.

    What it has answered is not asked again.

    Example: harness gold --teacher my-model@http://127.0.0.1:8000/v1 --data prompts.jsonl
    --out gold.jsonl
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
