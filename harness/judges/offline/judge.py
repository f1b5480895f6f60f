"""`offline`: a learned judge that needs no key, no network and no language model.

It was trained on GPT-4-Turbo's stored AlpacaEval 2.0 judgements; docs/offline-judge.md says what it
gets right and what it cannot know.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import ClassVar

import numpy as np

from harness.judges.offline.features import read
from harness.judges.offline.model import Model, shipped
from harness.judges.offline.pairs import Answer, Asked, both_orders
from harness.types import Match, Verdict

CHUNK = 64
"""Matches whose rows go through the trees together; an answer in several of them is read once."""


@dataclass(frozen=True)
class OfflineJudge:
    """P(a beats b) by form, wording and agreement with the other answer; calibrated.

    Exactly antisymmetric; equal answers (but for white space around them) give ½; nothing makes it
    transitive. Where the prompt has a gold answer that is neither of the two, agreement with it
    counts too. Which of two answers is the gold one is not looked at, so it may rank gold.
    """

    reference_based: ClassVar[bool] = False

    @property
    def identity(self) -> str:
        return f"offline-1 ({shipped()[1]})"

    def compare(self, matches: Sequence[Match]) -> Iterator[Verdict]:
        for start in range(0, len(matches), CHUNK):
            chunk = matches[start : start + CHUNK]
            for match, p in zip(chunk, probabilities(shipped()[0], chunk), strict=True):
                yield Verdict(match.id, p, self.identity)


def probabilities(model: Model, matches: Sequence[Match]) -> list[float]:
    """P(a beats b) of each match by a model."""
    asked, reading = cache(Asked.of), cache(read)

    @cache
    def answer(instruction: str, text: str) -> Answer:
        return Answer.of(asked(instruction), text)

    rows, pairs = [], []
    for match in matches:
        x = match.prompt.instruction
        a, b = answer(x, match.a.text.strip()), answer(x, match.b.text.strip())
        gold = (match.prompt.gold or "").strip()
        is_reference = gold and gold not in (match.a.text.strip(), match.b.text.strip())
        rows.append(both_orders(asked(x), a, b, reading(gold) if is_reference else None))
        pairs.append((a, b))
    return [_probability(logit) for logit in model.logits(np.stack(rows), pairs)]


def _probability(logit: float) -> float:
    """σ, of which p(x) + p(−x) is exactly 1 in floating point too."""
    p = 1 / (1 + math.exp(-min(abs(logit), 30.0)))
    return p if logit > 0 else 1 - p
