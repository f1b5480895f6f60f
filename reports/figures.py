"""The figures of a report on disk, and that of output length by iteration."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from harness.records import IterationRecord, RunRecord
from reports.pairs import compositions, pairs
from reports.rates import win_rate
from reports.style import (
    COLOURS,
    GLYPHS,
    MARKERS,
    STYLE,
    Label,
    dodge,
    figure,
    iteration_axis,
    save,
    side_labels,
    subtitle,
)
from reports.words import labels

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True, slots=True)
class FigureFile:
    """One figure on disk, with its words for readers who do not see it."""

    name: str
    title: str
    alt: str
    png: Path
    svg: Path


def write_figures(runs: Sequence[RunRecord], folder: Path) -> tuple[FigureFile, ...]:
    """Draw what the runs have data for, each as PNG and SVG (pairs: where a run has trained)."""
    import matplotlib

    drawings: tuple[tuple[str, str, Callable[[Sequence[RunRecord]], tuple[Figure, str]]], ...] = (
        ("win_rate", "Win rate by iteration", win_rate),
        ("length", "Output length by iteration", length),
        ("pairs", "Training data by iteration", pairs),
    )
    files = []
    for name, title, draw in drawings:
        if name == "pairs" and not any(compositions(run) for run in runs):
            continue
        with matplotlib.rc_context(STYLE):
            drawn, alt = draw(runs)
            png, svg = save(drawn, folder, name)
        files.append(FigureFile(name, title, alt, png, svg))
    return tuple(files)


# --- length -----------------------------------------------------------------------------------


def length(runs: Sequence[RunRecord]) -> tuple[Figure, str]:
    """Characters an output above, the share that the token limit cut below."""
    fig, (top, bottom) = figure(7.0, rows=2, ratios=(2.2, 1))
    ends: list[Label] = []
    shares: list[float] = []
    for index, (run, label) in enumerate(zip(runs, labels(runs), strict=True)):
        colour, marker = COLOURS[index % len(COLOURS)], MARKERS[index % len(MARKERS)]
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
            ends.append(Label(mean[-1], label, colour, GLYPHS[index % len(GLYPHS)]))
        limit = [100 * item.limit_share for item in found]
        bottom.plot(x, limit, f"{marker}-", color=colour)
        shares += limit
    top.set_ylim(bottom=0)
    extent = "dashes: 95th percentile" if len(runs) > 1 else "shaded: median to 95th percentile"
    subtitle(top, "Characters an output", extent)
    top.set_ylabel("characters, mean with 95% interval")
    bottom.set_title("Outputs cut by the token limit")
    bottom.set_ylabel("share (%)")
    bottom.set_ylim(-2, max(10.0, 1.12 * max(shares)))
    iteration_axis(bottom, [record.iteration for run in runs for record in run.iterations])
    side_labels(top, ends, gap=0.065)
    alt = (
        "Two line charts by iteration: mean output length in characters with its 95% interval, "
        "median and 95th percentile; and the share of outputs cut by the token limit. "
        "The table by iteration holds the same numbers."
    )
    return fig, alt


def _half_width(record: IterationRecord) -> float:
    """Half of the mean length's 95% interval (normal), over the prompts that were answered."""
    result = record.result
    prompts = max(rate.n + rate.n_failed for rate in (result.win_rate, result.vs_initial))
    return 1.96 * result.lengths.sd / math.sqrt(prompts) if prompts > 1 else 0.0
