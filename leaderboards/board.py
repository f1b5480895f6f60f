"""Board rows: out of a run, to and from JSON lines, and ranked within one key.

A rank means something only among rows of one benchmark, decoding, judge and opponent. That is why
`BoardKey` holds all four and nothing here ever ranks across keys.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, NamedTuple

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError

from harness.codec import write_atomic
from harness.errors import HarnessError
from harness.records import RunRecord
from harness.types import WinRate

Percent = Annotated[float, Field(ge=0, le=100, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=0)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]

# A file that somebody else wrote is data: an unknown field is refused rather than dropped.
_CLOSED = ConfigDict(extra="forbid")

REVISION, TRAIN_JUDGE = "git", "train_judge"
"""Keys of `RunRecord.provenance`: the code's revision and the training judge's identity."""

_FILE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


@dataclass(frozen=True, slots=True)
class Rate:
    """A win rate in percent as a board keeps it (see `harness.types.WinRate`)."""

    __pydantic_config__: ClassVar[ConfigDict] = _CLOSED

    value: Percent | None
    se: NotNegative | None
    ci95: tuple[Percent, Percent] | None
    n: Count
    n_failed: Count
    by_construction: str | None = None

    @property
    def showable(self) -> bool:
        """A measured number is shown with its interval or not at all."""
        return self.value is not None and (self.ci95 is not None or self.constructed)

    @property
    def constructed(self) -> bool:
        return self.by_construction is not None


@dataclass(frozen=True, slots=True)
class BoardRow:
    """One iteration of one run on one benchmark, by one judge."""

    __pydantic_config__: ClassVar[ConfigDict] = _CLOSED

    run: str
    method: str
    iteration: Count
    model: str
    preset: str
    seed: int
    revision: str
    train_judge: str
    benchmark: str
    decoding: str
    judge: str
    opponent: str
    win_rate: Rate
    vs_initial: Rate
    vs_previous: Rate
    avg_length: NotNegative
    limit_share: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]

    @property
    def key(self) -> BoardKey:
        return BoardKey(self.benchmark, self.decoding, self.judge, self.opponent)


class BoardKey(NamedTuple):
    """What two rows must share before one may rank above the other."""

    benchmark: str
    decoding: str
    judge: str
    opponent: str


def rate_of(win_rate: WinRate) -> Rate:
    """The board's view of a win rate."""
    return Rate(
        value=win_rate.value,
        se=win_rate.se,
        ci95=win_rate.ci95,
        n=win_rate.n,
        n_failed=win_rate.n_failed,
        by_construction=win_rate.by_construction,
    )


def rows_of(run: RunRecord) -> list[BoardRow]:
    """One row an iteration, iteration 0 included."""
    return [
        BoardRow(
            run=run.name,
            method=run.method,
            iteration=record.iteration,
            model=run.config.model,
            preset=run.config.preset,
            seed=run.config.seed,
            revision=run.provenance.get(REVISION, ""),
            train_judge=run.provenance.get(TRAIN_JUDGE, run.config.judge.train),
            benchmark=record.result.benchmark,
            decoding=record.result.decoding,
            judge=record.result.judge,
            opponent=record.result.opponent,
            win_rate=rate_of(record.result.win_rate),
            vs_initial=rate_of(record.result.vs_initial),
            vs_previous=rate_of(record.result.vs_previous),
            avg_length=record.result.lengths.mean,
            limit_share=record.result.lengths.limit_share,
        )
        for record in run.iterations
    ]


# --- files ------------------------------------------------------------------------------------


def row_dict(row: BoardRow) -> dict[str, Any]:
    """A row as JSON-able values."""
    return asdict(row)


def write_rows(path: Path, rows: Iterable[BoardRow]) -> None:
    """Write JSON lines; a reader sees the old file or the new one, never half of either."""
    text = "".join(json.dumps(row_dict(row), allow_nan=False) + "\n" for row in rows)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, text)


