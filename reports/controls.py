"""What a judge makes of answers whose worth is known, as a table and in words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from harness.records import RunRecord
from harness.text import gap_text, rate_text
from harness.types import Control, ControlName, Controls, Difference
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
        f"{_words(iteration, last)} null: one polite phrase that answers nothing, to every prompt; "
        "padded: the policy's own output with filler that says nothing; shortened: its beginning. "
        f"Against {last.opponent} on {plural(last.prompts, 'prompt')}, judge {last.judge}; "
        "differences are paired, with 95% bootstrap intervals."
    )
    return Table(caption, columns, rows, note, text_columns=2)


def _words(iteration: int, of: Controls) -> str:
    told = [(control.name, outcome(control.vs_own)) for control in of.controls]
    meant = [_MEANING.get(pair, f"{pair[0]} was not measured") for pair in told]
    return f"Iteration {iteration}: {'; '.join(meant)}."


def warnings(runs: Sequence[RunRecord]) -> tuple[str, ...]:
    """How the judge can be gamed, by each run's last controls: one that beats the policy's own
    outputs, or an empty phrase that is as good."""
    several = len(runs) > 1
    return tuple(
        f"{label}: {said}" if several else said
        for run, label in zip(runs, labels(runs), strict=True)
        if (found := run.iterations[-1].controls) is not None
        for control in found.controls
        if (said := _warning(control, found, run.iterations[-1].iteration))
    )


def _warning(control: Control, found: Controls, iteration: int) -> str:
    gap, told, empty = control.vs_own, outcome(control.vs_own), control.name == "null"
    if gap is None or not (told == "above" or (empty and told == "unclear")):
        return ""
    means, what = _GAMED[control.name]
    how = f"95% interval {interval(gap)}, {plural(found.prompts, 'prompt')}"
    own = "the policy's own outputs"
    # a policy that answers nothing itself is no fault of the judge's
    or_else = ", or the outputs are worth no more than that" if empty else ""
    if told == "above":
        return (
            f"The judge {found.judge} can be gamed by {means}{or_else}: at iteration {iteration} "
            f"{what} scored {gap.value:.1f} points above {own} ({how})."
        )
    return (
        f"The judge {found.judge} may be gamed by {means}{or_else}: at iteration {iteration} "
        f"{what} was not told apart from {own} ({gap.value:+.1f} points, {how})."
    )
