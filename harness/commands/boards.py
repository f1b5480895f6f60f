"""`harness board` and `harness board add`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from harness.commands.layout import DefaultGroup
from harness.commands.options import Json, narrow, print_json, print_tables


class ShowByDefault(DefaultGroup):
    """`harness board RUN` is `harness board show RUN`."""

    default = "show"


def board() -> None:
    """Rank the iterations of runs, or enter a run.

    Each benchmark, decoding, judge and opponent has a board of its own: judges are never mixed.

    Example: harness board runs/dno-quickstart runs/sft-quickstart

    Example: harness board add runs/dno-quickstart
    """


def show(
    runs: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="RUN", help="Folders of runs or of harness eval.", show_default="runs/*"
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Rank runs beside what was entered; the word show may be left out.

    Example: harness board runs/dno-quickstart runs/sft-quickstart
    """
    from harness import boards
    from leaderboards import table

    rows = boards.board_rows(runs or [])
    if as_json:
        print_json(table.as_dicts(rows, judges=boards.judges(rows)))
    else:
        print_tables(table.render(rows, judges=boards.judges(rows), narrow=narrow()))


def add(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A finished run's folder.")],
    as_json: Json = False,
) -> None:
    """Enter a run on the boards for good.

    The entry goes into leaderboards/results/ of a checkout, else under HARNESS_HOME.

    Entries only ever grow.

    Example: harness board add runs/dno-quickstart
    """
    from harness import boards

    path = boards.enter_run(run)
    if as_json:
        print_json({"entry": str(path)})
    else:
        typer.echo(path)
