"""The three figures of a report: win rate, length and training data by iteration."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from harness.records import IterationRecord, RunRecord
from harness.types import WinRate
from leaderboards.papers import PublishedRow, published_rows
from reports.pairs import compositions, pairs
from reports.style import (
    COLOURS,
    GLYPHS,
    GREY,
    INK,
    MARKERS,
    STYLE,
    Label,
    figure,
    iteration_axis,
    save,
    short,
    side_labels,
    subtitle,
)
from reports.words import labels, same_anchor

if TYPE_CHECKING:
    from matplotlib.axes import Axes
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


# --- win rate ---------------------------------------------------------------------------------


def win_rate(runs: Sequence[RunRecord]) -> tuple[Figure, str]:
    """Against the fixed opponent above, against each run's own start below; 95% intervals."""
    result = runs[0].iterations[0].result
    lines = reference_rows(
        published_rows(result.benchmark, result.judge), [run.method for run in runs]
    )
    once = same_anchor(runs)  # then two panels would be one panel twice
    fig, panels = figure(4.8 if once else 7.0, rows=1 if once else 2)
    start = "Against the run's own start" + (", the opponent" if once else "")
    _rates(panels[-1], runs, start, lambda record: record.result.vs_initial)
    if not once:
        title = f"Against {short(result.opponent, 34)}"
        _rates(panels[0], runs, title, lambda record: record.result.win_rate, lines)
    iteration_axis(panels[-1], [record.iteration for run in runs for record in run.iterations])
    charts = "A line chart" if once else f"Line charts, one against {result.opponent} and one"
    alt = (
        f"{charts} against the run's own start: win rate in percent with 95% intervals by "
        f"iteration, judged by {result.judge}. The table by iteration holds the same numbers."
    )
    return fig, alt


def _rates(
    ax: Axes,
    runs: Sequence[RunRecord],
    title: str,
    rate_of: Callable[[IterationRecord], WinRate],
    lines: Sequence[PublishedRow] = (),
) -> None:
    ends = [Label(50, "50%: even", GREY, "┄")]
    heights = [45.0, 55.0]
    constructed: dict[int, None] = {}
    for index, (run, label) in enumerate(zip(runs, labels(runs), strict=True)):
        colour, marker = COLOURS[index % len(COLOURS)], MARKERS[index % len(MARKERS)]
        path: list[tuple[float, float]] = []
        for record in run.iterations:
            rate, x = rate_of(record), record.iteration + _dodge(index, len(runs))
            if rate.value is None or rate.ci95 is None:
                continue  # no interval, no mark
            path.append((x, rate.value))
            heights += rate.ci95
            if rate.by_construction is not None:
                constructed[record.iteration] = None
                ax.plot(x, rate.value, marker, mfc="white", mec=colour, mew=2, zorder=4)
                continue
            bars = [[rate.value - rate.ci95[0]], [rate.ci95[1] - rate.value]]
            ax.errorbar(x, rate.value, bars, fmt=marker, color=colour, elinewidth=1.4, zorder=3)
        if path:
            ax.plot(*zip(*path, strict=True), color=colour, alpha=0.75, zorder=2)
            ends.append(Label(path[-1][1], label, colour, GLYPHS[index % len(GLYPHS)]))
    for row in lines:
        if row.win_rate is not None:
            ends.append(Label(row.win_rate, _published_words(row), INK, "┈"))
            ax.axhline(row.win_rate, color=INK, linewidth=1.2, linestyle=":", zorder=1)
            heights.append(row.win_rate)
    ax.axhline(50, color=GREY, linewidth=1.2, linestyle=(0, (5, 3)), zorder=1)
    margin = 0.08 * (max(heights) - min(heights))
    ax.set_ylim(max(-2.0, min(heights) - margin), min(102.0, max(heights) + margin))
    ax.set_ylabel("win rate (%), 95% interval")
    below = []
    if constructed:
        which = ", ".join(str(iteration) for iteration in sorted(constructed))
        below.append(f"hollow (iteration {which}): 50% by construction")
    if lines:
        below.append("dotted: published figures, printed without interval")
    subtitle(ax, title, "; ".join(below))
    side_labels(ax, ends)


def _published_words(row: PublishedRow) -> str:
    return row.method if row.iteration is None else f"{row.method} iter. {row.iteration}"


def reference_rows(
    rows: Sequence[PublishedRow], methods: Sequence[str]
) -> tuple[PublishedRow, ...]:
    """The lines worth drawing: DNO's start, and the last iteration of each method run here."""
    chosen = [row for row in rows if row.paper == "DNO" and row.iteration == 0]
    for method in dict.fromkeys(methods):
        same = [row for row in rows if row.method == method and row.iteration is not None]
        papers = dict.fromkeys((row.paper, row.base) for row in same)
        for paper in list(papers)[:1]:
            mine = [row for row in same if (row.paper, row.base) == paper]
            chosen.append(max(mine, key=lambda row: row.iteration or 0))
    return tuple(chosen)


# --- length -----------------------------------------------------------------------------------


def length(runs: Sequence[RunRecord]) -> tuple[Figure, str]:
    """Characters an output above, the share that the token limit cut below."""
    fig, (top, bottom) = figure(7.0, rows=2, ratios=(2.2, 1))
    ends: list[Label] = []
    shares: list[float] = []
    for index, (run, label) in enumerate(zip(runs, labels(runs), strict=True)):
        colour, marker = COLOURS[index % len(COLOURS)], MARKERS[index % len(MARKERS)]
        shift = _dodge(index, len(runs))
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


# --- shared -----------------------------------------------------------------------------------


def _dodge(index: int, count: int) -> float:
    """Runs stand side by side within an iteration, so that their intervals do not hide."""
    return (index - (count - 1) / 2) * min(0.12, 0.5 / count)
