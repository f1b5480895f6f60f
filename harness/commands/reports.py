"""`harness report`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from harness.commands.options import Json, print_json


def report(
    runs: Annotated[list[Path], typer.Argument(help="Run folders.")],
    out: Annotated[Path | None, typer.Option(help="Folder (RUN/report, or ./report).")] = None,
    full: Annotated[
        bool, typer.Option("--full", help="Also write all outputs, uncut, to a folder beside it.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Write one self-contained index.html and its figures as PNG and SVG.

    Runs that differ in benchmark, decoding, judge or opponent are shown apart. Unfinished ones are
    welcome. Example: harness report runs/dno-quickstart runs/sft-quickstart
    """
    from harness import app as application

    folder = out or (runs[0] / application.REPORT if len(runs) == 1 else Path("report"))
    page = application.write_run_report(runs, folder, full=full)
    if as_json:
        print_json({"report": str(page)})
    else:
        typer.echo(page)
