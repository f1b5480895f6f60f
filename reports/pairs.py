"""The figure of training data by iteration, by type."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from harness.records import IterationRecord, RunRecord
from reports.style import COLOURS, PALE, Drawn, Label, iteration_axis, panels, short, side_labels
from reports.words import labels

if TYPE_CHECKING:
    from matplotlib.axes import Axes

REPLAYED = "replayed"
KINDS = {
    "teacher>student": COLOURS[0],
    "student>teacher": COLOURS[5],
    "student>student": COLOURS[2],
    "dataset": COLOURS[3],
    REPLAYED: PALE,
}
"""A type of pair has the same colour in every report; other kinds take what is left."""


def pairs(runs: Sequence[RunRecord]) -> Drawn | None:
    """What each iteration trained on, by type, replayed examples on top; one panel a run that has
    trained, None where none has."""
    shown = [
        (run, label) for run, label in zip(runs, labels(runs), strict=True) if compositions(run)
    ]
    if not shown:
        return None
    kinds = kinds_of(runs)
    fig, axes = panels(len(shown), 2.9)
    for place, (ax, (run, label)) in enumerate(zip(axes, shown, strict=True)):
        _bars(ax, compositions(run), kinds, named=place == min(1, len(shown) - 1))
        ax.set_title(short(label, 40) if len(shown) > 1 else "Examples trained on, by type")
        iteration_axis(ax, [r.iteration for run, _ in shown for r in compositions(run)])
    highest = max(sum(trained(r).values()) for run, _ in shown for r in compositions(run))
    axes[0].set_ylim(0, 1.14 * max(1, highest))
    fig.supylabel("examples", fontsize=11)
    alt = (
        "Stacked bars: the number of examples that each iteration trained on, by type "
        f"({', '.join(kinds)})."
    )
    return fig, alt


def _bars(
    ax: Axes, records: Sequence[IterationRecord], kinds: Sequence[str], *, named: bool
) -> None:
    colours = _kind_colours(kinds)
    tops = {record.iteration: 0 for record in records}
    ends = []
    for kind in kinds:
        hatch = "///" if kind == REPLAYED else None
        middle = 0.0
        for record in records:
            count, at = trained(record).get(kind, 0), tops[record.iteration]
            bar = ax.bar(record.iteration, count, 0.66, at, color=colours[kind], hatch=hatch)
            bar[0].set(edgecolor="white", linewidth=0.8)
            tops[record.iteration] = at + count
            middle = at + count / 2
        ends.append(Label(middle, kind.replace(">", " ≻ "), colours[kind]))
    for iteration, total in tops.items():
        ax.text(iteration, total, f"{total:,}", ha="center", va="bottom", fontsize=10)
    ax.set_ylim(0, 1.14 * max(1, *tops.values()))
    ax.grid(axis="x", visible=False)
    if named:
        side_labels(ax, ends, gap=0.09)


def trained(record: IterationRecord) -> dict[str, int]:
    """Trained examples by type, replayed ones as their own type."""
    if record.composition is None:
        return {}
    counts = dict(record.composition.trained)
    if record.composition.replayed:
        counts[REPLAYED] = counts.get(REPLAYED, 0) + record.composition.replayed
    return counts


def kinds_of(runs: Sequence[RunRecord]) -> tuple[str, ...]:
    """All types that occur: the known pair types in their order, others by name, replayed last."""
    found = {kind for run in runs for record in run.iterations for kind in trained(record)}
    known = [kind for kind in KINDS if kind in found and kind != REPLAYED]
    others = sorted(found - set(KINDS))
    return (*known, *others, *((REPLAYED,) if REPLAYED in found else ()))


def _kind_colours(kinds: Sequence[str]) -> dict[str, str]:
    spare = (COLOURS[1], COLOURS[4], COLOURS[0], COLOURS[5], COLOURS[2], COLOURS[3])
    others = [kind for kind in kinds if kind not in KINDS]
    return {**KINDS, **{kind: spare[i % len(spare)] for i, kind in enumerate(others)}}


def compositions(run: RunRecord) -> list[IterationRecord]:
    return [record for record in run.iterations if record.composition is not None]
