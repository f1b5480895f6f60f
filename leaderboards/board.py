"""Board rows: out of a run, to and from JSON lines, and ranked within one key.

A rank means something only among rows of one benchmark, decoding, judge and opponent. That is why
`BoardKey` holds all four and nothing here ever ranks across keys.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, NamedTuple

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError

from harness.codec import write_atomic
from harness.errors import HarnessError
from harness.records import EvalRecord, RunRecord
from harness.types import LengthControl, LengthControlKind, Result, WinRate

Percent = Annotated[float, Field(ge=0, le=100, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=0)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]

# A file that somebody else wrote is data: an unknown field is refused rather than dropped.
_CLOSED = ConfigDict(extra="forbid")

TRAIN_JUDGE = "train_judge"
"""Key of `RunRecord.provenance`: the training judge's identity."""
NO_METHOD = "(none)"
"""The method, preset and training judge of a model that was scored without a run."""


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
class Controlled:
    """The win rate in percent at equal lengths as a board keeps it.

    See `harness.types.LengthControl`, above all for `kind` (LC and length-adjusted are not
    comparable) and for `spread`, which is not the estimate's error.
    """

    __pydantic_config__: ClassVar[ConfigDict] = _CLOSED

    kind: LengthControlKind
    value: Percent
    ci95: tuple[Percent, Percent] | None
    spread: NotNegative | None
    n: Count
    rule: str
    caveats: tuple[str, ...] = ()

    @property
    def showable(self) -> bool:
        """A number is shown with its interval or not at all."""
        return self.ci95 is not None


@dataclass(frozen=True, slots=True)
class BoardRow:
    """One iteration of one run on one benchmark, by one judge.

    `revision` names the code that computed it, more than one where the iteration was made in
    several goes. `length_control` is None where it was not measured.
    """

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
    length_control: Controlled | None = None

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


def _controlled(control: LengthControl | None) -> Controlled | None:
    if control is None:
        return None
    return Controlled(
        kind=control.kind,
        value=control.value,
        ci95=control.ci95,
        spread=control.spread,
        n=control.n,
        rule=control.rule,
        caveats=control.caveats,
    )


def rows_of(run: RunRecord) -> list[BoardRow]:
    """One row an iteration, iteration 0 included."""
    return [
        _row(
            record.result,
            run=run.name,
            method=run.method,
            iteration=record.iteration,
            model=run.config.model,
            preset=run.config.preset,
            seed=run.config.seed,
            revision=", ".join(record.revisions),
            train_judge=run.provenance.get(TRAIN_JUDGE, run.config.judge.train),
        )
        for record in run.iterations
    ]


def row_of(evaluation: EvalRecord) -> BoardRow:
    """A model that was scored without a run: it has no method, and is its own start."""
    return _row(
        evaluation.result,
        run=evaluation.name,
        method=NO_METHOD,
        iteration=0,
        model=evaluation.config.model,
        preset=NO_METHOD,
        seed=evaluation.config.seed,
        revision=evaluation.provenance.get("git", ""),
        train_judge=NO_METHOD,
    )


def _row(result: Result, **known: Any) -> BoardRow:
    return BoardRow(
        **known,
        benchmark=result.benchmark,
        decoding=result.decoding,
        judge=result.judge,
        opponent=result.opponent,
        win_rate=rate_of(result.win_rate),
        vs_initial=rate_of(result.vs_initial),
        vs_previous=rate_of(result.vs_previous),
        avg_length=result.lengths.mean,
        limit_share=result.lengths.limit_share,
        length_control=_controlled(result.length_control),
    )


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


# --- ranking ----------------------------------------------------------------------------------


Metric = Literal["LC", "win rate"]


def ranked_by(board: Iterable[BoardRow]) -> Metric:
    """What ranks one board: LC where it has one, as AlpacaEval 2.0 ranks; else the win rate."""
    kinds = {row.length_control.kind for row in board if row.length_control}
    return "LC" if "LC" in kinds else "win rate"


def standing(row: BoardRow, by: Metric) -> float | None:
    """The number in percent that places a row; None where it has none or it may not be shown."""
    if by == "win rate" or row.win_rate.constructed:
        return row.win_rate.value if row.win_rate.showable else None
    control = row.length_control
    return control.value if control and control.kind == by and control.showable else None


def boards(rows: Iterable[BoardRow]) -> dict[BoardKey, list[BoardRow]]:
    """Rows by key, best first (see `ranked_by`); the same whatever order the rows came in.

    An identical row counts once. Rows whose number may not be shown come last.
    """
    by_key: dict[BoardKey, list[BoardRow]] = {}
    for row in dict.fromkeys(rows):
        by_key.setdefault(row.key, []).append(row)
    return {key: _sorted(by_key[key]) for key in sorted(by_key)}


def _sorted(board: Sequence[BoardRow]) -> list[BoardRow]:
    by = ranked_by(board)

    def order(row: BoardRow) -> tuple[bool, float, str, str, int, str]:
        # The row's whole text breaks the last ties, so that input order never shows.
        value = standing(row, by)
        text = json.dumps(row_dict(row), sort_keys=True)
        return (value is None, -(value or 0.0), row.run, row.method, row.iteration, text)

    return sorted(board, key=order)


def ranks(board: Sequence[BoardRow]) -> list[int | None]:
    """A rank for each row of one sorted board; equal numbers share one (1, 2, 2, 4).

    None where there is nothing to rank: no number, no interval, or 50% by construction.
    """
    by = ranked_by(board)
    values = [None if row.win_rate.constructed else standing(row, by) for row in board]
    measured = [value for value in values if value is not None]
    return [None if v is None else 1 + sum(other > v for other in measured) for v in values]
