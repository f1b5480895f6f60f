"""Rules that turn one prompt's candidates into examples: pure functions of a Group.

A candidate has one value. Under a pair judge (the group has preferences) it is the mean of its
hard wins inside the pool, 0..1; under a score judge it is its score. Methods with soft targets
take the mean of its preferences instead (`soft_values`). A candidate with any failed judgement
has none and is never used: nothing is imputed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations, permutations

from harness.types import Completion, Group, Labelled, Pair, Score

TOLERANCE = 1e-9
"""Win rates are fractions in floating point: 0.7 − 0.4 falls just short of 0.3 and must not."""


Values = tuple[float | None, ...]
"""One value a completion of a group, None where a judgement of it failed; finite otherwise."""


# --- values -----------------------------------------------------------------------------------


def values(group: Group) -> Values:
    """The value of each candidate: its mean of hard wins, or its score.

    Identical candidates all stay in the pool: they are each other's opponents (at ½) and count as
    often as they were sampled in everybody's win rate.
    """
    if group.preferences is not None:
        hard = [tuple(_hard_win(p) for p in row) for row in group.preferences]
        return tuple(_mean_of_others(row, i) for i, row in enumerate(hard))
    if group.scores is not None:
        return tuple(_score(score) for score in group.scores)
    return (None,) * len(group.completions)


def soft_values(group: Group) -> Values:
    """r(y) = mean of P(y ≻ y'|x) over the rest of the pool, y itself left out: the estimate of
    E_{y'~π_t} P(y ≻ y'|x) (arXiv 2404.03715, Eq. 8) from the prompt's own samples."""
    if group.preferences is None:
        return (None,) * len(group.completions)
    return tuple(_mean_of_others(row, i) for i, row in enumerate(group.preferences))


def _mean_of_others(row: Sequence[float | None], own: int) -> float | None:
    others = [p for opponent, p in enumerate(row) if opponent != own]
    judged = [p for p in others if p is not None and math.isfinite(p)]
    return sum(judged) / len(judged) if judged and len(judged) == len(others) else None


def _hard_win(p: float | None) -> float | None:
    """1, ½ or 0. Hard, since soft probabilities near ½ among samples of one policy would never
    pass a gate next to a gold answer that wins clearly."""
    if p is None or not math.isfinite(p):
        return None
    return 0.5 if abs(p - 0.5) < TOLERANCE else float(p > 0.5)


def _score(score: Score) -> float | None:
    return score.value if score.value is not None and math.isfinite(score.value) else None


@dataclass(frozen=True, slots=True)
class Candidate:
    """A completion with its value."""

    completion: Completion
    value: float

    @property
    def is_gold(self) -> bool:
        return self.completion.source == "gold"

    def same_text(self, other: Candidate) -> bool:
        """Nothing is to be learnt from a preference between two answers that read the same."""
        return self.completion.text.strip() == other.completion.text.strip()

    @property
    def key(self) -> tuple[str, int, str]:
        """An order that does not depend on the place in the group."""
        return (self.completion.source, self.completion.sample, self.completion.text)


def usable(group: Group, by: Callable[[Group], Values] = values) -> list[Candidate]:
    """The candidates that have a value, in the group's order."""
    pool = zip(group.completions, by(group), strict=True)
    return [Candidate(completion, value) for completion, value in pool if value is not None]


def pair(group: Group, chosen: Candidate, rejected: Candidate) -> Pair:
    return Pair(group.prompt, chosen.completion, rejected.completion, chosen.value, rejected.value)


def gold_completion(group: Group) -> Completion | None:
    """The teacher's answer, where it is among the candidates."""
    return next((c for c in group.completions if c.source == "gold"), None)


# --- pairs ------------------------------------------------------------------------------------


def best_worst(group: Group, by: Callable[[Group], Values] = values) -> list[Pair]:
    """The pair of highest against lowest value; nothing where all tie.

    Of equal values the one that comes first by source, sample number and text is taken, so that
    the answer does not depend on the candidates' order. Where the best and the worst read the
    same (a noisy judge), the widest pair of different texts is taken instead.
    """
    pairs = [
        (high, low)
        for high, low in permutations(usable(group, by), 2)
        if high.value - low.value > TOLERANCE and not high.same_text(low)
    ]
    if not pairs:
        return []
    return [pair(group, *min(pairs, key=lambda p: (p[1].value - p[0].value, p[0].key, p[1].key)))]


def all_pairs(group: Group, margin: float, by: Callable[[Group], Values] = values) -> list[Pair]:
    """Every two candidates of different texts of which one leads by at least `margin`, the better
    one first. With margin 0 ties are pairs too, for soft targets to say that they tie."""
    ordered = (
        sorted(two, key=lambda c: (-c.value, c.key)) for two in combinations(usable(group, by), 2)
    )
    return [
        pair(group, high, low)
        for high, low in ordered
        if high.value - low.value >= margin - TOLERANCE and not high.same_text(low)
    ]


def gold_wins(group: Group) -> list[Pair]:
    """The gold answer against every other candidate that reads differently, whoever is better:
    nobody judges. The values are 1 and 0 by construction."""
    gold = gold_completion(group)
    if gold is None:
        return []
    return [
        Pair(group.prompt, gold, other, 1.0, 0.0)
        for other in group.completions
        if other.source != "gold" and other.text.strip() != gold.text.strip()
    ]


def labelled(group: Group) -> list[Labelled]:
    """Candidates above their pool's mean value are desirable, those below it are not; those at it
    say nothing. So no threshold hangs on a judge's scale, and a pool that ties gives nothing. A
    text that came out on both sides (a noisy judge) is left out."""
    pool = usable(group)
    mean = sum(sorted(c.value for c in pool)) / max(1, len(pool))
    good = [c for c in pool if c.value - mean > TOLERANCE]
    bad = [c for c in pool if mean - c.value > TOLERANCE]
    return [
        Labelled(group.prompt, c.completion, desirable)
        for side, other, desirable in ((good, bad, True), (bad, good, False))
        for c in side
        if not any(c.same_text(o) for o in other)
    ]


@dataclass(frozen=True, slots=True)
class Gate:
    """What a positive must reach, and by how much it must lead its negative: one pair of numbers
    for the gold answer, one for the student's own."""

    gold: float
    student: float
    gold_margin: float
    student_margin: float

    def on(self, scale: tuple[float, float]) -> Gate:
        """This gate, which is meant for scores of 0–6, for scores of another scale."""
        low, unit = scale[0], (scale[1] - scale[0]) / 6
        return Gate(
            low + unit * self.gold,
            low + unit * self.student,
            unit * self.gold_margin,
            unit * self.student_margin,
        )

    def passes(self, positive: Candidate) -> bool:
        least = self.gold if positive.is_gold else self.student
        return positive.value >= least - TOLERANCE

    def leads(self, positive: Candidate, negative: Candidate) -> bool:
        margin = self.gold_margin if positive.is_gold else self.student_margin
        lead = positive.value - negative.value
        return lead > TOLERANCE and lead >= margin - TOLERANCE  # a tie is no lead, whatever margin


def gate_of(group: Group, scores: Gate, wins: Gate) -> Gate:
    """The gate for the group's values: `wins` where they are win rates inside the pool, `scores`
    (given for 0–6) on the judge's own scale where they are its scores."""
    if group.preferences is not None:
        return wins
    return scores if group.scale is None else scores.on(group.scale)


def dno_pairs(group: Group, gate: Gate, ngram: int, repeated_share: float) -> list[Pair]:
    """Every large-margin pair of the pool (arXiv 2404.03715, Algorithm 2, line 5).

    Any candidate may be the negative, the gold answer included: student ≻ teacher is what lets a
    student pass its teacher. A student's sample with more than `repeated_share` repeated n-grams
    is a negative at once: of every positive that passes the gate, whatever its own value.
    Under a score judge one prompt's candidates are scored in one listwise judgement, so where any
    score is missing that judgement failed and the prompt is dropped.
    """
    if group.preferences is None and None in values(group):
        return []
    pool = usable(group)
    repetitive = {
        c.key
        for c in pool
        if not c.is_gold and repeated_ngrams(c.completion.text, ngram) > repeated_share
    }
    return [
        pair(group, positive, negative)
        for positive, negative in permutations(pool, 2)
        if positive.key not in repetitive
        and not positive.same_text(negative)
        and gate.passes(positive)
        and (negative.key in repetitive or gate.leads(positive, negative))
    ]


def repeated_ngrams(text: str, n: int) -> float:
    """The share of word n-grams that stood in the text before, 0..1.

    Words are what white space separates, so that the rules of a table or the brackets of a
    program are not taken for repetition.
    """
    words = text.lower().split()
    ngrams = list(zip(*(words[i:] for i in range(n)), strict=False))
    return 1 - len(set(ngrams)) / len(ngrams) if ngrams else 0.0