def read_rows(path: Path) -> list[BoardRow]:
    """Read JSON lines; the first malformed line is an error that names file and line."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        reason = error.strerror or "it cannot be read"
        raise HarnessError(f"Cannot read the leaderboard file {path}: {reason}.") from error
    except UnicodeDecodeError as error:
        raise HarnessError(f"{path} is not UTF-8 text, so it is no leaderboard file.") from error
    adapter = TypeAdapter(BoardRow)
    rows = []
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            row = adapter.validate_json(line, strict=True)
        except ValidationError as error:
            raise HarnessError(
                f"{path}, line {number} is not a leaderboard row ({_first_problem(error)}): "
                "correct the line or remove it."
            ) from error
        rows.append(row)
    return rows


def _first_problem(error: ValidationError) -> str:
    problem = error.errors(include_url=False, include_input=False)[0]
    where = ".".join(str(part) for part in problem["loc"])
    return f"{where}: {problem['msg']}" if where else str(problem["msg"])


def read_folder(folder: Path) -> list[BoardRow]:
    """The rows of all `*.jsonl` files of a folder, in file name order; none if it is absent."""
    return [row for path in sorted(folder.glob("*.jsonl")) for row in read_rows(path)]


def enter(rows: Sequence[BoardRow], folder: Path) -> Path:
    """Add one run's rows to a results folder as RUN.jsonl, and return that file.

    Results are append-only: an entry may gain iterations, but what stands there stays as it is.
    """
    names = {row.run for row in rows}
    if len(names) != 1:
        raise HarnessError("An entry is the rows of exactly one run: enter runs one by one.")
    name = names.pop()
    if not _FILE_NAME.fullmatch(name):
        raise HarnessError(
            f"The run name {name!r} cannot be a file name: use letters, digits, '.', '_' and '-'."
        )
    path = folder / f"{name}.jsonl"
    standing = read_rows(path) if path.exists() else []
    known = {(row.iteration, row.key): row for row in standing}
    changed = [row.iteration for row in rows if known.get((row.iteration, row.key), row) != row]
    if changed:
        raise HarnessError(
            f"{path} already holds another result for iteration {changed[0]} of {name}, and "
            "results are append-only: enter this run under another name."
        )
    added = [row for row in rows if row not in standing]
    if added:
        write_rows(path, [*standing, *added])
    return path


# --- ranking ----------------------------------------------------------------------------------


def boards(rows: Iterable[BoardRow]) -> dict[BoardKey, list[BoardRow]]:
    """Rows by key, best win rate first; the same whatever order the rows came in.

    An identical row counts once. Rows whose number may not be shown come last.
    """
    by_key: dict[BoardKey, list[BoardRow]] = {}
    for row in dict.fromkeys(rows):
        by_key.setdefault(row.key, []).append(row)
    return {key: sorted(by_key[key], key=_order) for key in sorted(by_key)}


def _order(row: BoardRow) -> tuple[bool, float, str, str, int, str]:
    # The row's whole text breaks the last ties, so that input order never shows.
    value = row.win_rate.value if row.win_rate.showable else None
    text = json.dumps(row_dict(row), sort_keys=True)
    return (value is None, -(value or 0.0), row.run, row.method, row.iteration, text)


def ranks(board: Sequence[BoardRow]) -> list[int | None]:
    """A rank for each row of one sorted board; equal win rates share one (1, 2, 2, 4).

    None where there is nothing to rank: no number, no interval, or 50% by construction.
    """
    measured = [
        row.win_rate.value
        for row in board
        if row.win_rate.value is not None and row.win_rate.ci95 and not row.win_rate.constructed
    ]
    result: list[int | None] = []
    for row in board:
        value = row.win_rate.value
        if value is None or not row.win_rate.showable or row.win_rate.constructed:
            result.append(None)
        else:
            result.append(1 + sum(other > value for other in measured))
    return result
