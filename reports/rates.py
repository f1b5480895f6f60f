"""The figure of win rates by iteration: raw and at equal lengths, and against the start."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, NamedTuple

from harness.records import IterationRecord, RunRecord
from harness.types import LengthControl, Result, WinRate
from leaderboards.neighbours import LANDMARKS
from leaderboards.official import BASELINE, official
from leaderboards.papers import PublishedRow, comparable, published_rows
from reports.style import (
    GREY,
    INK,
    NEAR_EVEN,
    Drawn,
    Label,
    dodge,
    even_line,
    figure,
    iteration_axis,
    look,
    short,
    side_labels,
    subtitle,
)
from reports.words import control_kinds, labels, same_anchor

if TYPE_CHECKING:
    from matplotlib.axes import Axes

DRAWN_PAPERS = ("DNO", "Self-Rewarding LMs")
"""Papers whose last line is drawn beside every comparable run."""


@dataclass(frozen=True, slots=True)
class Point:
    """One iteration's number in percent; `hollow` where nobody measured it."""

    iteration: int
    value: float
    ci95: tuple[float, float]
    hollow: bool


@dataclass(frozen=True, slots=True)
class Line:
    """One measure of one run by iteration; `look` picks its colour and marker."""

    label: str
    look: int
    points: tuple[Point, ...]


@dataclass(frozen=True, slots=True)
class Panel:
    """Lines on one axis, and published figures (words: percent) that are comparable with them.
    `even` says what stands at 50%."""

    title: str
    lines: tuple[Line, ...]
    published: Mapping[str, float] = field(default_factory=dict)
    even: str = "50%: even"


def win_rate(runs: Sequence[RunRecord]) -> Drawn:
    """Against the fixed opponent, at equal lengths where that was measured, and against each run's
    own start; 95% intervals."""
    shown = panels(runs)
    labelled = max(1 + len(panel.lines) + len(panel.published) for panel in shown)
    height = max(4.4 if len(shown) == 1 else 3.3, 0.8 + 0.24 * labelled)
    fig, axes = figure(height * len(shown), rows=len(shown))
    for ax, panel in zip(axes, shown, strict=True):
        _draw(ax, panel)
    iteration_axis(axes[-1], [record.iteration for run in runs for record in run.iterations])
    result = runs[0].iterations[0].result
    kinds = "".join(f" and its {kind} form" for kind in control_kinds(runs))
    against = "" if same_anchor(runs) else f"against {result.opponent} and "
    alt = (
        f"{len(shown)} line chart{'s' if len(shown) > 1 else ''} by iteration: win rate in percent"
        f"{kinds} {against}against the run's own start, with 95% intervals, judged by "
        f"{result.judge}. The table by iteration holds the same numbers."
    )
    return fig, alt


def panels(runs: Sequence[RunRecord]) -> tuple[Panel, ...]:
    """One run shows raw and length-controlled win rate on one axis, so that what length alone is
    worth is seen; several runs would hide each other there, and each measure has its own."""
    once = same_anchor(runs)  # then the start's panel would be the opponent's again
    start = "Against the run's own start"
    result = runs[0].iterations[0].result
    against = start if once else f"Against {short(result.opponent, 34)}"
    raw = _lines(runs, lambda result: result.win_rate)
    controlled = _lines(runs, lambda result: result.length_control)
    even = "50%: GPT-4-Turbo" if BASELINE in result.opponent else "50%: even"
    kind = " and ".join(control_kinds(runs))
    printed = published_lines(runs)
    if len(runs) == 1 and controlled:
        both = (replace(raw[0], label="win rate"), replace(controlled[0], label=kind, look=1))
        found = [Panel(against, both, printed.win_rate, even)]
    else:
        found = [Panel(against, raw, printed.win_rate, even)]
        if controlled:
            lc = printed.lc if kind == "LC" else {}
            found.append(Panel(f"At equal lengths ({kind})", controlled, lc, even))
    if not once:
        found.append(Panel(start, _lines(runs, lambda result: result.vs_initial)))
    return tuple(found)


def _lines(
    runs: Sequence[RunRecord], measure: Callable[[Result], WinRate | LengthControl | None]
) -> tuple[Line, ...]:
    """A line for each run that has the measure; no interval, no point."""
    return tuple(
        Line(label, look, points)
        for look, (run, label) in enumerate(zip(runs, labels(runs), strict=True))
        if (points := tuple(filter(None, (_point(r, measure(r.result)) for r in run.iterations))))
    )


def _point(record: IterationRecord, found: WinRate | LengthControl | None) -> Point | None:
    if found is None or found.value is None or found.ci95 is None:
        return None
    hollow = isinstance(found, WinRate) and found.by_construction is not None
    return Point(record.iteration, found.value, found.ci95, hollow)


