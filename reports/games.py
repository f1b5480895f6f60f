"""The figure of preference games: the duality gap by iteration, one small panel a player."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from harness.records import GameRun
from reports.style import COLOURS, GREY, STYLE, WIDTH, save, short

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

NAME = "lab-duality-gap"
COLUMNS, HEIGHT = 3, 1.35
"""Panels side by side, and the height of one in inches."""


def write_figure(runs: Sequence[GameRun], folder: Path) -> tuple[Path, Path]:
    """Draw the runs of one game; returns the PNG and the SVG file."""
    import matplotlib

    with matplotlib.rc_context(STYLE):
        return save(duality_gaps(runs), folder, NAME)


def duality_gaps(runs: Sequence[GameRun]) -> Figure:
    from matplotlib.figure import Figure

    columns = min(COLUMNS, len(runs))
    rows = -(-len(runs) // columns)
    fig = Figure(figsize=(WIDTH, HEIGHT * rows + 1), layout="constrained")
    axes = list(fig.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).flat)
    for ax, run in zip(axes, runs, strict=False):
        _panel(ax, run)
    for ax in axes[len(runs) :]:
        ax.set_visible(False)
    for ax in axes[max(0, len(runs) - columns) : len(runs)]:  # the lowest panel of each column
        ax.tick_params(labelbottom=True)
        ax.set_xlabel("iteration", fontsize=9)
    fig.supylabel("duality gap", fontsize=11)
    first = runs[0]
    fig.suptitle(f"Duality gap in {short(first.game)}, η = {first.eta:g}", fontweight="bold")
    fig.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    return fig


def _panel(ax: Axes, run: GameRun) -> None:
    x = [row.iteration for row in run.iterations]
    average = [row.gap_average for row in run.iterations]
    last = [row.gap_last for row in run.iterations]
    ax.plot(x, last, color=COLOURS[0], linewidth=1.6, label="last iterate")
    ax.plot(
        x, average, color=COLOURS[1], linewidth=1.6, linestyle="--", label="average of all iterates"
    )
    ax.axhline(0, color=GREY, linewidth=0.8)
    ax.set_ylim(-0.04, 1.0)
    ax.set_title(short(run.player, 24), fontsize=9)
    ax.tick_params(labelsize=8)
