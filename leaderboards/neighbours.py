"""Where a run stands among AlpacaEval 2.0's official rows: what lies just above and below it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from leaderboards.board import BoardKey, BoardRow, Metric, ranked_by, standing
from leaderboards.official import BASELINE, OfficialRow, official
from leaderboards.papers import OFFICIAL_JUDGE, PublishedRow, comparable, published

LANDMARKS = {
    BASELINE: "GPT-4-Turbo",
    "gpt4_0314": "GPT-4 0314",
    "gpt4_0613": "GPT-4 0613",
    "mistral-large-2402": "Mistral Large",
}
"""Official rows that are always shown, and what they are called elsewhere."""

NOTE = (
    "Runs: last iteration, 95% bootstrap intervals. Official rows: ± is the printed standard error "
    "of the raw win rate; no intervals are published. Papers: the best row by base model, single "
    "training runs as printed."
)


@dataclass(frozen=True, slots=True)
class Neighbour:
    """One line: a run's last iteration, an official row or a paper's.

    Win rates in percent; what its source does not give is None. `se` is the standard error of the
    raw win rate; only runs have intervals. `remark` says why another's line is here.
    """

    name: str
    origin: Literal["run", "official", "paper"]
    judge: str
    lc_win_rate: float | None
    lc_ci95: tuple[float, float] | None
    win_rate: float | None
    ci95: tuple[float, float] | None
    se: float | None
    avg_chars: float | None
    remark: str

    def number(self, by: Metric) -> float | None:
        """The number that places the line."""
        return self.lc_win_rate if by == "LC" else self.win_rate


@dataclass(frozen=True, slots=True)
class Neighbourhood:
    """A board's runs among the official rows, best first; lines that lack the number `by` which
    they are placed come last."""

    title: str
    note: str
    by: Metric
    rows: tuple[Neighbour, ...]


def neighbours(board: Sequence[BoardRow]) -> Neighbourhood | None:
    """The place of each run of one board, by LC where the board has it, else by win rate.

    A run stands with its last iteration, not its best: choosing by the benchmark's own score would
    flatter it. None where there is no such place: another benchmark or opponent, or no number.
    Raises HarnessError where the installed leaderboard cannot be read.
    """
    by = ranked_by(board)
    runs = [
        (row, value)
        for row in _last(board)
        if _placeable(row, by) and (value := standing(row, by)) is not None
    ]
    if not runs:
        return None
    shown = {row.name: _official(row) for row in official() if row.name in LANDMARKS}
    for row, value in runs:
        for side, found in _beside(value, by):
            old = shown.get(found.name, _official(found))
            remark = "; ".join(filter(None, (old.remark, f"just {side} {row.run}")))
            shown[found.name] = replace(old, remark=remark)
    rows = [*(_run(row) for row, _ in runs), *shown.values(), *map(_paper, _best(published()))]

    def order(row: Neighbour) -> tuple[bool, float, str]:
        number = row.number(by)
        return (number is None, -(number or 0.0), row.name)

    return Neighbourhood(_title(board[0].key, by), NOTE, by, tuple(sorted(rows, key=order)))


def _last(board: Sequence[BoardRow]) -> list[BoardRow]:
    last: dict[str, int] = {}
    for row in board:
        last[row.run] = max(row.iteration, last.get(row.run, 0))
    return [row for row in board if row.iteration == last[row.run]]


def _placeable(row: BoardRow, by: Metric) -> bool:
    # LC is measured against the baseline only; a win rate may be against the run's own start,
    # which says nothing of a place among rows against GPT-4-Turbo
    against_baseline = by == "LC" or BASELINE in row.opponent
    alpaca = row.benchmark.startswith("alpaca_eval")
    return alpaca and against_baseline and not row.win_rate.constructed


def _beside(value: float, by: Metric) -> list[tuple[str, OfficialRow]]:
    """The nearest official row with a higher number, and that with a lower one."""
    numbers = [(row.lc_win_rate if by == "LC" else row.win_rate, row) for row in official()]
    above = min((pair for pair in numbers if pair[0] > value), key=lambda p: p[0], default=None)
    below = max((pair for pair in numbers if pair[0] < value), key=lambda p: p[0], default=None)
    sides = (("above", above), ("below", below))
    return [(side, pair[1]) for side, pair in sides if pair]


def _best(rows: Iterable[PublishedRow]) -> list[PublishedRow]:
    """Each paper's best row by base model: by LC, or by win rate where it prints no LC."""
    best: dict[tuple[str, str], PublishedRow] = {}
    for row in rows:
        key = (row.paper, row.base)
        if key not in best or _strength(row) > _strength(best[key]):
            best[key] = row
    return list(best.values())


def _strength(row: PublishedRow) -> tuple[float, float]:
    return (row.lc_win_rate or 0.0, row.win_rate or 0.0)


def _title(key: BoardKey, by: Metric) -> str:
    where = f"Among AlpacaEval 2.0's official rows, by {by}"
    if comparable(key.benchmark, key.judge):
        return f"{where}; judge {key.judge}"
    return (
        f"{where} — an estimate by another judge, not official: runs by {key.judge}, official "
        f"rows by {OFFICIAL_JUDGE}; placed by the number only, not comparable"
    )


def _run(row: BoardRow) -> Neighbour:
    control = row.length_control
    shown = control if control and control.kind == "LC" and control.showable else None
    rate = row.win_rate if row.win_rate.showable else None
    return Neighbour(
        name=f"{row.run}, iteration {row.iteration}",
        origin="run",
        judge=row.judge,
        lc_win_rate=shown.value if shown else None,
        lc_ci95=shown.ci95 if shown else None,
        win_rate=rate.value if rate else None,
        ci95=rate.ci95 if rate else None,
        se=rate.se if rate else None,
        avg_chars=row.avg_length,
        remark="",
    )


def _official(row: OfficialRow) -> Neighbour:
    return Neighbour(
        name=row.name,
        origin="official",
        judge=OFFICIAL_JUDGE,
        lc_win_rate=row.lc_win_rate,
        lc_ci95=None,
        win_rate=row.win_rate,
        ci95=None,
        se=row.se,
        avg_chars=row.avg_chars,
        remark=LANDMARKS.get(row.name, "")
        + (", 50% by construction" if row.name == BASELINE else ""),
    )


def _paper(row: PublishedRow) -> Neighbour:
    iteration = "" if row.iteration is None else f", iteration {row.iteration}"
    return Neighbour(
        name=f"{row.method}{iteration} on {row.base}",
        origin="paper",
        judge=OFFICIAL_JUDGE,
        lc_win_rate=row.lc_win_rate,
        lc_ci95=None,
        win_rate=row.win_rate,
        ci95=None,
        se=None,
        avg_chars=row.avg_chars,
        remark=row.source,
    )
