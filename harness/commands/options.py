"""Options that several commands share, and how a command prints."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from shutil import get_terminal_size
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from harness.commands import complete
from harness.commands.layout import JUDGING, WHAT, WHERE

if TYPE_CHECKING:
    from harness.config import AskingConfig

# --- what a run or an evaluation is made of ---------------------------------------------------

Method = Annotated[
    str,
    typer.Option(
        "--method",
        "-m",
        metavar="METHOD",
        help="A method's name or my_file.py:MyMethod; several: a,b.",
        autocompletion=complete.methods,
        rich_help_panel=WHAT,
    ),
]
Iters = Annotated[
    int | None,
    typer.Option(
        "--iters",
        "-n",
        metavar="N",
        min=1,
        help="Iterations, the start model's not counted.",
        show_default="6",
        rich_help_panel=WHAT,
    ),
]
Preset = Annotated[
    str,
    typer.Option(
        metavar="PRESET",
        help="Settings to begin with: tiny, quickstart, laptop or paper.",
        autocompletion=complete.presets,
        rich_help_panel=WHAT,
    ),
]
Model = Annotated[
    str | None,
    typer.Option(
        metavar="MODEL",
        help="Start model: an embedded one's name, a folder, or ORG/NAME of the hub.",
        show_default="the preset's",
        autocompletion=complete.models,
        rich_help_panel=WHAT,
    ),
]
PROMPTS = "a JSONL or parquet file, or a hub data set ORG/NAME[:SPLIT]"
Data = Annotated[
    str | None,
    typer.Option(
        metavar="PROMPTS",
        help=f"Training prompts: mini, {PROMPTS}.",
        show_default="mini",
        autocompletion=complete.training_prompts,
        rich_help_panel=WHAT,
    ),
]
BENCHMARK = "Prompts to score on: mini, alpaca_eval, or a JSONL or parquet file."
Benchmark = Annotated[
    str | None,
    typer.Option(
        metavar="PROMPTS",
        help=BENCHMARK,
        show_default="mini",
        autocompletion=complete.benchmarks,
        rich_help_panel=WHAT,
    ),
]
AlpacaDir = Annotated[
    str | None,
    typer.Option(
        metavar="FOLDER",
        help="Where alpaca_eval's data are.",
        show_default="from the hub",
        rich_help_panel=WHAT,
    ),
]
Match = Annotated[
    Literal["steps", "tokens", "judgements"] | None,
    typer.Option(
        help="Make several methods spend equally much of this in each iteration.",
        rich_help_panel=WHAT,
    ),
]
AllowContamination = Annotated[
    bool,
    typer.Option(
        "--allow-contamination",
        help="Train on prompts that hold the benchmark's instructions.",
        rich_help_panel=WHAT,
    ),
]
Config = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="YAML file of settings.", rich_help_panel=WHAT),
]
Seed = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        min=0,
        help="Seed of all that is random.",
        show_default="0",
        rich_help_panel=WHAT,
    ),
]
SET = "Another setting, such as {}; as often as need be."


def _set(example: str, of: Literal["run", "eval", "gold", "judging"]) -> Any:
    return typer.Option(
        "--set",
        metavar="NAME=VALUE",
        help=SET.format(example),
        autocompletion=complete.settings(of),
        rich_help_panel=WHAT,
    )


Set = Annotated[list[str] | None, _set("train.epochs=2 or the method's method.beta=0.2", "run")]
SetEval = Annotated[list[str] | None, _set("benchmark.max_new_tokens=1024", "eval")]
SetGold = Annotated[list[str] | None, _set("max_new_tokens=1024", "gold")]
SetJudging = Annotated[list[str] | None, _set("judging.votes=1", "judging")]

# --- judges -----------------------------------------------------------------------------------

NAMED = "NAME, NAME:MODEL[@URL] or my_file.py:MyJudge"
Judge = Annotated[
    str | None,
    typer.Option(
        metavar="JUDGE",
        help=f"Judge of training candidates: {NAMED}.",
        show_default="offline",
        autocompletion=complete.judges,
        rich_help_panel=JUDGING,
    ),
]
EvalJudge = Annotated[
    str | None,
    typer.Option(
        metavar="JUDGE",
        help=f"Judge of the outputs: {NAMED}.",
        show_default="the training judge",
        autocompletion=complete.judges,
        rich_help_panel=JUDGING,
    ),
]
OneJudge = Annotated[
    str,
    typer.Option(
        "--judge",
        metavar="JUDGE",
        help=f"Judge of the outputs: {NAMED}.",
        autocompletion=complete.judges,
        rich_help_panel=JUDGING,
    ),
]
BudgetUsd = Annotated[
    float | None,
    typer.Option(
        "--budget-usd",
        metavar="USD",
        min=0.0,
        help="Most US dollars to spend on models that are asked, earlier starts included.",
        show_default="no limit",
        rich_help_panel=JUDGING,
    ),
]

# --- folders, and what is printed -------------------------------------------------------------

Out = Annotated[
    Path | None,
    typer.Option(
        metavar="FOLDER",
        help="Run folder; of several methods, the folder of their run folders.",
        show_default="runs/METHOD-PRESET",
        rich_help_panel=WHERE,
    ),
]
Fork = Annotated[
    Path | None,
    typer.Option(
        metavar="FOLDER",
        help="Start anew here with what is equal in the run's folder.",
        rich_help_panel=WHERE,
    ),
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress and no tables.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON alone on stdout.")]


def typed(nested: dict[str, Any]) -> dict[str, Any]:
    """What is not None, in groups too."""
    given: dict[str, Any] = {}
    for key, value in nested.items():
        if isinstance(value, dict):
            value = {k: v for k, v in value.items() if v is not None} or None
        if value is not None:
            given[key] = value
    return given


def asking(judge: str, budget_usd: float | None, set_: list[str] | None) -> AskingConfig:
    """A judge of texts that a command is given, and how it is asked."""
    from harness import config

    given = typed({"judge": judge, "judging": {"budget_usd": budget_usd}})
    layers = config.merge(config.parse_sets(sets(set_)), given)
    return config.validate(config.AskingConfig, layers)


def sets(given: list[str] | None) -> tuple[str, ...]:
    return tuple(given or ())


def print_json(data: Any) -> None:
    typer.echo(json.dumps(data, indent=1, ensure_ascii=False))


WIDE = 160
"""Characters of a line where nobody says how many fit: a pipe has no width."""


def narrow() -> bool:
    """Whether a line is too short for a table of many columns."""
    return sys.stdout.isatty() and get_terminal_size().columns < 120


def print_tables(tables: Any) -> None:
    from rich.console import Console

    console = Console(width=None if sys.stdout.isatty() else WIDE)
    for table in tables:
        for column in table.columns:
            column.overflow = "fold"  # a long word goes on in the next line; nothing is cut
        console.print(table)
