"""The figures of training: the loss step by step, and where the policy went."""

from __future__ import annotations

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
    panels,
    short,
    side_labels,
    subtitle,
)
from reports.words import labels

if TYPE_CHECKING:
    from matplotlib.axes import Axes

CHOSEN, REJECTED = "logratio_chosen", "logratio_rejected"


def loss(runs: Sequence[RunRecord]) -> Drawn | None:
    """Each run's loss by optimiser step, one panel a run: methods' losses share no scale."""
    shown = [(i, run, name) for i, (run, name) in enumerate(zip(runs, labels(runs), strict=True))]
    shown = [(i, run, name) for i, run, name in shown if any(map(_steps, run.iterations))]
    if not shown:
        return None
    fig, axes = panels(len(shown), 2.6, sharey=False)
    for ax, (index, run, name) in zip(axes, shown, strict=True):
        seen = look(index)
        for record in run.iterations:
            if found := _steps(record):
                x, y = zip(*found, strict=True)
                ax.plot(x, y, "-", marker=".", color=seen.colour, linewidth=1.4, markersize=5)
                ax.axvline(record.iteration, color=GREY, linewidth=0.6, linestyle=":")
        ax.set_title(short(name, 30))
        last = max(record.iteration for record in run.iterations)
        ax.set_xticks(range(0, last + 1, 1 + last // 8))
        ax.set_xlim(0, last + 0.1)
        ax.margins(y=0.15)
        ax.set_xlabel("iterations trained")
    fig.supylabel("loss, mean over a step's examples", fontsize=11)
    alt = (
        f"{len(shown)} line chart{'s' if len(shown) > 1 else ''}: each method's own training loss, "
        "step by step through the iterations. Losses of different methods share no scale."
    )
    return fig, alt


def _steps(record: IterationRecord) -> list[tuple[float, float]]:
    """(iterations trained so far, loss) of each step."""
    steps = record.training.steps if record.training else ()
    return [
        (record.iteration - 1 + (i + 1) / len(steps), step.loss) for i, step in enumerate(steps)
    ]


def drift(runs: Sequence[RunRecord]) -> Drawn | None:
    """KL to the previous policy, and the log-ratios of chosen and rejected answers."""
    moved = any(record.drift for run in runs for record in run.iterations)
    ratios = any(_after(record, CHOSEN) for run in runs for record in run.iterations)
    if not moved and not ratios:
        return None
    fig, axes = figure(3.4 * (moved + ratios), rows=moved + ratios)
    if moved:
        _kl(axes[0], runs)
    if ratios:
        _log_ratios(axes[-1], runs)
    trained = [r.iteration for run in runs for r in run.iterations if r.iteration]
    iteration_axis(axes[-1], trained)
    alt = "Line charts by iteration: " + "; ".join(
        words
        for there, words in (
            (moved, "KL of each policy to the one before, in nats a completion, 95% intervals"),
            (ratios, "mean log-ratio of chosen and of rejected answers after training, in nats"),
        )
        if there
    )
    return fig, f"{alt}."


def _kl(ax: Axes, runs: Sequence[RunRecord]) -> None:
    ends = []
    for index, (run, label) in enumerate(zip(runs, labels(runs), strict=True)):
        seen = look(index)
        found = [(r.iteration, r.drift) for r in run.iterations if r.drift is not None]
        if not found:
            continue
        x = [t + dodge(index, len(runs)) for t, _ in found]
        kl, half = [d.kl for _, d in found], [1.96 * d.se for _, d in found]
        ax.errorbar(x, kl, half, fmt=f"{seen.marker}-", color=seen.colour, elinewidth=1.4)
        ends.append(Label(kl[-1], label, seen.colour, seen.glyph))
    ax.axhline(0, color=GREY, linewidth=0.8)
    ax.set_ylabel("KL (nats a completion), 95%")
    subtitle(ax, "How far each iteration moved", "KL to the previous policy, validation prompts")
    side_labels(ax, ends)


def _log_ratios(ax: Axes, runs: Sequence[RunRecord]) -> None:
    ends = []
    for index, (run, label) in enumerate(zip(runs, labels(runs), strict=True)):
        seen = look(index)
        for key, line, face in ((CHOSEN, "-", seen.colour), (REJECTED, "--", "white")):
            path = [(r.iteration, _after(r, key)) for r in run.iterations]
            there = [(t + dodge(index, len(runs)), y) for t, y in path if y is not None]
            if not there:
                continue
            x, y = zip(*there, strict=True)
            ax.plot(x, y, line, marker=seen.marker, mfc=face, color=seen.colour, linewidth=1.5)
            if key == CHOSEN:
                ends.append(Label(y[-1], label, seen.colour, seen.glyph))
    ax.axhline(0, color=GREY, linewidth=0.8)
    ax.set_ylabel("log-ratio (nats)")
    subtitle(ax, "Log-ratio after training", "filled: chosen answers; hollow, dashed: rejected")
    side_labels(ax, ends)


def _after(record: IterationRecord, key: str) -> float | None:
    return record.training.after.get(key) if record.training else None
