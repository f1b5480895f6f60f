"""What `harness board` reads and enters: runs, and the results that runs were entered with."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from harness import calibrations, places
from harness.errors import HarnessError
from harness.evaluate import read_evaluation
from harness.folders import EVALUATION
from harness.runs import read_run
from leaderboards import entries
from leaderboards.board import BoardRow, read_folder, row_of, rows_of


def board_rows(paths: Sequence[Path]) -> list[BoardRow]:
    """The rows of runs and of `harness eval`'s folders, and what was entered on the same boards.

    Where none is named: of all runs under runs/, and all that was ever entered. Raises
    HarnessError where there is neither, or a folder holds neither.
    """
    found = list(paths) or sorted(file.parent for file in Path("runs").glob("*/run.json"))
    rows = [row for path in found for row in _rows(path)]
    entered = [row for folder in (_shipped(), _own()) for row in read_folder(folder)]
    if paths:
        keys = {row.key for row in rows}
        entered = [row for row in entered if row.key in keys]
    elif not rows and not entered:
        raise HarnessError("There is no run under runs/; name run folders, or run a method first.")
    return [*rows, *entered]


def judges(rows: Iterable[BoardRow]) -> dict[str, str]:
    """What is known of each judge that the rows are by: how far it agrees with the yardstick."""
    return {row.judge: calibrations.sentence(row.judge) for row in rows}


def enter_run(path: Path) -> Path:
    """Add a run's rows to the results; returns the file. Raises HarnessError where an entry rule
    (leaderboards/README.md) forbids it, and then nothing is written."""
    folder = _shipped() if places.checkout() else _own()
    return entries.enter(entries.checked(read_run(path)), folder)


def _rows(path: Path) -> list[BoardRow]:
    if (path / EVALUATION.file).is_file():
        return [row_of(read_evaluation(path))]
    return rows_of(read_run(path))


def _shipped() -> Path:
    """The results that come with the program: a checkout's own, to be proposed to everybody."""
    return places.SOURCE / "leaderboards" / "results"


def _own() -> Path:
    """The results that an installed program keeps for its user."""
    return places.home() / "results"
