"""`harness lab`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from harness.commands.options import Json, Quiet, print_json, print_tables, sets


def lab(
    method: Annotated[
        str, typer.Option("--method", "-m", help="A method, or all: a figure of all methods.")
    ] = "all",
    game: Annotated[
        str | None, typer.Option(help="rps, or bradley-terry, random or annotators[:ACTIONS].")
    ] = None,
    payoff: Annotated[
        Path | None, typer.Option(help="JSON file of a game: rows of P(row beats column).")
    ] = None,
    start: Annotated[
        str | None, typer.Option(help="Start policy, such as 0.8,0.1,0.1 (uniform).")
    ] = None,
    eta: Annotated[float, typer.Option(help="Multiplies log-ratios, as DPO's beta does.")] = 1.0,
    tau: Annotated[
        float | None, typer.Option(help="Draws to the reference, 0 to eta (the method's own).")
    ] = None,
    iters: Annotated[
        int, typer.Option("--iters", "-n", min=1, help="Policies, the start included.")
    ] = 50,
    exact: Annotated[
        bool, typer.Option("--exact", help="The exact update in place of a method's loss.")
    ] = False,
    reference: Annotated[
        Literal["uniform", "start"], typer.Option(help="The policy that methods call initial.")
    ] = "uniform",
    pool: Annotated[int, typer.Option(min=2, max=512, help="Actions sampled for a pool.")] = 64,
    seed: Annotated[int, typer.Option(min=0, help="Seed of pools and of random games.")] = 0,
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="method.x=value: a setting of the method.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder for the figure, PNG and SVG (lab for all).")
    ] = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Play a preference game, where all is known exactly: does a method reach the equilibrium?

    Example: harness lab --method dno-regression --game rps --start 0.8,0.1,0.1 --iters 10
    """
    from harness import show_lab
    from harness.lab.request import ALL, Request, play
    from harness.progress import Reporter

    request = Request(
        method, game, payoff, start, eta, tau, iters, exact, reference, pool, seed, sets(set_)
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
