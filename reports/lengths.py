"""The figures of length: characters by iteration, and the win rate with and without control."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from harness.records import IterationRecord, RunRecord
from reports.style import (
    GREY,
    Drawn,
    Label,
    dodge,
    figure,
    iteration_axis,
    look,
    side_labels,
    subtitle,
)
from reports.words import control_kinds, labels

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def length(runs: Sequence[RunRecord]) -> Drawn:
    """Characters an output above, the share that the token limit cut below."""
    fig, (top, bottom) = figure(6.4, rows=2, ratios=(2.2, 1))
    ends: list[Label] = []
    shares: list[float] = []
    for index, (run, label) in enumerate(zip(runs, labels(runs), strict=True)):
        seen = look(index)
        colour, marker = seen.colour, seen.marker
        shift = dodge(index, len(runs))
        x = [record.iteration + shift for record in run.iterations]
        found = [record.result.lengths for record in run.iterations]
        mean = [item.mean for item in found]
        half = [_half_width(record) for record in run.iterations]
        top.errorbar(x, mean, half, fmt=f"{marker}-", color=colour, elinewidth=1.4, zorder=3)
        p95 = [item.p95 for item in found]
        if len(runs) == 1:
            median = [item.median for item in found]
            top.fill_between(x, median, p95, color=colour, alpha=0.16, linewidth=0)
            top.plot(x, p95, color=colour, linewidth=1, linestyle=":")
            top.plot(x, median, color=colour, linewidth=1, linestyle="--")
            words = ((p95, "95th percentile", "┈"), (mean, "mean", "●"), (median, "median", "┄"))
            ends += [Label(values[-1], text, colour, sign) for values, text, sign in words]
        else:
            top.plot(x, p95, "_", color=colour, markersize=9, mew=1.6)
            ends.append(Label(mean[-1], label, colour, seen.glyph))
        limit = [100 * item.limit_share for item in found]
        bottom.plot(x, limit, f"{marker}-", color=colour)
        shares += limit
    top.set_ylim(bottom=0)
    extent = "dashes: 95th percentile" if len(runs) > 1 else "shaded: median to 95th percentile"
    subtitle(top, "Characters an output", extent)
    top.set_ylabel("characters, mean with 95% interval")
    subtitle(bottom, "Outputs cut by the token limit", "")
    bottom.set_ylabel("share (%)")
    bottom.set_ylim(-2, max(10.0, 1.12 * max(shares)))
    iteration_axis(bottom, [record.iteration for run in runs for record in run.iterations])
    side_labels(top, ends, gap=0.075)
    alt = (
        "Two line charts by iteration: mean output length in characters with its 95% interval "
        "and the 95th percentile; and the share of outputs cut by the token limit."
    )
    return fig, alt


def _half_width(record: IterationRecord) -> float:
    """Half of the mean length's 95% interval (normal), over the prompts that were answered."""
    result = record.result
    prompts = max(rate.n + rate.n_failed for rate in (result.win_rate, result.vs_initial))
    return 1.96 * result.lengths.sd / math.sqrt(prompts) if prompts > 1 else 0.0


def controlled_against_raw(runs: Sequence[RunRecord]) -> Drawn | None:
    """Each iteration's win rate at equal lengths over its raw one; None where nobody controlled."""
    kinds = control_kinds(runs)
    if not kinds:
        return None
    kind = " and ".join(kinds)
    fig, (ax,) = figure(4.9)
    ends: list[Label] = []
    for index, (run, label) in enumerate(zip(runs, labels(runs), strict=True)):
        if path := _trace(ax, run, index):
            ends.append(Label(path[-1][1], label, look(index).colour, look(index).glyph))
    least, most = min(ax.dataLim.min), max(ax.dataLim.max)  # intervals included
    margin = 0.08 * max(4.0, most - least)
    low, high = max(0.0, least - margin), min(100.0, most + margin)
    ax.plot([low, high], [low, high], color=GREY, linestyle=(0, (5, 3)), linewidth=1.2, zorder=1)
    ax.set(xlim=(low, high), ylim=(low, high), aspect="equal")
    ax.grid(axis="x", visible=True)
    ax.set_xlabel("raw win rate (%), 95% interval")
    ax.set_ylabel(f"{kind} win rate (%), 95% interval")
    subtitle(ax, f"{kind} against raw", "below the diagonal, length flatters the raw number")
    side_labels(ax, ends, gap=0.07)
    alt = (
        f"Scatter chart with a path for each run: the {kind} win rate over the raw win rate, both "
        "in percent with 95% intervals; the number is the last iteration, and on the diagonal "
        "length makes no difference."
    )
    return fig, alt


def _trace(ax: Axes, run: RunRecord, index: int) -> list[tuple[float, float]]:
    seen = look(index)
    path = []
    for record in run.iterations:
        raw, control = record.result.win_rate, record.result.length_control
        if control is None or control.ci95 is None or raw.value is None or raw.ci95 is None:
            continue
        x, y = raw.value, control.value
        across = [[x - raw.ci95[0]], [raw.ci95[1] - x]]
        up = [[y - control.ci95[0]], [control.ci95[1] - y]]
        ax.errorbar(
            x, y, up, across, fmt=seen.marker, color=seen.colour, elinewidth=1, alpha=0.8, zorder=3
        )
        path.append((x, y))
    if path:
        ax.annotate(str(run.iterations[-1].iteration), path[-1], (5, 5), textcoords="offset points")
        ax.plot(*zip(*path, strict=True), color=seen.colour, alpha=0.6, linewidth=1.4, zorder=2)
    return path
