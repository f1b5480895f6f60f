"""Frozen dataclasses to JSON and back, and files that are whole or absent."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from harness.errors import HarnessError

T = TypeVar("T")
Json = Any


_ADAPTERS: dict[Any, TypeAdapter[Any]] = {}


def _adapter(kind: Any) -> TypeAdapter[Any]:
    if kind not in _ADAPTERS:
        _ADAPTERS[kind] = TypeAdapter(kind)
    return _ADAPTERS[kind]


def dump(value: object) -> Json:
    """A frozen dataclass as plain JSON values."""
    return _adapter(value.__class__).dump_python(value, mode="json")


def load(kind: type[T], data: Json) -> T:
    """The dataclass from what `dump` gave. Raises pydantic's ValidationError on anything else."""
    loaded: T = _adapter(kind).validate_python(data)
    return loaded


def line(data: Json) -> str:
    """One JSON line; equal values give equal bytes. Infinities and NaN are refused."""
    return json.dumps(data, ensure_ascii=False, sort_keys=True, allow_nan=False) + "\n"


def write_atomic(path: Path, text: str) -> None:
    """Write a file so that a crash leaves the old one or the new one (temp, fsync, replace)."""
    temp = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temp.open("w", encoding="utf-8", newline="\n") as out:
            out.write(text)
            out.flush()
            os.fsync(out.fileno())
        os.replace(temp, path)
    except OSError:
        temp.unlink(missing_ok=True)
        raise


def write_json(path: Path, data: Json) -> None:
    write_atomic(path, json.dumps(data, ensure_ascii=False, indent=1, allow_nan=False) + "\n")


def read_json(
    path: Path, what: str, cure: str = "delete that file's folder to compute it again"
) -> Json:
    """A JSON file that this project wrote; `what` names it in the error, `cure` says what helps."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise HarnessError(f"{what} {path} is missing.") from None
    except (ValueError, UnicodeDecodeError) as error:
        raise HarnessError(f"{what} {path} is corrupt ({error}): {cure}.") from None


def read_lines(path: Path) -> Iterator[tuple[int, Json]]:
    """(line number, value) of each non-empty line of a JSONL file.

    Raises HarnessError with file and line where a line is no JSON.
    """
    try:
        with path.open(encoding="utf-8") as lines:
            for number, text in enumerate(lines, start=1):
                if text.strip():
                    try:
                        value = json.loads(text)
                    except ValueError as error:
                        raise HarnessError(
                            f"{path}, line {number}: not valid JSON ({error}); "
                            "each line must be one JSON object."
                        ) from None
                    yield number, value
    except UnicodeDecodeError as error:
        raise HarnessError(f"{path}: not UTF-8 text ({error.reason}); save it as UTF-8.") from None
    except FileNotFoundError:
        raise HarnessError(f"{path}: no such file; check the path.") from None


def read_rows(kind: type[T], path: Path) -> list[T]:
    """The dataclasses of a JSONL file that this project wrote."""
    rows = []
    for number, data in read_lines(path):
        try:
            rows.append(load(kind, data))
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"])
            raise HarnessError(f"{path}, line {number}: {where}: {first['msg']}.") from None
    return rows
