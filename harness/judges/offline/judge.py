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

from harness.judges.offline.model import Model, Trees, shipped
from harness.judges.offline.pairs import Answer, Asked, Row, row
from harness.types import Match, Verdict

CHUNK = 64
"""Matches whose rows go through the trees together; an answer in several of them is read once."""


@dataclass(frozen=True)
class OfflineJudge:
    """P(a beats b) by form, wording and agreement with the other answer; calibrated.

    The prompt's gold answer is taken for a strong one, as GPT-4-Turbo's were in training. An answer
    against it is judged by what such answers have against such a reference; two answers beside it
    by how each fares against it, and by how they look side by side; without gold by the latter
    alone. Of the references that it learned from it also knows how easily they are beaten
    (`Model.weak`). Exactly antisymmetric; equal answers (but for white space around them) give ½;
    nothing makes it transitive.
    """

    reference_based: ClassVar[bool] = False
    learned_from: ClassVar[str] = "weighted_alpaca_eval_gpt4_turbo"

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
    reader = _Reader()
    reference, rivals = _Seen(model.reference, reader), _Seen(model.rivals, reader)
    texts = [_texts(match) for match in matches]
    for x, a, b, gold in texts:
        if a == b:
            continue
        if not gold or gold not in (a, b):
            rivals.see((x, a, b), (x, b, a))
        if gold:
            reference.see(*((x, text, gold) for text in (a, b) if text != gold))
    against, beside = reference.logits(), rivals.logits()

    def logit(x: str, a: str, b: str, gold: str) -> float:
        if a == b:
            return 0.0
        if gold and gold == b:
            return against[x, a, gold] + model.weakness(x, gold)
        if gold and gold == a:
            return -against[x, b, gold] - model.weakness(x, gold)
        rival = beside[x, a, b] - beside[x, b, a]
        if not gold:
            return float(model.alone[0]) * rival
        return float(model.known[0]) * (against[x, a, gold] - against[x, b, gold]) + (
            float(model.known[1]) * rival
        )

    return [_probability(logit(*parts)) for parts in texts]


def _texts(match: Match) -> tuple[str, str, str, str]:
    """Instruction, a, b, gold ("" where there is none)."""
    gold = (match.prompt.gold or "").strip()
    return match.prompt.instruction, match.a.text.strip(), match.b.text.strip(), gold


_Key = tuple[str, str, str]
"""Instruction, an answer, the answer that it is seen beside."""


class _Reader:
    """Reads every text once."""

    def __init__(self) -> None:
        self.asked = cache(Asked.of)
        self.answer = cache(lambda x, text: Answer.of(self.asked(x), text))

    def row(self, key: _Key) -> Row:
        x, text, beside = key
        return row(self.asked(x), self.answer(x, text), self.answer(x, beside))


class _Seen:
    """What goes through one ensemble, each row once."""

    def __init__(self, trees: Trees, reader: _Reader) -> None:
        self.trees, self.reader = trees, reader
        self.keys: dict[_Key, None] = {}

    def see(self, *keys: _Key) -> None:
        self.keys |= dict.fromkeys(keys)

    def logits(self) -> dict[_Key, float]:
        if not self.keys:
            return {}
        rows = np.stack([self.reader.row(key) for key in self.keys])
        return dict(zip(self.keys, self.trees.logits(rows).tolist(), strict=True))


def _probability(logit: float) -> float:
    """σ, of which p(x) + p(−x) is exactly 1 in floating point too."""
    p = 1 / (1 + math.exp(-min(abs(logit), 30.0)))
    return p if logit > 0 else 1 - p
