"""The figures of a report on disk, each as SVG and PNG."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from reports import bars, controls, costs, dynamics, judging, lengths, pairs, rates
from reports.group import Group
from reports.style import STYLE, Drawn, save

DRAWINGS: Mapping[str, tuple[str, Callable[[Group], Drawn | None]]] = {
    "win_rate": ("Win rate by iteration", lambda g: rates.win_rate(g.runs)),
    "neighbours": ("Among leaderboard neighbours", lambda g: bars.neighbours(g.runs)),
    "lc_vs_raw": ("Length control", lambda g: lengths.controlled_against_raw(g.runs)),
    "length": ("Output length by iteration", lambda g: lengths.length(g.runs)),
    "pairs": ("Training data by iteration", lambda g: pairs.pairs(g.runs)),
    "loss": ("Training loss by step", lambda g: dynamics.loss(g.runs)),
    "drift": ("Drift by iteration", lambda g: dynamics.drift(g.runs)),
    "judge": ("What the judges said", lambda g: judging.values(g.runs, g.details)),
    "controls": ("Controls", lambda g: controls.gaps(g.runs)),
    "time": ("Cost by stage", lambda g: costs.time_by_stage(g.runs)),
    "cost": ("Win rate against cost", lambda g: costs.win_rate_against_cost(g.runs)),
}
"""By file name, in the order of the page: a title, and what draws it (None: nothing to draw)."""


@dataclass(frozen=True, slots=True)
class FigureFile:
    """One figure on disk, with its words for readers who do not see it."""

    name: str
    title: str
    alt: str
    png: Path
    svg: Path


def write_figures(
    group: Group, folder: Path, names: Collection[str] = tuple(DRAWINGS)
) -> tuple[FigureFile, ...]:
    """Draw what the group's runs have data for; a figure of an earlier report that they have none
    for is taken away."""
    import matplotlib

    files = []
    for name, (title, draw) in DRAWINGS.items():
        if name not in names:
            continue
        with matplotlib.rc_context(STYLE):
            drawn = draw(group)
            if drawn is None:
                for old in (folder / f"{name}.png", folder / f"{name}.svg"):
                    old.unlink(missing_ok=True)
                continue
            png, svg = save(drawn[0], folder, name)
        files.append(FigureFile(name, title, drawn[1], png, svg))
    return tuple(files)
