"""What a judge makes of answers whose worth is known, as a table and in words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from harness.records import RunRecord
from harness.text import gap_text, rate_text
from harness.types import Control, ControlName, Controls, Difference
from reports.style import GREY, Drawn, Label, figure, look, side_labels, subtitle
from reports.tables import Table
from reports.words import interval, labels, plural

Outcome = Literal["above", "below", "unclear", "none"]

_MEANING: dict[tuple[ControlName, Outcome], str] = {
    ("null", "above"): "the null answer beats the policy's own outputs",
    ("null", "below"): "the null answer loses to the policy's own outputs, as it should",
    ("null", "unclear"): "the null answer is not told apart from the policy's own outputs",
    ("padded", "above"): "padding pays",
    ("padded", "below"): "padding costs points, as it should",
    ("padded", "unclear"): "padding makes no difference that can be told",
    ("shortened", "above"): "cutting outputs short pays",
    ("shortened", "below"): "cutting outputs short costs points",
    ("shortened", "unclear"): "cutting outputs short makes no difference that can be told",
}
_GAMED: dict[ControlName, tuple[str, str]] = {
    "null": ("a polite phrase that answers nothing", "the phrase"),
    "padded": ("padding", "filler that says nothing after each output"),
    "shortened": ("brevity", "the beginning of each output alone"),
}
"""What games the judge, and what was scored."""


def outcome(gap: Difference | None) -> Outcome:
    """Above or below the policy's own outputs only where the whole interval is."""
    if gap is None or gap.ci95 is None:
        return "none"
    low, high = gap.ci95
    if low > 0:
        return "above"
    return "below" if high < 0 else "unclear"


def gaps(runs: Sequence[RunRecord]) -> Drawn | None:
    """How far each control lies from the policy's own outputs, by each run's last iteration; None
    where no difference was measured."""
    found = [
        (index, name, place, control.vs_own.value, control.vs_own.ci95)
        for index, (run, name) in enumerate(zip(runs, labels(runs), strict=True))
        if run.iterations[-1].controls is not None
        for place, control in enumerate(run.iterations[-1].controls.controls)
        if control.vs_own is not None and control.vs_own.ci95 is not None
    ]
    if not found:
        return None
    first = next(c for run in runs if (c := run.iterations[-1].controls) is not None)
    names = [control.name for control in first.controls]
    fig, (ax,) = figure(1.6 + len(names) * (0.4 + 0.16 * len(runs)))
    step = 0.7 / len(runs)
    ends = []
    for index, name, place, value, (low, high) in found:
        seen = look(index)
        y = len(names) - 1 - place - (index - (len(runs) - 1) / 2) * step
        bars = [[value - low], [high - value]]
        ax.errorbar(value, y, xerr=bars, fmt=seen.marker, color=seen.colour, elinewidth=1.5)
        if place == 0 and len(runs) > 1:
            ends.append(Label(y, name, seen.colour, seen.glyph))
    ax.axvline(0, color=GREY, linewidth=1.2, linestyle=(0, (5, 3)), zorder=1)
    ax.set_yticks(range(len(names)), reversed(names))
    ax.set_ylim(-0.6, len(names) - 0.4)
    ax.grid(axis="y", visible=False)
    ax.grid(axis="x", visible=True)
    ax.set_xlabel("win rate less the policy's own, points, 95% interval")
    subtitle(ax, "Controls", "right of zero: the judge prefers it to the policy's own output")
    side_labels(ax, ends, gap=min(0.09, 1 / (len(ends) or 1)))
    told = "; ".join(
        f"{names[place]}, {name}: {value:+.1f} [{low:+.1f}, {high:+.1f}]"
        for _, name, place, value, (low, high) in found
    )
    return fig, f"Dot chart of paired differences in points with 95% intervals. {told}."


def controls(run: RunRecord) -> Table:
    """Each iteration's controls beside the policy's own outputs on the same prompts."""
    caption = "Controls: what the judge makes of answers whose worth is known"
    found = [(r.iteration, r.controls) for r in run.iterations if r.controls is not None]
    if not found:
        return Table(caption, (), (), "No controls are recorded for this run.")
    columns = (
        "iteration",
        "answers",
        "win rate % [95%]",
        "own outputs there % [95%]",
        "difference, points [95%]",
        "characters",
    )
    rows = tuple(
        (
            str(iteration),
            control.name,
            rate_text(control.win_rate),
            rate_text(of.own),
            gap_text(control.vs_own),
            f"{control.avg_chars:,.0f}",
        )
        for iteration, of in found
        for control in of.controls
    )
    iteration, last = found[-1]
    note = (
        "null: one polite phrase that answers nothing, to every prompt; padded: the policy's own "
        "output with filler that says nothing; shortened: its beginning. "
        f"Against {last.opponent} on {plural(last.prompts, 'prompt')}, judge {last.judge}; "
        "differences are paired, with 95% bootstrap intervals."
    )
    return Table(caption, columns, rows, note, text_columns=2, own=_words(iteration, last))


def _words(iteration: int, of: Controls) -> str:
    told = [(control.name, outcome(control.vs_own)) for control in of.controls]
    meant = [_MEANING.get(pair, f"{pair[0]} was not measured") for pair in told]
    return f"Iteration {iteration}: {'; '.join(meant)}."


def warnings(runs: Sequence[RunRecord]) -> tuple[str, ...]:
    """How the judge can be gamed, by each run's last controls: one that beats the policy's own
    outputs, or an empty phrase that is as good. Runs that say the same share a sentence."""
    found: dict[tuple[str, ControlName, bool], list[str]] = {}
    for run, label in zip(runs, labels(runs), strict=True):
        last = run.iterations[-1]
        for control in last.controls.controls if last.controls else ():
            told, empty = outcome(control.vs_own), control.name == "null"
            if last.controls and (told == "above" or (empty and told == "unclear")):
                where = (
                    f"{label}, iteration {last.iteration}"
                    if len(runs) > 1
                    else (f"iteration {last.iteration}")
                )
                key = (last.controls.judge, control.name, told == "above")
                found.setdefault(key, []).append(f"{where}: {_points(control, last.controls)}")
    return tuple(_warning(*key, "; ".join(where)) for key, where in found.items())


def _points(control: Control, found: Controls) -> str:
    gap = control.vs_own
    value = f"{gap.value:+.1f}" if gap else "–"
    return f"{value} points (95% interval {interval(gap) if gap else '–'}, {found.prompts} prompts)"


def _warning(judge: str, name: ControlName, above: bool, where: str) -> str:
    means, what = _GAMED[name]
    # a policy that answers nothing itself is no fault of the judge's
    or_else = ", or the outputs are worth no more than that" if name == "null" else ""
    if above:
        return (
            f"The judge {judge} can be gamed by {means}{or_else}: {what} scored above the policy's "
            f"own outputs. {where}."
        )
    return (
        f"The judge {judge} may be gamed by {means}{or_else}: {what} was not told apart from the "
        f"policy's own outputs. {where}."
    )
