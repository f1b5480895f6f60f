"""`harness new-method`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def new_method(
    name: Annotated[str, typer.Argument(help="The method's name, such as my-dpo.")],
    out: Annotated[Path | None, typer.Option(help="A new folder (harness-NAME).")] = None,
) -> None:
    """Write a package with a small method that works, its test and its README, to be changed.

    Example: harness new-method my-dpo
    """
    from harness import scaffold

    folder = scaffold.new_method(name, out)
    typer.echo(f"{folder}: now pip install -e '{folder}[dev]' and pytest '{folder}'")
