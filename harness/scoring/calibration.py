"""How far a judge can be believed: its word against a yardstick's on the same comparisons."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.scoring.bootstrap import REPLICATES, interval, resamples

Array = NDArray[np.float64]
BINS = 10
CHUNK = 100
"""Replicates at a time: their weights of all comparisons are in memory at once."""


@dataclass(frozen=True, slots=True)
class Measured:
    """A figure with its 95% bootstrap interval."""

    value: float
    ci95: tuple[float, float]


@dataclass(frozen=True, slots=True)
class Bin:
    """Comparisons whose p the judge put in one tenth: its mean, and how often the yardstick agreed
    that a wins."""

    mean_p: float
    share: float
    n: int


@dataclass(frozen=True, slots=True)
class Calibration:
    """A judge against a yardstick.

    `agreement` and `kappa` are of decisions (p above ½), `auc` and `within_auc` of p against the
    yardstick's decisions, over all comparisons and among models on one instruction (mean over
    instructions); `brier` is of p against the yardstick's decision (0 best, ¼ knows nothing).
    `length_bias` is by how many points more than the yardstick the judge favours the longer answer.
    `spearman` and `kendall` are of the models' win rates. `first_slot` is the mean p of the answer
    shown first and `consistency` the share of comparisons with one winner in both orders, on a
    sample. None: not measurable here. Intervals are over instructions, of rankings over models.
    `note` says on what terms, `n_failed` judgements count nowhere.
    """

    judge: str
    yardstick: str
    comparisons: int
    n_failed: int
    models: int
    instructions: int
    agreement: Measured
    kappa: Measured
    auc: Measured | None
    within_auc: Measured | None
    brier: Measured
    length_bias: Measured
    spearman: Measured | None
    kendall: Measured | None
    first_slot: Measured | None
    consistency: Measured | None
    reliability: tuple[Bin, ...]
    note: str = ""


@dataclass(frozen=True)
class Comparisons:
    """Judged comparisons as arrays [n]: `judge` and `yardstick` in 0..1, `longer` is +1 where a is
    longer, −1 where b is, else 0; `model` and `instruction` are numbers from 0."""

    judge: Array
    yardstick: Array
    longer: Array
    model: NDArray[np.int64]
    instruction: NDArray[np.int64]


@dataclass(frozen=True)
class Swapped:
    """A sample judged in both orders: `ab` is p of a shown first, `ba` p of the same a shown
    second."""

    ab: Array
    ba: Array


def calibrate(
    name: str,
    yardstick: str,
    said: Comparisons,
    swapped: Swapped | None,
    n_failed: int,
    seed: int,
    note: str = "",
) -> Calibration:
    """All figures with intervals (1,000 resamples, seeded). Raises ValueError on no comparisons."""
    if not len(said.judge):
        raise ValueError("no comparison has a judgement")
    won, decided = said.yardstick > 0.5, said.judge > 0.5
    instructions = int(said.instruction.max()) + 1
    counts = resamples(instructions, seed)
    models = np.unique(said.model)

    def over_rows(values: Array) -> Measured:
        return _measured(counts, said, lambda weights: weights @ values / weights.sum(axis=1))

    def kappa(weights: Array) -> Array:
        total = weights.sum(axis=1)
        same = weights @ (won == decided) / total
        ours, theirs = weights @ decided / total, weights @ won / total
        chance = ours * theirs + (1 - ours) * (1 - theirs)
        return np.where(chance < 1, (same - chance) / np.where(chance < 1, 1 - chance, 1), 1.0)

    order = np.argsort(said.judge, kind="stable")
    mixed = bool(won.any() and not won.all())
    return Calibration(
        judge=name,
        yardstick=yardstick,
        comparisons=len(said.judge),
        n_failed=n_failed,
        models=len(models),
        instructions=instructions,
        agreement=over_rows((won == decided).astype(float)),
        kappa=_measured(counts, said, kappa),
        auc=_measured(counts, said, lambda w: _auc(said.judge, won, order, w)) if mixed else None,
        within_auc=_within(said, won, counts),
        brier=over_rows((said.judge - won) ** 2),
        length_bias=over_rows(100 * (said.judge - said.yardstick) * said.longer),
        spearman=_ranking(said, models, _spearman, seed),
        kendall=_ranking(said, models, _kendall, seed),
        first_slot=_slot(swapped, lambda s: (s.ab + 1 - s.ba) / 2, seed),
        consistency=_slot(swapped, lambda s: ((s.ab > 0.5) == (s.ba > 0.5)).astype(float), seed),
        reliability=_reliability(said.judge, won),
        note=note,
    )


def _measured(counts: Array, said: Comparisons, statistic: Callable[[Array], Array]) -> Measured:
    """A statistic of the comparisons, and its spread when instructions are resampled."""
    point = statistic(np.ones((1, len(said.judge))))[0]
    replicates = np.concatenate(
        [
            statistic(counts[at : at + CHUNK][:, said.instruction])
            for at in range(0, len(counts), CHUNK)
        ]
    )
    kept = replicates[np.isfinite(replicates)]
    return Measured(float(point), interval(kept))


def _auc(p: Array, won: NDArray[np.bool_], order: NDArray[np.int64], weights: Array) -> Array:
    """P(p of a won comparison > p of a lost one), ties ½, by weight: [b]."""
    ranked, lost = p[order], ~won[order]
    w = weights[:, order]
    below = np.cumsum(w * lost, axis=1)
    # of equal p's, the lost ones count half: the mean of what is below the group and through it
    first = np.searchsorted(ranked, ranked, side="left")
    last = np.searchsorted(ranked, ranked, side="right") - 1
    through = below[:, last]
    before = np.where(first > 0, below[:, np.maximum(first - 1, 0)], 0.0)
    wins = w * ~lost
    pairs = wins.sum(axis=1) * (w * lost).sum(axis=1)
    found: Array = (wins * (through + before) / 2).sum(axis=1) / np.where(pairs > 0, pairs, np.nan)
    return found


def _within(said: Comparisons, won: NDArray[np.bool_], counts: Array) -> Measured | None:
    values = np.full(counts.shape[1], np.nan)
    for i in range(len(values)):
        here = said.instruction == i
        wins, losses = said.judge[here & won], said.judge[here & ~won]
        if len(wins) and len(losses):
            gaps = np.sign(wins[:, None] - losses[None, :])
            values[i] = (gaps.mean() + 1) / 2
    known = ~np.isnan(values)
    if not known.any():
        return None
    weights = counts[:, known]
    totals = weights.sum(axis=1)
    replicates = (weights @ values[known])[totals > 0] / totals[totals > 0]
    return Measured(float(values[known].mean()), interval(replicates))


def _ranking(
    said: Comparisons,
    models: NDArray[np.int64],
    statistic: Callable[[Array, Array], float],
    seed: int,
) -> Measured | None:
    """A rank correlation of the models' mean p by judge and by yardstick; over models."""
    if len(models) < 5:
        return None
    rates = np.array(
        [
            [said.judge[said.model == m].mean(), said.yardstick[said.model == m].mean()]
            for m in models
        ]
    )
    draws = np.random.default_rng(seed).integers(0, len(models), size=(REPLICATES, len(models)))
    replicates = np.array([statistic(*rates[draw].T) for draw in draws])
    kept = replicates[np.isfinite(replicates)]
    point = statistic(*rates.T)
    return Measured(point, interval(kept)) if np.isfinite(point) and len(kept) else None


