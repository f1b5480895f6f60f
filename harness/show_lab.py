"""Games played, as tables for the terminal and dictionaries for --json."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from harness.codec import dump
from harness.lab.request import Played
from harness.records import GameIteration, GameRun
from harness.show_scores import text

if TYPE_CHECKING:
    from rich.table import Table

ROWS = 20
"""Iterations in a table of one run; of a longer run every so many, the last one included."""


def as_dict(played: Played) -> dict[str, Any]:
    """One run as it is; of several, a list and who was left out."""
    runs = [dump(run) for run in played.runs]
    if len(runs) == 1:
        return dict(runs[0])
    return {"runs": runs, "left_out": dict(played.left_out)}


def tables(played: Played) -> list[Table]:
    return [_run(played.runs[0]) if len(played.runs) == 1 else _last(played)]


def _run(run: GameRun) -> Table:
    """One run by iteration."""
    found = _table(run, f"{run.player} in {run.game}")
    for name in ("t", "gap, last", "gap, average", "beats previous", "at least, if exact"):
        found.add_column(name, justify="right")
    found.add_column("KL to previous", justify="right")
    found.add_column("policy")
    step = -(-len(run.iterations) // ROWS)
    for row in run.iterations:
        if row.iteration % step == 0 or row.iteration in (1, len(run.iterations)):
            found.add_row(str(row.iteration), *_cells(row), _policy(row))
    return found


def _last(played: Played) -> Table:
    """All players where they ended."""
    first = played.runs[0]
    found = _table(first, f"{first.game} after {len(first.iterations)} iterations")
    for name in ("player", "gap, last", "gap, average", "policy"):
        found.add_column(name, justify="left" if name in ("player", "policy") else "right")
    for run in played.runs:
        row = run.iterations[-1]
        found.add_row(
            text(run.player), f"{row.gap_last:.4f}", f"{row.gap_average:.4f}", _policy(row)
        )
    for name, why in played.left_out.items():
        found.add_row(text(name), "–", "–", text(why))
    return found


def _table(run: GameRun, title: str) -> Table:
    from rich.table import Table

    notes = f"η {run.eta:g}, reference {run.reference}, seed {run.seed}; t = 1 is the start policy"
    return Table(
        title=text(title), caption=text(notes), title_justify="left", caption_justify="left"
    )


def _cells(row: GameIteration) -> tuple[str, ...]:
    values = (
        row.gap_last,
        row.gap_average,
        row.win_rate_vs_previous,
        row.improvement_bound,
        row.kl_to_previous,
    )
    return tuple("–" if value is None else f"{value:.4f}" for value in values)


def _policy(row: GameIteration) -> str:
    return " ".join(f"{share:.3f}" for share in row.policy)
