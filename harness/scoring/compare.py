"""Who is better than whom: paired differences of win rates on the instructions that all share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from itertools import combinations

import numpy as np

from harness.scoring.bootstrap import Array, difference, holm, resamples
from harness.scoring.length_control import C, Rows, estimate, replicates, rows_of
from harness.scoring.summary import Summary, summarise
from harness.types import Difference, Judgement, LengthControlKind, WinRate

ALPHA = 0.05


@dataclass(frozen=True, slots=True)
class Contender:
    """A name and its judgements against the baseline that all contenders share."""

    name: str
    judgements: tuple[Judgement, ...]


@dataclass(frozen=True, slots=True)
class Duel:
    """a less b in percentage points. `*_holm` are the p-values after Holm's correction over all
    duels of the comparison; `length_control` is None where there is none. `head_to_head` is a's
    win rate against b by a judge that saw both, where one was asked."""

    a: str
    b: str
    win_rate: Difference
    win_rate_holm: float | None
    length_control: Difference | None
    length_control_holm: float | None
    head_to_head: WinRate | None = None

    @property
    def better(self) -> str | None:
        """Who is better at 5% after correction: by length control where there is one, else by the
        raw win rate. None: not told apart."""
        gap, p = self.win_rate, self.win_rate_holm
        if self.length_control is not None:
            gap, p = self.length_control, self.length_control_holm
        if p is None or p >= ALPHA:
            return None
        return self.a if gap.value > 0 else self.b


@dataclass(frozen=True, slots=True)
class Comparison:
    """All contenders on the `shared` instructions, and every two of them."""

    shared: int
    kind: LengthControlKind | None
    standings: tuple[tuple[str, Summary], ...]
    duels: tuple[Duel, ...]
    caveats: tuple[str, ...]


def compare(
    contenders: Sequence[Contender], seed: int, *, baseline: str | None = None
) -> Comparison:
    """Paired bootstrap (1,000 resamples of instructions, the same for all; LC refitted in each).

    Raises ValueError where the contenders share no judged instruction.
    """
    common = _shared(contenders)
    if not common:
        raise ValueError("the files share no instruction that is judged in all of them")
    kept = [
        Contender(c.name, tuple(j for j in c.judgements if j.instruction.strip() in common))
        for c in contenders
    ]
    standings = tuple((c.name, summarise(c.judgements, seed, baseline=baseline)) for c in kept)
    is_alpaca = all(summary.is_alpaca for _, summary in standings)
    raw = _raw(kept, seed)
    controlled = _controlled(kept, seed, is_alpaca=is_alpaca)
    pairs = list(combinations(range(len(kept)), 2))
    gaps = [_gap(raw[i], raw[j]) for i, j in pairs]
    lc_gaps = [_gap(controlled[i], controlled[j]) for i, j in pairs] if controlled else []
    holms, lc_holms = _holm(gaps), _holm(lc_gaps)
    duels = tuple(
        Duel(
            a=kept[i].name,
            b=kept[j].name,
            win_rate=gaps[at],
            win_rate_holm=holms[at],
            length_control=lc_gaps[at] if lc_gaps else None,
            length_control_holm=lc_holms[at] if lc_gaps else None,
        )
        for at, (i, j) in enumerate(pairs)
    )
    return Comparison(
        shared=len(common),
        kind=("LC" if is_alpaca else "length-adjusted") if controlled else None,
        standings=standings,
        duels=duels,
        caveats=tuple(_caveats(contenders, len(common))),
    )


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


def _holm(gaps: Sequence[Difference]) -> list[float | None]:
    p_values = [gap.p_value for gap in gaps if gap.p_value is not None]
    if len(p_values) < len(gaps):
        return [None] * len(gaps)
    return list(holm(p_values))


def _caveats(contenders: Sequence[Contender], shared: int) -> list[str]:
    return [
        f"{c.name}: {len(c.judgements) - shared} of {len(c.judgements)} instructions are left out, "
        "since not all share them or a judgement failed"
        for c in contenders
        if len(c.judgements) > shared
    ]
