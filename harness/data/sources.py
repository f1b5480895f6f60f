"""Prompts from the embedded `mini` set and from a user's JSONL and parquet files.

A row has `messages` (a list of role and content) or one of `prompt`, `instruction` (a text), and
may have `id`, `gold` (a strong answer) and `rejected` (a weaker one).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

from harness import codec
from harness.errors import HarnessError
from harness.types import Message, Prompt

MINI_VERSION = "mini-1"
ROLES = ("system", "user", "assistant")


def load_prompts(source: str, half: Literal["train", "eval"]) -> list[Prompt]:
    """The prompts of `mini` (its training or evaluation half) or of a file.

    Raises HarnessError with file and line on a malformed row, a duplicate id, or an empty set.
    """
    if source == "mini":
        rows = _mini(half)
        name = MINI_VERSION
    else:
        path = Path(source).expanduser()
        if not path.is_file():
            raise HarnessError(
                f"No prompts '{source}': neither a JSONL or parquet file nor the embedded 'mini'; "
                "check the path."
            )
        rows = parquet_rows(path) if path.suffix == ".parquet" else _jsonl(path)
        name = path.name
    prompts: dict[str, Prompt] = {}
    for where, row in rows:
        prompt = _prompt(row, where, name)
        if prompt.id in prompts:
            raise HarnessError(
                f"{where}: the prompt id '{prompt.id}' was there before; ids must be unique."
            )
        prompts[prompt.id] = prompt
    if not prompts:
        raise HarnessError(f"{source}: no prompts in it; give at least one row.")
    return list(prompts.values())


def digest(prompts: Iterable[Prompt]) -> str:
    """sha256 over everything the prompts say."""
    state = hashlib.sha256()
    for prompt in prompts:
        state.update(codec.line(codec.dump(prompt)).encode())
    return state.hexdigest()


def _mini(half: str) -> Iterator[tuple[str, Any]]:
    text = (files("harness") / "data" / "mini" / f"{half}.jsonl").read_text(encoding="utf-8")
    for number, row in enumerate(text.split("\n"), start=1):
        if row:
            yield f"mini/{half}.jsonl, line {number}", json.loads(row)


def _jsonl(path: Path) -> Iterator[tuple[str, Any]]:
    for number, row in codec.read_lines(path):
        yield f"{path}, line {number}", row


def parquet_rows(path: Path) -> Iterator[tuple[str, Any]]:
    """(file and row number, row) of a parquet file. Raises HarnessError where it is none."""
    import pyarrow
    import pyarrow.parquet

    try:
        table = pyarrow.parquet.read_table(path)
    except (pyarrow.ArrowException, OSError) as error:
        told = " ".join(str(error).split())
        raise HarnessError(f"{path}: not a readable parquet file ({told}).") from None
    for number, row in enumerate(table.to_pylist(), start=1):
        yield f"{path}, row {number}", row


def _prompt(row: Any, where: str, source: str) -> Prompt:
    if not isinstance(row, dict):
        raise HarnessError(f"{where}: expected an object with 'messages' or 'prompt'.")
    messages = _messages(row, where)
    identity = row.get("id")
    if identity is None:
        said = json.dumps([[m.role, m.content] for m in messages], ensure_ascii=False)
        identity = hashlib.sha256(said.encode()).hexdigest()[:16]
    return Prompt(
        id=clean(str(identity)),
        messages=messages,
        gold=_text(row, "gold", where),
        rejected=_text(row, "rejected", where),
        source=source,
    )


def _messages(row: dict[str, Any], where: str) -> tuple[Message, ...]:
    given = row.get("messages")
    if given is None:
        text = _text(row, "prompt", where) or _text(row, "instruction", where)
        if text is None:
            raise HarnessError(
                f"{where}: it has neither 'messages' nor 'prompt' nor 'instruction'; add one."
            )
        return (Message("user", text),)
    if not isinstance(given, list) or not given:
        raise HarnessError(f"{where}: 'messages' must be a non-empty list.")
    messages = []
    for turn in given:
        if (
            not isinstance(turn, dict)
            or turn.get("role") not in ROLES
            or not isinstance(turn.get("content"), str)
        ):
            raise HarnessError(
                f"{where}: each message needs a 'role' ({', '.join(ROLES)}) and a text 'content'."
            )
        messages.append(Message(turn["role"], clean(turn["content"])))
    if messages[-1].role != "user" or not messages[-1].content.strip():
        raise HarnessError(f"{where}: the last message must be a user's, and not empty.")
    return tuple(messages)


def _text(row: dict[str, Any], field: str, where: str) -> str | None:
    value = row.get(field)
    if value is None:
        return None
    if not isinstance(value, str) or not value.strip():
        raise HarnessError(f"{where}: '{field}' must be a text that is not empty.")
    return clean(value)


def clean(text: str) -> str:
    """Lone surrogates, which no UTF-8 file can hold, become replacement characters."""
    return text.encode("utf-8", "replace").decode("utf-8")
