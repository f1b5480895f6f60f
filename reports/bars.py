"""The bar chart of runs among AlpacaEval 2.0's official rows and the papers'."""

from __future__ import annotations

from collections.abc import Sequence

from harness.records import RunRecord
from leaderboards.neighbours import LANDMARKS, Neighbour
from reports.standing import neighbourhood
from reports.style import GREY, INK, PALE, Drawn, figure, look, short
from reports.words import labels


def neighbours(runs: Sequence[RunRecord]) -> Drawn | None:
    """Bars by the number that places the rows, runs with their 95% intervals; None where the runs
    have no place there."""
    found = neighbourhood(runs)
    if found is None:
        return None
    rows = [(row, value) for row in found.rows if (value := row.number(found.by)) is not None]
    rows.reverse()  # the best at the top
    fig, (ax,) = figure(1.7 + 0.29 * len(rows))
    colours = {name: look(index).colour for index, name in enumerate(labels(runs))}
    for place, (row, value) in enumerate(rows):
        mine = row.origin == "run"
        colour = colours[row.name.rpartition(", iteration")[0]] if mine else _grey(row)
        ax.barh(place, value, 0.72, color=colour, zorder=2)
        ci95 = row.lc_ci95 if found.by == "LC" else row.ci95
        end = value
        if ci95:
            bars = [[value - ci95[0]], [ci95[1] - value]]
            ax.errorbar(value, place, xerr=bars, fmt="none", ecolor=INK, elinewidth=1.4, zorder=3)
            end = ci95[1]
        weight = "bold" if mine else "normal"
        ax.annotate(
            f"{value:.1f}",
            (end, place),
            (4, 0),
            textcoords="offset points",
            va="center",
            fontsize=9,
            fontweight=weight,
        )
    ax.set_yticks(range(len(rows)), [_name(row) for row, _ in rows], fontsize=9)
    for tick, (row, _) in zip(ax.get_yticklabels(), rows, strict=True):
        tick.set_fontweight("bold" if row.origin == "run" else "normal")
    ax.set_xlim(0, 1.12 * max(value for _, value in rows))
    ax.set_ylim(-0.6, len(rows) - 0.4)
    ax.grid(axis="y", visible=False)
    ax.grid(axis="x", visible=True)
    measure = "LC win rate" if found.by == "LC" else "win rate"
    ax.set_xlabel(f"{measure} (%), runs with 95% interval")
    ax.axvline(50, color=GREY, linewidth=1.2, linestyle=(0, (5, 3)), zorder=1)
    fig.suptitle("Among AlpacaEval 2.0's leaderboard rows", x=0.02, ha="left", fontweight="bold")
    estimated = "not official" in found.title
    ours = "runs, by another judge: an estimate" if estimated else "runs"
    fig.supxlabel(f"colour: {ours}; dark grey: leaderboard; pale: papers", fontsize=9)
    listed = "; ".join(f"{_name(row)} {value:.1f}" for row, value in reversed(rows))
    return fig, f"{found.title}. Bar chart, best first: {listed}."


def _grey(row: Neighbour) -> str:
    return GREY if row.origin == "official" else PALE


def _name(row: Neighbour) -> str:
    if row.origin == "official":
        return LANDMARKS.get(row.name, short(row.name, 26))
    return short(row.name.replace(", iteration ", " iter. "), 30)
