"""`harness board`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from harness.commands.options import Json, print_json, print_tables


def board(
    runs: Annotated[list[Path] | None, typer.Argument(help="Run folders (all of runs/).")] = None,
    as_json: Json = False,
) -> None:
    """Rank the iterations of runs by benchmark, decoding and judge; judges are never mixed.

    Example: harness board runs/dno-quickstart runs/sft-quickstart
    """
    from harness import app as application
    from leaderboards import table

    rows = application.board_rows(runs or [])
    if as_json:
        print_json(table.as_dicts(rows))
    else:
        print_tables(table.render(rows))
