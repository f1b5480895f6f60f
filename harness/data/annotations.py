"""Files of judgements: AlpacaEval's `annotations.json`, or parquet and JSONL with the same columns.

A row has `instruction` and `preference` (1: the baseline wins, 2: the model wins, 1.5 or 0: a draw,
−1, null or NaN: the judgement failed), the texts `output_1` (baseline) and `output_2` (model) or
the lengths `len_baseline` and `len_model` in characters, and may name `annotator`, `generator_1`,
`generator_2` (or `model`, `baseline`).
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness import codec
from harness.data.sources import parquet_rows
from harness.errors import HarnessError
from harness.types import Judgement, Verdict

Located = tuple[str, Any]
"""Where a row stands in its file, and the row."""

NO_REASON = "the file records a failed judgement"


@dataclass(frozen=True, slots=True)
class Annotations:
    """One model's judgements by one judge against one baseline; names are None where the file
    does not say. `outputs` has the model's texts by instruction, where the file holds them."""

    path: Path
    judgements: tuple[Judgement, ...]
    outputs: Mapping[str, str]
    judge: str | None
    model: str | None
    baseline: str | None


def read_annotations(path: Path) -> Annotations:
    """Judgements of a file. Raises HarnessError with file and row on anything that is not one.

    An instruction twice, several models, judges or baselines in one file, and preferences outside
    1..2 are refused: each would make a number that says less than it seems to.
    """
    located = list(_rows(path))
    if not located:
        raise HarnessError(f"{path}: no judgements in it; give at least one row.")
    judgements = []
    places: dict[str, str] = {}
    for where, row in located:
        judgement = _judgement(row, where)
        earlier = places.setdefault(judgement.instruction.strip(), where)
        if earlier != where:
            raise HarnessError(
                f"{where}: the same instruction as in {earlier.rpartition(', ')[2]}; keep one "
                "judgement of each instruction."
            )
        judgements.append(judgement)
    return Annotations(
        path=path,
        judgements=tuple(judgements),
        outputs={
            row["instruction"]: row["output_2"]
            for _, row in located
            if isinstance(row.get("output_2"), str)
        },
        judge=_one(located, path, "judge", "annotator"),
        model=_one(located, path, "model", "generator_2", "model"),
        baseline=_one(located, path, "baseline", "generator_1", "baseline"),
    )


def annotation(
    dataset: str,
    instruction: str,
    baseline: tuple[str, str],
    model: tuple[str, str],
    verdict: Verdict,
) -> dict[str, Any]:
    """One row as AlpacaEval writes it; `baseline` and `model` are (name, text). A failed judgement
    has no preference and says why."""
    row = {
        "dataset": dataset,
        "instruction": instruction,
        "generator_1": baseline[0],
        "output_1": baseline[1],
        "generator_2": model[0],
        "output_2": model[1],
        "annotator": verdict.judge,
        "preference": None if verdict.p is None else 1 + verdict.p,
    }
    return row if verdict.p is not None else {**row, "error": verdict.error}


def holds_judgements(path: Path) -> bool:
    """False where the first row has an output and no preference: a file of outputs."""
    _, row = next(_rows(path), ("", None))
    return not (isinstance(row, dict) and "output" in row and "preference" not in row)


def _rows(path: Path) -> Iterator[Located]:
    if path.suffix == ".parquet":
        yield from parquet_rows(path)
    elif path.suffix == ".jsonl":
        for number, row in codec.read_lines(path):
            yield f"{path}, line {number}", row
    else:
        yield from json_rows(path)


def json_rows(path: Path) -> Iterator[Located]:
    """The objects of a JSON file that is one list, as AlpacaEval writes them."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise HarnessError(f"{path}: no such file; check the path.") from None
    except (ValueError, RecursionError) as error:
        raise HarnessError(f"{path}: not valid JSON ({error}); expected a list of rows.") from None
    if not isinstance(data, list):
        raise HarnessError(f"{path}: expected a list of rows, found {type(data).__name__}.")
    for number, row in enumerate(data, start=1):
        yield f"{path}, row {number}", row


def _judgement(row: Any, where: str) -> Judgement:
    if not isinstance(row, dict) or not isinstance(row.get("instruction"), str):
        raise HarnessError(f"{where}: it has no text 'instruction'; each row needs one.")
    if "preference" not in row:
        raise HarnessError(f"{where}: it has no 'preference'; each row needs one.")
    p = _probability(row["preference"], where)
    error = None if p is not None else _reason(row)
    return Judgement(
        instruction=row["instruction"],
        p=p,
        error=error,
        model_chars=_chars(row, "output_2", "len_model", where),
        baseline_chars=_chars(row, "output_1", "len_baseline", where),
    )


def _probability(preference: Any, where: str) -> float | None:
    if preference is None:
        return None
    if isinstance(preference, bool) or not isinstance(preference, int | float):
        raise HarnessError(f"{where}: preference {preference!r} is no number between 1 and 2.")
    if math.isnan(preference) or preference == -1:
        return None
    if preference == 0:  # AlpacaEval's old way to write a draw
        return 0.5
    if not 1 <= preference <= 2:
        raise HarnessError(
            f"{where}: preference {preference!r} lies outside 1 (the baseline wins) to 2 (the "
            "model wins); correct or remove the row (a failed judgement is null or -1)."
        )
    return float(preference) - 1


def _reason(row: dict[str, Any]) -> str:
    given = row.get("error")
    return given if isinstance(given, str) and given else NO_REASON


def _chars(row: dict[str, Any], text: str, length: str, where: str) -> int | None:
    if isinstance(row.get(text), str):
        return len(row[text])
    value = row.get(length)
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or value < 0 or value % 1:
        raise HarnessError(f"{where}: {length} {value!r} is no number of characters.")
    return int(value)


def _one(located: Iterable[Located], path: Path, what: str, *columns: str) -> str | None:
    """The one value that all rows have in the first of the columns that is there."""
    for column in columns:
        values = {row[column] for _, row in located if isinstance(row.get(column), str)}
        if len(values) > 1:
            shown = ", ".join(repr(value) for value in sorted(values)[:3])
            raise HarnessError(
                f"{path}: judgements of {len(values)} {what}s ({shown}…) in one file; numbers "
                f"across {what}s mean nothing, so give one file a {what}."
            )
        if values:
            return str(values.pop())
    return None