def _spearman(a: Array, b: Array) -> float:
    from scipy.stats import spearmanr

    return float(spearmanr(a, b).statistic) if np.ptp(a) and np.ptp(b) else float("nan")


def _kendall(a: Array, b: Array) -> float:
    from scipy.stats import kendalltau

    return float(kendalltau(a, b).statistic) if np.ptp(a) and np.ptp(b) else float("nan")


def _slot(
    swapped: Swapped | None, values: Callable[[Swapped], Array], seed: int
) -> Measured | None:
    if swapped is None or len(swapped.ab) < 2:
        return None
    found = values(swapped)
    n = len(found)
    return Measured(float(found.mean()), interval(resamples(n, seed) @ found / n))


def _reliability(p: Array, won: NDArray[np.bool_]) -> tuple[Bin, ...]:
    tenth = np.minimum((p * BINS).astype(int), BINS - 1)
    return tuple(
        Bin(float(p[here].mean()), float(won[here].mean()), int(here.sum()))
        for i in range(BINS)
        if (here := tenth == i).any()
    )


def reliability_text(bins: Sequence[Bin]) -> str:
    """`0.04→0.05 (n=900), …`: what the judge said, and how often that came true."""
    return ", ".join(f"{b.mean_p:.2f}→{b.share:.2f} (n={b.n})" for b in bins)
