"""`harness board` and `harness board add`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from harness.commands.options import Json, print_json, print_tables


class ShowByDefault(TyperGroup):
    """`harness board RUN` is `harness board show RUN`; a run called add or show is `./add`."""

    default = "show"

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if not args or args[0] not in {*self.commands, *ctx.help_option_names}:
            args = [self.default, *args]
        return super().parse_args(ctx, args)


def board() -> None:
    """Rank the iterations of runs by benchmark, decoding and judge; judges are never mixed.

    Example: harness board runs/dno-quickstart runs/sft-quickstart

    Example: harness board add runs/dno-quickstart
    """


def show(
    runs: Annotated[
        list[Path] | None, typer.Argument(help="Folders of runs or of harness eval (all of runs/).")
    ] = None,
    as_json: Json = False,
) -> None:
    """Rank runs; the word show may be left out. Results entered on the same boards are shown too.

    Example: harness board runs/dno-quickstart runs/sft-quickstart
    """
    from harness import boards
    from leaderboards import table

    rows = boards.board_rows(runs or [])
    if as_json:
        print_json(table.as_dicts(rows, judges=boards.judges(rows)))
    else:
        print_tables(table.render(rows, judges=boards.judges(rows)))


def add(
    run: Annotated[Path, typer.Argument(help="A finished run's folder.")],
    as_json: Json = False,
) -> None:
    """Enter a run: into leaderboards/results/ of a checkout, else under HARNESS_HOME.

    Entries only ever grow. Example: harness board add runs/dno-laptop
    """
    from harness import boards

    path = boards.enter_run(run)
    if as_json:
        print_json({"entry": str(path)})
    else:
        typer.echo(path)
