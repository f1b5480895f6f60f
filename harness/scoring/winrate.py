"""Win rates with their uncertainty over prompts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from harness.judges.adapters import hard_win
from harness.types import Completion, Lengths, Verdict, WinRate

REPLICATES = 2000


def win_rate(verdicts: Sequence[Verdict], seed: int) -> WinRate:
    """100 · mean p over the judged prompts, its standard error and a 95% interval.

    The interval is the percentile bootstrap over prompts (2,000 replicates, seeded). Failed
    judgements are counted by reason and are in no other number. Sorted by match, so that the
    order in which verdicts came changes nothing.
    """
    judged = [v.p for v in sorted(verdicts, key=lambda v: v.match_id) if v.p is not None]
    failures = Counter(v.error or "no reason given" for v in verdicts if v.p is None)
    p = np.array(judged, dtype=np.float64)
    hard = [hard_win(value) for value in judged]
    spread = _spread(p, seed) if len(p) > 1 else None
    return WinRate(
        value=float(100 * p.mean()) if len(p) else None,
        se=spread[0] if spread else None,
        ci95=spread[1] if spread else None,
        n=len(p),
        n_wins=sum(win == 1 for win in hard),
        n_losses=sum(win == 0 for win in hard),
        n_draws=sum(win == 0.5 for win in hard),
        n_failed=sum(failures.values()),
        failures=dict(sorted(failures.items())),
    )


def by_construction(prompts: int, reason: str) -> WinRate:
    """A policy against itself: 50%, which nobody measured."""
    return WinRate(50.0, 0.0, (50.0, 50.0), prompts, 0, 0, prompts, 0, {}, reason)


def lengths(outputs: Sequence[Completion]) -> Lengths:
    """Characters of the outputs. Raises ValueError on none."""
    chars = np.array([len(output.text) for output in outputs], dtype=np.float64)
    if not len(chars):
        raise ValueError("no outputs to measure")
    return Lengths(
        mean=float(chars.mean()),
        sd=float(chars.std(ddof=1)) if len(chars) > 1 else 0.0,
        median=float(np.median(chars)),
        p95=float(np.percentile(chars, 95)),
        limit_share=sum(o.finish_reason == "length" for o in outputs) / len(outputs),
    )


def _spread(p: np.ndarray, seed: int) -> tuple[float, tuple[float, float]]:
    draws = np.random.default_rng(seed).integers(0, len(p), size=(REPLICATES, len(p)))
    low, high = np.percentile(100 * p[draws].mean(axis=1), [2.5, 97.5])
    return float(100 * p.std(ddof=1) / np.sqrt(len(p))), (float(low), float(high))
