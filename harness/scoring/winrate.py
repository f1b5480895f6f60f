"""Win rates with their uncertainty over prompts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from harness.judges.adapters import hard_win
from harness.scoring.bootstrap import interval, resamples
from harness.types import Completion, Lengths, OrderBias, Verdict, WinRate

Said = tuple[str, float | None, str | None]
"""What a judge said of one row: its key, p in 0..1 or None, and why there is none."""


def win_rate(verdicts: Sequence[Verdict], seed: int) -> WinRate:
    """The win rate of a judge's verdicts; see `rate`."""
    return rate([(v.match_id, v.p, v.error) for v in verdicts], seed)


def rate(said: Sequence[Said], seed: int) -> WinRate:
    """100 · mean p over the judged rows, its standard error and a 95% interval.

    The interval is the percentile bootstrap over rows (1,000 replicates, seeded). Failed
    judgements are counted by reason and are in no other number. Rows are sorted by key, so that
    the order in which they came changes nothing.
    """
    judged = [p for _, p, _ in sorted(said, key=lambda row: row[0]) if p is not None]
    failures = Counter(error or "no reason given" for _, p, error in said if p is None)
    p = np.array(judged, dtype=np.float64)
    hard = [hard_win(value) for value in judged]
    n = len(p)
    return WinRate(
        value=float(100 * p.mean()) if n else None,
        se=float(100 * p.std(ddof=1) / np.sqrt(n)) if n > 1 else None,
        ci95=interval(resamples(n, seed) @ (100 * p) / n) if n > 1 else None,
        n=n,
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


def order_bias(verdicts: Sequence[Verdict]) -> OrderBias | None:
    """Of the matches that were judged in both orders; None where there are none."""
    both = [
        (hard_win(there), hard_win(back))
        for there, back in (v.by_order for v in verdicts if v.by_order)
    ]
    if not both:
        return None
    return OrderBias(
        n=len(both),
        consistency=sum(there == back for there, back in both) / len(both),
        first_slot_rate=sum(there + 1 - back for there, back in both) / (2 * len(both)),
    )
