"""`harness report` and `harness card`."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Annotated

import typer

from harness.commands.options import Json, Quiet, print_json


def report(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN", help="Folders of runs.")],
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Folder of the page.",
            show_default="RUN/report; of several, report",
        ),
    ] = None,
    full: Annotated[
        bool, typer.Option("--full", help="Also write all outputs, uncut, to a folder beside it.")
    ] = False,
    follow: Annotated[
        bool, typer.Option("--follow", help="Write it again as stages finish, until all have.")
    ] = False,
    serve: Annotated[
        bool, typer.Option("--serve", help="Serve it on 127.0.0.1, until Ctrl-C.")
    ] = False,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Write one self-contained page, and its figures as PNG and SVG.

    Runs that differ in benchmark, decoding, judge or opponent are shown apart. Unfinished ones are
    welcome.

    Example: harness report runs/dno-quickstart runs/sft-quickstart
    """
    from harness import app as application
    from harness import follow as following
    from harness.progress import Reporter

    say = Reporter(quiet).say
    folder = out or (runs[0] / application.REPORT if len(runs) == 1 else Path("report"))
    live = threading.Event()
    if serve:
        folder.mkdir(parents=True, exist_ok=True)
        say(f"serving {following.serve(folder, live)} (Ctrl-C stops)")

    def write() -> Path:
        return application.write_run_report(runs, folder, full=full)

    if follow:
        live.set()
        page = following.follow(runs, write, say)
        live.clear()
    else:
        page = write()
    if as_json:
        print_json({"report": str(page)})
    else:
        typer.echo(page)
    if serve:
        threading.Event().wait()


def card(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run's folder.")],
    iteration: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=1,
            help="The iteration whose policy it is of.",
            show_default="the best by validation",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Folder of the card.", show_default="RUN/card"),
    ] = None,
    as_json: Json = False,
) -> None:
    """Write a model card for a run's policy, ready for the hub.

    It has the recipe, data, figures and limits.

    Example: harness card runs/dno-quickstart
    """
    from harness import app as application

    written = application.write_card(run, out or run / "card", iteration)
    if as_json:
        print_json({"card": str(written.path), "policy": str(written.policy)})
    else:
        typer.echo(f"{written.path} (upload it with the files of {written.policy})")
