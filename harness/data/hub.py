"""Data sets of the Hugging Face hub, by `ORG/NAME[:SPLIT]`, or a folder that holds a copy of one.

They are read through `datasets`, which runs no code of theirs. Whatever its columns, a row becomes
what a row of a prompts file is (`harness/data/sources.py`): `id`, `messages`, `gold`, `rejected`.

columns of the data set    becomes
chosen, rejected           the prompt is chosen's turns but the last, or the column prompt or
                           instruction where chosen is a bare text; the last turns are gold and
                           rejected; prompt_id is the id
instruction, completions   gold is the response with the highest fine-grained_score (the mean of
                           UltraFeedback's four ratings), rejected the one with the lowest
messages                   a last turn of the assistant's is gold
prompt or instruction      the prompt; gold and rejected where there are columns of these names
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from harness.data.standin import NotHereError, Size
from harness.errors import HarnessError

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Known:
    """`split` has the training prompts, `rows` as its card says (openbmb's card has no counts; its
    number is not confirmed, and serves plans only)."""

    split: str
    rows: int


KNOWN = {
    "allenai/ultrafeedback_binarized_cleaned": Known("train_prefs", 60_829),
    "argilla/ultrafeedback-binarized-preferences-cleaned": Known("train", 60_917),
    "HuggingFaceH4/ultrafeedback_binarized": Known("train_prefs", 61_135),
    "openbmb/UltraFeedback": Known("train", 63_967),
}
"""UltraFeedback in its published forms, the preferred first. The first two are without TruthfulQA's
prompts; openbmb's own holds them. Any other set by one of the layouts above can be named, too."""
INSTRUCTION, ANSWER = 700, 1300
"""Characters of UltraFeedback's prompts and chosen answers, estimated from the bytes and rows on
the cards of its two binarized forms: what a plan assumes where the data are not here."""

_NAME = re.compile(r"(?P<name>[\w.-]+/[\w.-]+)(?::(?P<split>[\w.-]+))?")


@dataclass(frozen=True, slots=True)
class Named:
    """A data set's name, or the folder it lies in, and the split that is wanted."""

    name: str
    split: str

    @property
    def where(self) -> str:
        return f"{self.name}:{self.split}"


def named(source: str, half: Literal["train", "eval"]) -> Named | None:
    """What `ORG/NAME[:SPLIT]` or `FOLDER[:SPLIT]` means; None where it is neither.

    Without a split: the table's, else `train` for training prompts and `test` for a benchmark's.
    """
    path, _, split = source.rpartition(":")
    folders = [(source, ""), (path, split)]
    name, given = next(((p, s) for p, s in folders if p and Path(p).is_dir()), ("", ""))
    if not name:
        found = _NAME.fullmatch(source)
        if not found or source.startswith("."):
            return None
        name, given = found["name"], found["split"] or ""
    if not given and half == "train" and name in KNOWN:
        given = KNOWN[name].split
    return Named(name, given or {"train": "train", "eval": "test"}[half])


def read_rows(wanted: Named, fetch: bool) -> Iterator[tuple[str, Row | None]]:
    """(where it stands, row as in a prompts file); None for a row without prompt or answer.

    Raises HarnessError where there is no such data set or split, it is gated, the hub cannot be
    reached, or no layout fits; without `fetch` NotHereError for what is not in the local cache.
    """
    data = _load(wanted, fetch)
    columns = frozenset(data.column_names)
    layout = next((layout for needs, layout in LAYOUTS if needs <= columns), None)
    if layout is None:
        raise HarnessError(
            f"{wanted.where} has the columns {', '.join(sorted(columns))}, and prompts are read "
            "from chosen and rejected, instruction and completions, messages, prompt or "
            "instruction; write its rows to a JSONL file with a column 'prompt'."
        )
    for number, row in enumerate(data.select_columns(sorted(columns & USED)), start=1):
        yield f"{wanted.where}, row {number}", layout(row)


# --- columns ----------------------------------------------------------------------------------


def _pair(row: Row) -> Row | None:
    turns, gold = _answered(row["chosen"])
    others, rejected = _answered(row["rejected"])
    if others != turns:  # an answer to another prompt
        rejected = ""
    prompt = turns or _prompt(row)
    return _row(row.get("prompt_id"), prompt, gold, rejected) if gold and rejected else None


def _scored(row: Row) -> Row | None:
    answers = [
        (score, done["response"])
        for done in _dicts(row["completions"])
        if _is_text(done.get("response"))
        and isinstance(score := done.get("fine-grained_score"), int | float)
        and math.isfinite(score)
    ]
    if not answers:
        return None
    best, worst = (pick(answers, key=lambda answer: answer[0]) for pick in (max, min))
    return _row(None, _prompt(row), best[1], worst[1] if worst[0] < best[0] else "")


def _conversation(row: Row) -> Row | None:
    turns, gold = _answered(row["messages"])
    return _row(row.get("prompt_id"), turns, gold or row.get("gold"), row.get("rejected"))


