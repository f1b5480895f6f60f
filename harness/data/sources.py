"""Prompts from the embedded `mini` set, a user's JSONL and parquet files, and the hub's data sets.

A row has `messages` (a list of role and content) or one of `prompt`, `instruction` (a text), and
may have `id`, `gold` (a strong answer) and `rejected` (a weaker one).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

from harness import codec
from harness.data import hub
from harness.errors import HarnessError
from harness.types import Message, Prompt

MINI_VERSION = "mini-1"
ROLES = ("system", "user", "assistant")


def load_prompts(
    source: str,
    half: Literal["train", "eval"],
    say: Callable[[str], None] = lambda _line: None,
    fetch: bool = True,
) -> list[Prompt]:
    """The prompts of `mini` (its training or evaluation half), of a file or of a hub's data set.

    Of a data set, a prompt's first row counts, and rows without prompt or answer are left out;
    `say` is told how many. Raises HarnessError with file and line on a malformed row of a file, a
    duplicate id there, or an empty set; without `fetch` NotHereError for data of the hub's that are
    not in the local cache.
    """
    if source == "mini":
        prompts = _unique(_mini(half), MINI_VERSION)
    elif Path(source).expanduser().is_file():
        path = Path(source).expanduser()
        rows = parquet_rows(path) if path.suffix == ".parquet" else _jsonl(path)
        prompts = _unique(rows, path.name)
    elif wanted := hub.named(source, half):
        prompts = _first(wanted, say, fetch)
    else:
        raise HarnessError(
            f"No prompts '{source}': neither a JSONL or parquet file, the embedded 'mini' nor a "
            "data set ORG/NAME[:SPLIT] of the Hugging Face hub; check the path."
        )
    if not prompts:
        raise HarnessError(f"{source}: no prompts in it; give at least one row.")
    return list(prompts.values())


def _unique(rows: Iterable[tuple[str, Any]], source: str) -> dict[str, Prompt]:
    prompts: dict[str, Prompt] = {}
    for where, row in rows:
        prompt = _prompt(row, where, source)
        if prompt.id in prompts:
            raise HarnessError(
                f"{where}: the prompt id '{prompt.id}' was there before; ids must be unique."
            )
        prompts[prompt.id] = prompt
    return prompts


def _first(wanted: hub.Named, say: Callable[[str], None], fetch: bool) -> dict[str, Prompt]:
    """Published sets repeat some prompts, and have empty answers here and there."""
    prompts: dict[str, Prompt] = {}
    repeated = left_out = 0
    for where, row in hub.read_rows(wanted, fetch):
        if row is None:
            left_out += 1
            continue
        prompt = _prompt(row, where, wanted.where)
        repeated += prompt.id in prompts
        prompts.setdefault(prompt.id, prompt)
    if repeated or left_out:
        say(
            f"{wanted.where}: {len(prompts):,} prompts; {repeated:,} rows repeat a prompt and "
            f"{left_out:,} lack a prompt or an answer: left out"
        )
    return prompts


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
