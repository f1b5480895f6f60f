"""What AlpacaEval 2.0's length control knows beforehand, without the network.

The numbers in `alpaca_eval_2/` are derived from AlpacaEval's data (CC BY-NC 4.0; see the NOTICE
there): each instruction's difficulty, found by a hash of the instruction and never by a row's
position, and the features of the rows that regularise the fit.
"""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib.resources import files

import numpy as np
from numpy.typing import NDArray

FOLDER = "alpaca_eval_2"
LICENCE = "CC BY-NC 4.0"
DERIVED = (
    f"LC uses numbers derived from AlpacaEval's data ({LICENCE}: no commercial use; "
    "harness/scoring/alpaca_eval_2/NOTICE)."
)
"""What is said wherever an LC is shown."""
BASELINES = ("gpt4_1106_preview", "gpt4_turbo", "gpt-4-1106-preview")
"""Names under which the GPT-4-Turbo baseline goes in AlpacaEval's own files."""

GAMED_WEIGHT = 0.1
GAMED_LABEL_SUMS = (-182.698, 412.874, 0.0)
"""Σ label · t, Σ label · g and nothing for ψ of the regularising rows. Their labels enter the fit
in no other way: a logistic loss with soft labels depends on them through these sums alone."""


@lru_cache(maxsize=16384)
def instruction_key(instruction: str) -> int:
    """The first 64 bits of an instruction's SHA-256; surrounding white space does not count."""
    text = instruction.strip().encode("utf-8", "replace")
    return int.from_bytes(hashlib.sha256(text).digest()[:8])


def difficulty() -> dict[int, float]:
    """Each of the 805 instructions' difficulty by `instruction_key`, exact to about 5e-8."""
    return _derived()[0]


@dataclass(frozen=True)
class Gamed:
    """The 1,610 regularising rows: GPT-4-Turbo told to be verbose and to be concise, against
    itself. ψ is switched off in them. `t` and `g` [1610]; each row has weight `GAMED_WEIGHT`."""

    t: NDArray[np.float64]
    g: NDArray[np.float64]


def gamed() -> Gamed:
    """The regularising rows' features."""
    return _derived()[1]


def known(instructions: Iterable[str]) -> list[bool]:
    """Which of the instructions are AlpacaEval's."""
    table = difficulty()
    return [instruction_key(instruction) in table for instruction in instructions]


@cache
def _derived() -> tuple[dict[int, float], Gamed]:
    text = (files("harness.scoring") / FOLDER / "instructions.csv").read_text(encoding="utf-8")
    rows = list(csv.DictReader(text.splitlines()))
    g = [float(row["difficulty"]) for row in rows]
    deltas = [float(row[name]) for name in ("verbose_delta", "concise_delta") for row in rows]
    table = dict(zip((int(row["key"], 16) for row in rows), g, strict=True))
    return table, Gamed(np.tanh(deltas), np.array([*g, *g]))
