"""The command line: which commands there are, and how each ends. What they take and do is in
`commands/`; nothing heavy is imported at --help."""

from __future__ import annotations

import os
import signal
import sys
from typing import NoReturn

import typer

from harness.commands import (
    boards,
    evaluate,
    gold,
    judging,
    lab,
    listings,
    reports,
    run,
    scaffold,
    scoring,
)
from harness.errors import HarnessError

app = typer.Typer(
    name="harness",
    help="Benchmark methods that post-train language models with preferences.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
models_app = typer.Typer(help="The embedded models.", no_args_is_help=True)
board_app = typer.Typer(cls=boards.ShowByDefault, subcommand_metavar="[RUN]... | add RUN")

app.command()(run.run)
app.command()(run.plan)
app.command("eval")(evaluate.evaluate)
app.command()(gold.gold)
app.command()(listings.methods)
app.command()(scaffold.new_method)
app.command()(listings.doctor)
board_app.callback()(boards.board)
board_app.command()(boards.show)
board_app.command()(boards.add)
app.add_typer(board_app, name="board")
app.command()(judging.judge)
app.command()(judging.judges)
app.command()(judging.calibrate)
app.command()(scoring.score)
app.command()(scoring.compare)
app.command()(reports.report)
app.command()(reports.card)
app.command()(lab.lab)
models_app.command("list")(listings.models_list)
models_app.command("pull")(listings.models_pull)
app.add_typer(models_app, name="models")


class _Stopped(BaseException):
    """Ctrl-C or SIGTERM; click would turn a KeyboardInterrupt into a bare 'Aborted!'."""


def _stop(_signal: int, _frame: object) -> NoReturn:
    raise _Stopped


def main() -> NoReturn:
    """The console script: a user's mistake is one sentence and exit code 1."""
    signal.signal(signal.SIGINT, _stop)
    signal.signal(signal.SIGTERM, _stop)
    try:
        app(prog_name="harness")  # not `python -m …` where it is started so
    except HarnessError as error:
        if os.environ.get("HARNESS_DEBUG") == "1":
            raise
        typer.echo(f"harness: {error}", err=True)
        sys.exit(1)
    except OSError as error:
        if os.environ.get("HARNESS_DEBUG") == "1" or error.strerror is None:
            raise
        where = f"{error.filename}: " if error.filename else ""
        typer.echo(
            f"harness: {where}{error.strerror}; check the path (HARNESS_DEBUG=1 says more).",
            err=True,
        )
        sys.exit(1)
    except _Stopped:
        typer.echo("harness: stopped; the same command goes on from here.", err=True)
        sys.exit(130)
    sys.exit(0)


if __name__ == "__main__":
    main()
