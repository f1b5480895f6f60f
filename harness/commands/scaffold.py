"""`harness new-method`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from harness.commands.options import Json, print_json


def new_method(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The method's name, such as my-dpo.")],
    out: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="A new folder.", show_default="harness-NAME"),
    ] = None,
    as_json: Json = False,
) -> None:
    """Write a package of a method that works, to be changed.

    It has a small method, its test and its README.

    Example: harness new-method my-dpo
    """
    from harness import scaffold

    folder = scaffold.new_method(name, out)
    if as_json:
        print_json({"package": str(folder)})
    else:
        typer.echo(f"{folder}: now pip install -e '{folder}[dev]' and pytest '{folder}'")
