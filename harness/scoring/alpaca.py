"""What AlpacaEval 2.0's length control knows beforehand, without the network.

The numbers in `alpaca_eval_2/` are derived from AlpacaEval's data (CC BY-NC 4.0; see the NOTICE
there): each instruction's difficulty, found by a hash of the instruction and never by a row's
position, and the features of the rows that regularise the fit.
"""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Iterable
from functools import cache, lru_cache
from importlib.resources import files

import numpy as np

from harness.scoring.glm import Anchor

FOLDER = "alpaca_eval_2"
LICENCE = "CC BY-NC 4.0"
BASELINES = ("gpt4_1106_preview", "gpt4_turbo", "gpt-4-1106-preview")
"""Names under which the GPT-4-Turbo baseline goes in AlpacaEval's own files."""

GAMED_WEIGHT = 0.1
GAMED_LABEL_SUMS = (-182.698, 412.874)
"""Σ label · t and Σ label · g of the regularising rows. Their labels enter the fit in no other
way: a logistic loss with soft labels depends on them through these sums alone."""


@lru_cache(maxsize=16384)
def instruction_key(instruction: str) -> str:
    """16 hexadecimal digits for an instruction; surrounding white space does not count."""
    return hashlib.sha256(instruction.strip().encode("utf-8", "replace")).hexdigest()[:16]


def difficulty() -> dict[str, float]:
    """Each of the 805 instructions' difficulty by `instruction_key`, exact to about 5e-8."""
    return _derived()[0]


def gamed() -> Anchor:
    """The 1,610 regularising rows: GPT-4-Turbo told to be verbose and to be concise, against
    itself. Features t, g and 0, since ψ is switched off in them."""
    return _derived()[1]


def known(instructions: Iterable[str]) -> list[bool]:
    """Which of the instructions are AlpacaEval's."""
    table = difficulty()
    return [instruction_key(instruction) in table for instruction in instructions]


@cache
def _derived() -> tuple[dict[str, float], Anchor]:
    text = (files("harness.scoring") / FOLDER / "instructions.csv").read_text(encoding="utf-8")
    rows = list(csv.DictReader(text.splitlines()))
    g = np.array([float(row["difficulty"]) for row in rows])
    t = [
        np.tanh([float(row[f"{style}_delta"]) for row in rows]) for style in ("verbose", "concise")
    ]
    both = np.concatenate([g, g])
    features = np.stack([np.concatenate(t), both, np.zeros(len(both))], axis=1)
    sums = np.array([*GAMED_LABEL_SUMS, 0.0])
    return dict(zip((row["key"] for row in rows), g.tolist(), strict=True)), Anchor(
        features, sums, GAMED_WEIGHT
    )
