"""AlpacaEval 2.0's own leaderboard, read from the installed alpaca-eval package's files.

The package is found, never imported: its import is slow and has side effects. Its leaderboards by
other judges hold a handful of models, some without LC; they are left out.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from harness.errors import HarnessError
from leaderboards.papers import OFFICIAL_JUDGE

BASELINE = "gpt4_1106_preview"
"""The model that all rows are measured against; its own row is 50% by construction."""

_FILE = f"leaderboards/data_AlpacaEval_2/{OFFICIAL_JUDGE}_leaderboard.csv"
_CURE = "install it anew with pip install --force-reinstall --no-deps alpaca-eval==0.6.6."


@dataclass(frozen=True, slots=True)
class OfficialRow:
    """One model's row. Win rates and `se` (the raw win rate's standard error over instructions)
    in percent, `avg_chars` in characters, `n` instructions judged.

    The file's lc_standard_error is not here: it is the spread of the model's predictions and not
    the error of the estimate (see `harness.types.LengthControl`).
    """

    name: str
    lc_win_rate: float
    win_rate: float
    se: float
    avg_chars: int
    n: int


@cache
def official() -> tuple[OfficialRow, ...]:
    """All rows by OFFICIAL_JUDGE against BASELINE, in the file's order.

    Raises HarnessError where the package, its file or a column is missing.
    """
    path = _path()
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise HarnessError(
            f"Cannot read AlpacaEval's leaderboard {path} of the alpaca-eval package: {_CURE}"
        ) from error
    rows = []
    for number, line in enumerate(csv.DictReader(text.splitlines()), start=2):
        try:
            rows.append(_row(line))
        except (KeyError, TypeError, ValueError) as error:
            raise HarnessError(
                f"{path}, line {number} is not a row of AlpacaEval's leaderboard ({error}): {_CURE}"
            ) from error
    return tuple(rows)


def _path() -> Path:
    spec = find_spec("alpaca_eval")
    if spec is None or not spec.submodule_search_locations:
        raise HarnessError(
            f"AlpacaEval's leaderboard is in the alpaca-eval package, which is missing: {_CURE}"
        )
    return Path(spec.submodule_search_locations[0]) / _FILE


def _row(line: dict[str, str]) -> OfficialRow:
    return OfficialRow(
        name=line[""],  # the file's first column has no title
        lc_win_rate=float(line["length_controlled_winrate"]),
        win_rate=float(line["win_rate"]),
        se=float(line["standard_error"]),
        avg_chars=round(float(line["avg_length"])),
        n=round(float(line["n_total"])),
    )
