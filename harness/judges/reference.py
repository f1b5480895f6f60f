"""`reference`: a deterministic judge that needs no key, no model and no network.

It leans on the prompt's gold answer: whichever answer says more of what the gold answer says, in
about its length, without repetition and without being cut off, is the likelier winner. It is a
yardstick for machinery, not for quality: it knows one good answer and nothing else.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar

from harness.types import Completion, Match, Verdict

_WORD = re.compile(r"\w+(?:['’]\w+)*|[^\w\s]", re.UNICODE)

AGREEMENT, REPETITION, TRUNCATION, LENGTH = 8.0, 3.0, 0.5, 0.5
"""Weights of the four terms, in logits. Agreement between two students differs by a few
hundredths, so that 8 makes a clear difference (0.1) worth about p = 0.7."""


@dataclass(frozen=True)
class ReferenceJudge:
    """p = σ(q_a − q_b); q sums agreement with the gold answer, repetition, truncation, length.

    It never judges the very answer that it scores by: where one of the two *is* the gold answer,
    agreement and length are left out and only the form of both (repetition, truncation, emptiness)
    speaks. Antisymmetric; equal texts give ½; a prompt without gold answer is a failure.
    """

    identity: ClassVar[str] = "reference-1"
    reference_based: ClassVar[bool] = True

    def compare(self, matches: Sequence[Match]) -> Iterator[Verdict]:
        for match in matches:
            gold = match.prompt.gold
            if gold is None:
                yield Verdict(match.id, None, self.identity, "the prompt has no gold answer")
                continue
            is_gold = gold.strip() in (match.a.text.strip(), match.b.text.strip())
            yardstick = None if is_gold else gold
            difference = quality(match.a, yardstick) - quality(match.b, yardstick)
            yield Verdict(match.id, 1 / (1 + math.exp(-difference)), self.identity)


def quality(answer: Completion, gold: str | None) -> float:
    """The answer's worth in logits; without `gold` its form alone."""
    words = _words(answer.text)
    if not words:
        return -AGREEMENT
    form = -REPETITION * repetition(words) - TRUNCATION * (answer.finish_reason == "length")
    if gold is None:
        return form
    reference = _words(gold)
    length = -abs(math.log(len(words) / max(1, len(reference))))
    return form + AGREEMENT * agreement(words, reference) + LENGTH * max(-2.0, length)


def agreement(words: Sequence[str], reference: Sequence[str]) -> float:
    """Mean F1 of shared words and shared word pairs, 0..1."""
    pairs, reference_pairs = list(pairwise(words)), list(pairwise(reference))
    return (_f1(words, reference) + _f1(pairs, reference_pairs)) / 2


def repetition(words: Sequence[str], n: int = 3) -> float:
    """Share of word n-grams that stood before, 0..1."""
    grams = [tuple(words[i : i + n]) for i in range(len(words) - n + 1)]
    return 1 - len(set(grams)) / len(grams) if grams else 0.0


def _f1(ours: Sequence[object], theirs: Sequence[object]) -> float:
    shared = (Counter(ours) & Counter(theirs)).total()
    return 2 * shared / (len(ours) + len(theirs)) if shared else 0.0


def _words(text: str) -> list[str]:
    return _WORD.findall(text.lower())
