"""`harness lab`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from harness.commands import complete
from harness.commands.layout import WHAT, WHERE
from harness.commands.options import SET, Json, Quiet, Seed, print_json, print_tables, sets

PLAYER = "Who plays"


def lab(
    method: Annotated[
        str,
        typer.Option(
            "--method",
            "-m",
            metavar="METHOD",
            help="A method's name or my_file.py:MyMethod; all: a figure of all methods.",
            autocompletion=complete.methods,
            rich_help_panel=PLAYER,
        ),
    ] = "all",
    game: Annotated[
        str | None,
        typer.Option(
            metavar="GAME",
            help="rps, or bradley-terry, random or annotators[:ACTIONS].",
            show_default="rps",
            autocompletion=complete.games,
            rich_help_panel=WHAT,
        ),
    ] = None,
    payoff: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="A game of your own, as JSON: rows of P(row beats column), 0 to 1.",
            rich_help_panel=WHAT,
        ),
    ] = None,
    start: Annotated[
        str | None,
        typer.Option(
            metavar="P,P,…",
            help="Start policy, such as 0.8,0.1,0.1.",
            show_default="uniform",
            rich_help_panel=WHAT,
        ),
    ] = None,
    eta: Annotated[
        float,
        typer.Option(
            metavar="X", help="Multiplies log-ratios, as DPO's beta does.", rich_help_panel=PLAYER
        ),
    ] = 1.0,
    tau: Annotated[
        float | None,
        typer.Option(
            metavar="X",
            help="Draws to the reference, 0 to eta.",
            show_default="the method's own",
            rich_help_panel=PLAYER,
        ),
    ] = None,
    iters: Annotated[
        int,
        typer.Option(
            "--iters",
            "-n",
            metavar="N",
            min=1,
            help="Policies, the start included.",
            rich_help_panel=WHAT,
        ),
    ] = 50,
    exact: Annotated[
        bool,
        typer.Option(
            "--exact",
            help="The exact update in place of a method's loss.",
            rich_help_panel=PLAYER,
        ),
    ] = False,
    reference: Annotated[
        Literal["uniform", "start"],
        typer.Option(help="The policy that methods call initial.", rich_help_panel=WHAT),
    ] = "uniform",
    pool: Annotated[
        int,
        typer.Option(
            metavar="N",
            min=2,
            max=512,
            help="Actions sampled for a pool.",
            rich_help_panel=PLAYER,
        ),
    ] = 64,
    seed: Seed = None,
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="NAME=VALUE",
            help=SET.format("method.beta=0.2"),
            rich_help_panel=PLAYER,
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Folder for the figure, as PNG and SVG.",
            show_default="lab, of all methods",
            rich_help_panel=WHERE,
        ),
    ] = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Play preference games: does a method reach the equilibrium?

    All is known exactly there: policies, preferences, and how far each policy can be beaten.

    Example: harness lab --method dno-regression --game rps --start 0.8,0.1,0.1 --iters 10
    """
    from harness import show_lab
    from harness.lab.request import ALL, Request, play
    from harness.progress import Reporter

    request = Request(
        method, game, payoff, start, eta, tau, iters, exact, reference, pool, seed or 0, sets(set_)
    )
    played = play(request, Reporter(quiet))
    files: dict[str, str] = {}
    if out or (method == ALL and not exact):
        from reports.games import write_figure

        png, svg = write_figure(played.runs, out or Path("lab"))
        files = {"png": str(png), "svg": str(svg)}
    if as_json:
        print_json({**show_lab.as_dict(played), **files})
    elif not quiet:
        print_tables(show_lab.tables(played))
        for file in files.values():
            typer.echo(file)
