"""The command line: which commands there are, and how each ends. What they take and do is in
`commands/`; nothing heavy is imported at --help."""

from __future__ import annotations

import os
import shlex
import signal
import sys
import traceback
from importlib.metadata import version
from typing import Annotated, NoReturn

import typer

from harness.commands import (
    boards,
    evaluate,
    gold,
    judging,
    lab,
    layout,
    listings,
    reports,
    run,
    scaffold,
    scoring,
)
from harness.errors import ExitCode, HarnessError
from harness.places import home

EPILOG = """
Exit codes: 0 all is well; 1 a mistake or a failure, in one sentence; 2 wrong usage; 3 the budget
is spent; 70 an error in the program; 130 and 143 stopped by Ctrl-C and by SIGTERM.

HARNESS_HOME is where models, answers and calibrations are kept. HARNESS_DEBUG=1 shows the traceback
of any error. NO_COLOR=1 takes colours away.
"""

app = typer.Typer(
    name="harness",
    cls=layout.Group,
    epilog=EPILOG,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
models_app = typer.Typer(cls=listings.ListByDefault, subcommand_metavar="[list] | pull MODEL")
board_app = typer.Typer(cls=boards.ShowByDefault, subcommand_metavar="[RUN]... | add RUN")

app.command(cls=layout.Command, rich_help_panel=layout.RUN)(run.run)
app.command(cls=layout.Command, rich_help_panel=layout.RUN)(run.plan)
app.command("eval", cls=layout.Command, rich_help_panel=layout.RUN)(evaluate.evaluate)
app.command(cls=layout.Command, rich_help_panel=layout.READ)(reports.report)
app.command(cls=layout.Command, rich_help_panel=layout.READ)(reports.card)
app.add_typer(board_app, name="board", rich_help_panel=layout.READ)
app.command(cls=layout.Command, rich_help_panel=layout.READ)(scoring.compare)
app.command(cls=layout.Command, rich_help_panel=layout.READ)(scoring.score)
app.command(cls=layout.Command, rich_help_panel=layout.JUDGE)(judging.judge)
app.command(cls=layout.Command, rich_help_panel=layout.JUDGE)(judging.judges)
app.command(cls=layout.Command, rich_help_panel=layout.JUDGE)(judging.calibrate)
app.command(cls=layout.Command, rich_help_panel=layout.METHODS)(listings.methods)
app.command(cls=layout.Command, rich_help_panel=layout.METHODS)(scaffold.new_method)
app.command(cls=layout.Command, rich_help_panel=layout.METHODS)(lab.lab)
app.command(cls=layout.Command, rich_help_panel=layout.SETUP)(listings.doctor)
app.add_typer(models_app, name="models", rich_help_panel=layout.SETUP)
app.command(cls=layout.Command, rich_help_panel=layout.SETUP)(gold.gold)

board_app.callback()(boards.board)
board_app.command(cls=layout.Command)(boards.show)
board_app.command(cls=layout.Command)(boards.add)
models_app.callback()(listings.models)
models_app.command("list", cls=layout.Command)(listings.models_list)
models_app.command("pull", cls=layout.Command)(listings.models_pull)


def _say_version(asked: bool) -> None:
    if asked:
        typer.echo(f"harness {version('posttrain-harness')}")
        raise typer.Exit


@app.callback()
def _harness(
    _version: Annotated[
        bool,
        typer.Option("--version", help="Say the version.", is_eager=True, callback=_say_version),
    ] = False,
) -> None:
    """Benchmark methods that post-train language models with preferences.

    Each iteration is scored, the start model's included, with intervals.

    Example: harness run --method dno,sft --iters 2
    """


# --- how a command ends -----------------------------------------------------------------------

GO_ON = {"run", "eval", "gold", "judge", "calibrate", "compare"}
"""Commands that keep what is finished, so that the same command goes on."""


class _Stopped(BaseException):
    """Ctrl-C or SIGTERM; typer would end without a word at a KeyboardInterrupt."""

    def __init__(self, number: int) -> None:
        self.number = number


def _stop(number: int, _frame: object) -> NoReturn:
    raise _Stopped(number)


def main() -> NoReturn:
    """The console script: each command ends with an exit code, and each failure in a sentence."""
    signal.signal(signal.SIGINT, _stop)
    signal.signal(signal.SIGTERM, _stop)
    try:
        app(prog_name="harness")  # not `python -m …` where it is started so
    except _Stopped as stopped:
        _end(_how_to_go_on(), 128 + stopped.number)
    except Exception as error:
        if os.environ.get("HARNESS_DEBUG") == "1":
            raise
        _end(*_sentence(error))
    sys.exit(ExitCode.OK)


def _end(sentence: str, code: int) -> NoReturn:
    typer.echo(f"harness: {sentence}", err=True)
    sys.exit(code)


def _how_to_go_on() -> str:
    command = shlex.join(["harness", *sys.argv[1:]])
    kept = GO_ON.intersection(sys.argv[1:2])
    return f"stopped; what is finished is kept. To go on: {command}" if kept else "stopped."


def _sentence(error: Exception) -> tuple[str, ExitCode]:
    """What a failed command says, and how it ends."""
    if isinstance(error, HarnessError):
        return str(error), error.exit_code
    if isinstance(error, OSError) and error.strerror:
        where = f"{error.filename}: " if error.filename else ""
        what = "check the path" if error.filename else "check disk and network"
        return f"{where}{error.strerror}; {what} (HARNESS_DEBUG=1 says more).", ExitCode.FAILED
    if _is_out_of_memory(error):
        said = "lower train.micro_batch_tokens or sampling.batch_size, or take a smaller model."
        return f"out of memory; {said}", ExitCode.FAILED
    return _bug(error), ExitCode.BUG


def _is_out_of_memory(error: Exception) -> bool:
    torch = sys.modules.get("torch")  # its error can only come where it was imported
    return isinstance(error, MemoryError) or (
        torch is not None and isinstance(error, torch.OutOfMemoryError)
    )


def _bug(error: Exception) -> str:
    """The traceback goes to a file; the sentence says where it begins, for it may be a plugin's."""
    told = "".join(traceback.format_exception(error))
    last = traceback.extract_tb(error.__traceback__)[-1]
    words = " ".join(str(error).split())[:200]
    what = (
        f"{type(error).__name__}{': ' * bool(words)}{words} ({last.filename}, line {last.lineno})"
    )
    place = home() / "last-error.txt"
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        command = shlex.join(["harness", *sys.argv[1:]])
        place.write_text(f"{command}\n{version('posttrain-harness')}\n\n{told}", "utf-8")
    except OSError:
        return f"an error in the program: {what}; HARNESS_DEBUG=1 shows it. Please report it."
    return (
        f"an error in the program: {what}. The traceback is in {place}; please report it as an "
        "issue, with that file."
    )


if __name__ == "__main__":
    main()