def _plain(row: Row) -> Row | None:
    return _row(row.get("prompt_id"), _prompt(row), row.get("gold"), row.get("rejected"))


LAYOUTS: Sequence[tuple[frozenset[str], Callable[[Row], Row | None]]] = (
    (frozenset({"chosen", "rejected"}), _pair),
    (frozenset({"instruction", "completions"}), _scored),
    (frozenset({"messages"}), _conversation),
    (frozenset({"prompt"}), _plain),
    (frozenset({"instruction"}), _plain),
)
"""The first whose columns are all there is taken."""
USED = frozenset({"prompt_id", "gold"}).union(*(needs for needs, _ in LAYOUTS))


def _answered(said: Any) -> tuple[list[Row], str]:
    """A conversation's turns before its last answer, and that answer; a bare text is an answer."""
    if isinstance(said, str):
        return [], said if said.strip() else ""
    turns = [{"role": turn.get("role"), "content": turn.get("content")} for turn in _dicts(said)]
    if not turns or turns[-1]["role"] != "assistant":
        return turns, ""
    answer = turns.pop()["content"]
    return turns, answer if isinstance(answer, str) and answer.strip() else ""


def _dicts(value: Any) -> list[Row]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _prompt(row: Row) -> list[Row]:
    text = row.get("prompt") or row.get("instruction")
    return [{"role": "user", "content": text}] if _is_text(text) else []


def _row(identity: Any, messages: list[Row], gold: Any, rejected: Any) -> Row | None:
    """As in a prompts file; empty turns before the last (system prompts, mostly) are left out."""
    if not messages or messages[-1]["role"] != "user" or not _is_text(messages[-1]["content"]):
        return None
    said = [turn for turn in messages if _is_text(turn["content"])]
    texts = {"gold": gold, "rejected": rejected}
    kept = {name: text for name, text in texts.items() if _is_text(text)}
    return {"messages": said, **kept, **({"id": identity} if identity else {})}


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip())


# --- loading ----------------------------------------------------------------------------------


def _load(wanted: Named, fetch: bool) -> Any:
    """The split as a `datasets.Dataset`, from the cache or the hub."""
    import datasets
    from datasets.data_files import EmptyDatasetError
    from datasets.exceptions import DataFilesNotFoundError, DatasetNotFoundError, DatasetsError
    from huggingface_hub.utils import logging as hub_logging

    datasets.disable_progress_bars()
    datasets.logging.set_verbosity_error()
    quiet: Callable[[], None] = hub_logging.set_verbosity_error  # it has no types
    quiet()  # else a card without metadata is a line on the user's screen
    name = wanted.name
    try:
        with _offline(not fetch):
            builder = datasets.load_dataset_builder(name)
            splits = list(builder.config.data_files or builder.info.splits or ())
            if splits and wanted.split not in splits:
                raise HarnessError(
                    f"{name} has no split '{wanted.split}', but {', '.join(map(str, splits))}; "
                    f"name one as {name}:{splits[0]}."
                )
            return datasets.load_dataset(name, split=wanted.split)
    except DatasetNotFoundError as error:
        if "gated" in str(error):
            raise HarnessError(
                f"The data set {name} is gated; ask for access on its page at the Hugging Face "
                "hub, log in with 'hf auth login' (or set HF_TOKEN), and run this again."
            ) from None
        raise HarnessError(
            f"The Hugging Face hub has no data set {name} that can be read without more rights, "
            "and there is no such folder or file here; check the name."
        ) from None
    except (DataFilesNotFoundError, EmptyDatasetError):
        raise HarnessError(
            f"No prompts '{name}': there are no data files such as parquet or JSONL in it; name "
            "another data set or a file."
        ) from None
    except ConnectionError as error:
        raise _unreachable(wanted, fetch) from error
    except (DatasetsError, OSError, ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:160] or type(error).__name__
        raise HarnessError(
            f"The data set {wanted.where} cannot be read ({reason}); name another, or a JSONL or "
            "parquet file of it."
        ) from error


@contextmanager
def _offline(wanted: bool) -> Iterator[None]:
    """As with HF_HUB_OFFLINE=1: what is in the cache, and nothing else."""
    from datasets import config

    before = config.HF_HUB_OFFLINE
    config.HF_HUB_OFFLINE = before or wanted
    try:
        yield
    finally:
        config.HF_HUB_OFFLINE = before


def _unreachable(wanted: Named, fetch: bool) -> HarnessError:
    if fetch:
        return HarnessError(
            f"The data set {wanted.where} is not here, and the Hugging Face hub cannot be reached; "
            "check the network and HF_HUB_OFFLINE, or name a JSONL or parquet file."
        )
    known = KNOWN.get(wanted.name)
    size = Size(known.rows, INSTRUCTION, ANSWER) if known and known.split == wanted.split else None
    return NotHereError(
        wanted.where,
        f"The data set {wanted.where} is not here yet, and a plan fetches nothing; start the run, "
        "or name a JSONL or parquet file.",
        size,
    )
