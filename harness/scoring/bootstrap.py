"""Uncertainty over instructions: bootstrap intervals, paired differences, Holm's correction."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from harness.types import Difference

Array = NDArray[np.float64]

REPLICATES = 1000


def resamples(n: int, seed: int, replicates: int = REPLICATES) -> Array:
    """[replicates, n]: how often each of n rows is drawn when n are drawn with replacement.

    The same for the same n and seed, so that two statistics on the same rows are paired.
    """
    draws = np.random.default_rng(seed).integers(0, n, size=(replicates, n))
    flat = (draws + n * np.arange(replicates)[:, None]).ravel()
    return np.bincount(flat, minlength=replicates * n).reshape(replicates, n).astype(np.float64)


def interval(replicates: Array) -> tuple[float, float]:
    """The percentile bootstrap's 95% interval. Raises ValueError on NaN."""
    if np.isnan(replicates).any():
        raise ValueError("a bootstrap replicate is not a number")
    low, high = np.percentile(replicates, [2.5, 97.5])
    return float(low), float(high)


def difference(value: float, replicates: Array) -> Difference:
    """A difference with its interval and two-sided p-value, both from its paired replicates.

    The p-value is the normal one of value / standard error: unlike a count of replicates it has no
    floor, which a correction for many comparisons would run into. Without any spread (all rows
    equal) it is 1 at no difference, and else 0.
    """
    error = float(replicates.std(ddof=1))
    if error > 1e-12:
        p_value = math.erfc(abs(value) / error / math.sqrt(2))
    else:
        p_value = 1.0 if abs(value) < 1e-9 else 0.0
    return Difference(value, interval(replicates), p_value)


def paired_difference(a: Array, b: Array, seed: int) -> Difference:
    """100 · (mean a − mean b) over the same rows. Raises ValueError on NaN or no rows."""
    if a.shape != b.shape or not len(a):
        raise ValueError(f"paired rows needed, got {a.shape} and {b.shape}")
    gaps = 100 * (a - b)
    value = float(gaps.mean())
    if len(gaps) < 2:
        return Difference(value, None, None)
    return difference(value, resamples(len(gaps), seed) @ gaps / len(gaps))


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down corrected p-values, in the order given (Holm 1979)."""
    order = sorted(range(len(p_values)), key=lambda i: p_values[i])
    corrected = [0.0] * len(p_values)
    highest = 0.0
    for rank, i in enumerate(order):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[i]))
        corrected[i] = highest
    return corrected
