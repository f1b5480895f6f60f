"""Options that several commands share, and how a command prints."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

if TYPE_CHECKING:
    from harness.config import AskingConfig

Method = Annotated[
    str,
    typer.Option("--method", "-m", help="A method's name or my_file.py:MyMethod; several: a,b."),
]
Iters = Annotated[int | None, typer.Option("--iters", "-n", min=1, help="Iterations (6).")]
Preset = Annotated[str, typer.Option(help="tiny, quickstart, laptop or paper.")]
Out = Annotated[
    Path | None, typer.Option(help="Run folder (runs/METHOD-PRESET; of several, their parent).")
]
Fork = Annotated[
    Path | None, typer.Option(help="Start anew in this folder from what is equal in the run's.")
]
Match = Annotated[
    Literal["steps", "tokens", "judgements"] | None,
    typer.Option(help="Make several methods spend as much of this as each other, each iteration."),
]
Seed = Annotated[int | None, typer.Option(min=0, help="Seed of everything random (0).")]
Model = Annotated[str | None, typer.Option(help="Embedded name, local folder, or org/name.")]
Data = Annotated[
    str | None,
    typer.Option(
        help="Training prompts: mini, a JSONL/parquet file, or a hub set ORG/NAME[:SPLIT]."
    ),
]
Judge = Annotated[
    str | None, typer.Option(help="Judge of training candidates: NAME, or NAME:MODEL[@URL].")
]
EvalJudge = Annotated[str | None, typer.Option(help="Judge of the outputs (the training judge).")]
Benchmark = Annotated[
    str | None, typer.Option(help="mini, alpaca_eval, or a JSONL/parquet file of prompts.")
]
AlpacaDir = Annotated[
    str | None, typer.Option(help="Checkout of alpaca_eval (the data, from the hub).")
]
BudgetUsd = Annotated[
    float | None,
    typer.Option("--budget-usd", min=0.0, help="Most US dollars that judges may spend in all."),
]
SetJudging = Annotated[
    list[str] | None,
    typer.Option("--set", help="How the judge is asked, such as judging.votes=1."),
]
AllowContamination = Annotated[
    bool,
    typer.Option(
        "--allow-contamination", help="Train on prompts that hold the benchmark's instructions."
    ),
]
Set = Annotated[list[str] | None, typer.Option("--set", help="name=value; method.x=… for its own.")]
Config = Annotated[Path | None, typer.Option(help="YAML file of settings.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress, errors only.")]
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


def print_tables(tables: Any) -> None:
    from rich.console import Console

    # a pipe has no width: tables are then as wide as they need
    console = Console(width=None if sys.stdout.isatty() else 160)
    for table in tables:
        console.print(table)