class PublishedLines(NamedTuple):
    """Others' figures in percent by the words that stand at their lines."""

    win_rate: Mapping[str, float]
    lc: Mapping[str, float]


def published_lines(runs: Sequence[RunRecord]) -> PublishedLines:
    """The leaderboard's landmarks and the papers' lines; none where benchmark, judge or opponent
    are others."""
    result = runs[0].iterations[0].result
    if not comparable(result.benchmark, result.judge) or BASELINE not in result.opponent:
        return PublishedLines({}, {})
    marks = [row for row in official() if row.name in LANDMARKS and row.name != BASELINE]
    rows = reference_rows(published_rows(result.benchmark, result.judge), [r.method for r in runs])
    return PublishedLines(
        {LANDMARKS[m.name]: m.win_rate for m in marks} | _numbers(rows, lambda r: r.win_rate),
        {LANDMARKS[m.name]: m.lc_win_rate for m in marks} | _numbers(rows, lambda r: r.lc_win_rate),
    )


def _numbers(
    rows: Sequence[PublishedRow], number: Callable[[PublishedRow], float | None]
) -> dict[str, float]:
    return {_words(row): value for row in rows if (value := number(row)) is not None}


def _words(row: PublishedRow) -> str:
    iteration = "" if row.iteration is None else f" iter. {row.iteration}"
    size = f" {row.base.rpartition('-')[2]}" if row.base.endswith("B") else ""
    return f"{row.method}{size}{iteration}"


def reference_rows(
    rows: Sequence[PublishedRow], methods: Sequence[str]
) -> tuple[PublishedRow, ...]:
    """The lines worth drawing: DNO's start, the last line of DNO's table and of Self-Rewarding
    LMs', and the last iteration of each method run here."""
    chosen = [row for row in rows if row.paper == DRAWN_PAPERS[0] and row.iteration == 0]
    for paper in DRAWN_PAPERS:
        chosen += [row for row in rows if row.paper == paper][-1:]
    for method in dict.fromkeys(methods):
        same = [row for row in rows if row.method == method and row.iteration is not None]
        papers = dict.fromkeys((row.paper, row.base) for row in same)
        for paper, base in list(papers)[:1]:
            mine = [row for row in same if (row.paper, row.base) == (paper, base)]
            chosen.append(max(mine, key=lambda row: row.iteration or 0))
    return tuple(dict.fromkeys(chosen))


# --- drawing ----------------------------------------------------------------------------------


def _draw(ax: Axes, panel: Panel) -> None:
    points = [point for line in panel.lines for point in line.points]
    heights = [*panel.published.values(), *(end for p in points for end in p.ci95)]
    near = bool(panel.published) or max(heights) >= NEAR_EVEN
    ends = []
    if near:
        even_line(ax)
        ends = [Label(50, panel.even, GREY, "┄")]
        heights += [45.0, 55.0]
    for place, line in enumerate(panel.lines):
        seen = look(line.look)
        _trace(ax, line, dodge(place, len(panel.lines)))
        ends.append(Label(line.points[-1].value, line.label, seen.colour, seen.glyph))
    for words, value in panel.published.items():
        ends.append(Label(value, f"{value:.1f} {words}", INK, "┈"))
        ax.axhline(value, color=INK, linewidth=1.2, linestyle=":", zorder=1)
    margin = 0.08 * max(1.0, max(heights) - min(heights))
    ax.set_ylim(max(-2.0, min(heights) - margin), min(102.0, max(heights) + margin))
    ax.set_ylabel("win rate (%), 95% interval")
    below = []
    if any(point.hollow for point in points):
        below.append("hollow: by construction")
    if panel.published:
        below.append("dotted: published")
    if not near:
        below.append(f"{panel.even.replace(': ', ', ')}, lies far above")
    subtitle(ax, panel.title, "; ".join(below))
    side_labels(ax, ends, gap=min(0.075, 1 / len(ends)))


def _trace(ax: Axes, line: Line, shift: float) -> None:
    colour, marker = look(line.look).colour, look(line.look).marker
    for point in line.points:
        x = point.iteration + shift
        if point.hollow:
            ax.plot(x, point.value, marker, mfc="white", mec=colour, mew=1.2, zorder=4)
            continue
        bars = [[point.value - point.ci95[0]], [point.ci95[1] - point.value]]
        ax.errorbar(x, point.value, bars, fmt=marker, color=colour, elinewidth=1.4, zorder=3)
    path = [(point.iteration + shift, point.value) for point in line.points]
    ax.plot(*zip(*path, strict=True), color=colour, alpha=0.75, zorder=2)
