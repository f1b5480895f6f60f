"""Who is better than whom: paired differences of win rates on the instructions that all share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from itertools import combinations

import numpy as np

from harness.scoring.bootstrap import Array, difference, holm, paired_difference, resamples
from harness.scoring.length_control import C, Rows, estimate, replicates, rows_of
from harness.scoring.summary import Summary, summarise
from harness.scoring.winrate import Said, rate
from harness.types import Difference, Judgement, LengthControlKind, WinRate

ALPHA = 0.05


@dataclass(frozen=True, slots=True)
class Contender:
    """A name and its judgements against the baseline that all contenders share."""

    name: str
    judgements: tuple[Judgement, ...]


@dataclass(frozen=True, slots=True)
class Tested:
    """A difference, and its p-value after Holm's correction over all duels of the comparison
    (None below two instructions)."""

    difference: Difference
    p_holm: float | None


@dataclass(frozen=True, slots=True)
class HeadToHead:
    """a's win rate against b by a judge that saw both; `p_value` is for 50%."""

    win_rate: WinRate
    p_value: float | None
    p_holm: float | None


@dataclass(frozen=True, slots=True)
class Duel:
    """a less b in percentage points, each None where it was not measured."""

    a: str
    b: str
    win_rate: Tested | None = None
    length_control: Tested | None = None
    head_to_head: HeadToHead | None = None

    @property
    def better(self) -> str | None:
        """Who is better at 5% after correction: by length control where there is one, else by the
        raw win rate, else head to head. None: not told apart, which an interval that holds zero
        says too, since a small sample's bootstrap can be far from the p-value's normal curve."""
        tested = self.length_control or self.win_rate
        if tested is not None:
            even, ci95, p = 0, tested.difference.ci95, tested.p_holm
        elif self.head_to_head is not None:
            even, ci95, p = 50, self.head_to_head.win_rate.ci95, self.head_to_head.p_holm
        else:
            return None
        if p is None or p >= ALPHA or ci95 is None or ci95[0] <= even <= ci95[1]:
            return None
        return self.a if ci95[0] > even else self.b


@dataclass(frozen=True, slots=True)
class Comparison:
    """All contenders on the `shared` instructions, and every two of them."""

    shared: int = 0
    kind: LengthControlKind | None = None
    standings: tuple[tuple[str, Summary], ...] = ()
    duels: tuple[Duel, ...] = ()
    caveats: tuple[str, ...] = ()


def compare(
    contenders: Sequence[Contender], seed: int, *, baseline: str | None = None
) -> Comparison:
    """Paired bootstrap (1,000 resamples of instructions, the same for all; LC refitted in each).

    Without a shared judged instruction the comparison is empty.
    """
    common = _shared(contenders)
    if not common:
        return Comparison()
    kept = [
        Contender(c.name, tuple(j for j in c.judgements if j.instruction.strip() in common))
        for c in contenders
    ]
    standings = tuple((c.name, summarise(c.judgements, seed, baseline=baseline)) for c in kept)
    is_alpaca = all(summary.is_alpaca for _, summary in standings)
    raw = _raw(kept, seed)
    controlled = _controlled(kept, seed, is_alpaca=is_alpaca)
    pairs = list(combinations(range(len(kept)), 2))
    gaps = _tested([_gap(raw[i], raw[j]) for i, j in pairs])
    lc_gaps = (
        _tested([_gap(controlled[i], controlled[j]) for i, j in pairs])
        if controlled
        else [None] * len(pairs)
    )
    duels = tuple(
        Duel(kept[i].name, kept[j].name, gap, lc_gap)
        for (i, j), gap, lc_gap in zip(pairs, gaps, lc_gaps, strict=True)
    )
    return Comparison(
        shared=len(common),
        kind=("LC" if is_alpaca else "length-adjusted") if controlled else None,
        standings=standings,
        duels=duels,
        caveats=tuple(_caveats(contenders, len(common))),
    )


def with_head_to_head(
    comparison: Comparison, said: Mapping[tuple[str, str], Sequence[Said]], seed: int
) -> Comparison:
    """The comparison with what a judge said of the duels (a, b); a duel that is not in it is
    added."""
    rates = {names: rate(rows, seed) for names, rows in said.items()}
    p_values = [_p_against_half(rows, seed) for rows in said.values()]
    duels = {(duel.a, duel.b): duel for duel in comparison.duels}
    for (names, win_rate), p, p_holm in zip(rates.items(), p_values, _holm(p_values), strict=True):
        known = duels.get(names, Duel(*names))
        duels[names] = replace(known, head_to_head=HeadToHead(win_rate, p, p_holm))
    return replace(comparison, duels=tuple(duels.values()))


def _p_against_half(rows: Sequence[Said], seed: int) -> float | None:
    p = np.array([p for _, p, _ in sorted(rows) if p is not None], dtype=np.float64)
    # a less b is p − (1 − p): its p-value against 0 is that of the win rate against 50%
    return paired_difference(p, 1 - p, seed).p_value if len(p) else None


def _shared(contenders: Sequence[Contender]) -> set[str]:
    judged = [{j.instruction.strip() for j in c.judgements if j.p is not None} for c in contenders]
    return set.intersection(*judged) if judged else set()


Replicated = tuple[float, Array | None]
"""A win rate and its replicates; None below two instructions."""


def _raw(contenders: Sequence[Contender], seed: int) -> list[Replicated]:
    found: list[Replicated] = []
    for contender in contenders:
        ordered = sorted((j.instruction.strip(), j.p) for j in contender.judgements)
        p = 100 * np.array([p for _, p in ordered], dtype=np.float64)
        resampled = resamples(len(p), seed) @ p / len(p) if len(p) > 1 else None
        found.append((float(p.mean()), resampled))
    return found


def _controlled(contenders: Sequence[Contender], seed: int, *, is_alpaca: bool) -> list[Replicated]:
    """Of the rows that all can use; none where there is no such row."""
    tables = [rows_of(c.judgements, is_alpaca=is_alpaca) for c in contenders]
    keys = reduce(np.intersect1d, [table.keys for table in tables])
    return (
        [_replicated(table.only(np.isin(table.keys, keys)), seed) for table in tables]
        if len(keys)
        else []
    )


def _replicated(rows: Rows, seed: int) -> Replicated:
    n = len(rows.keys)
    point = estimate(rows, np.ones((1, n)), C)
    if n < 2:
        return float(point.values[0]), None
    resampled = replicates(rows, resamples(n, seed), C, point.coefficients[0])
    return float(point.values[0]), resampled


def _gap(a: Replicated, b: Replicated) -> Difference:
    value = a[0] - b[0]
    if a[1] is None or b[1] is None:
        return Difference(value, None, None)
    return difference(value, a[1] - b[1])


def _tested(gaps: Sequence[Difference]) -> list[Tested | None]:
    corrected = _holm([gap.p_value for gap in gaps])
    return [Tested(gap, p) for gap, p in zip(gaps, corrected, strict=True)]


def _holm(p_values: Sequence[float | None]) -> list[float | None]:
    known = [p for p in p_values if p is not None]
    return list(holm(known)) if len(known) == len(p_values) else [None] * len(p_values)


def _caveats(contenders: Sequence[Contender], shared: int) -> list[str]:
    return [
        f"{c.name}: {len(c.judgements) - shared} of {len(c.judgements)} instructions are left out, "
        "since not all share them or a judgement failed"
        for c in contenders
        if len(c.judgements) > shared
    ]
