"""The embedded prompts, what files may say, and how prompts are cut."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from harness import codec
from harness.config import DataConfig
from harness.data.partition import MIN_VALIDATION, partition
from harness.data.sources import MINI_VERSION, digest, load_prompts
from harness.errors import HarnessError
from harness.types import Message, Prompt

quick = settings(max_examples=60, deadline=None)
MINI = Path(codec.__file__).parent / "data" / "mini"


# --- the embedded set -------------------------------------------------------------------------


@pytest.mark.parametrize(("half", "count"), [("train", 160), ("eval", 64)])
def test_mini_is_whole(half: Any, count: int) -> None:
    prompts = load_prompts("mini", half)
    assert len(prompts) == len({prompt.id for prompt in prompts}) == count
    assert {prompt.source for prompt in prompts} == {MINI_VERSION}
    for prompt in prompts:
        assert prompt.gold is not None
        assert 40 <= len(prompt.gold.split()) <= 160, prompt.id
        assert prompt.instruction == prompt.messages[-1].content
    # JSONL proper: one row a line, in UTF-8, without a byte-order mark
    lines = (MINI / f"{half}.jsonl").read_bytes().decode("utf-8").splitlines()
    assert len(lines) == count


def test_both_halves_of_mini_have_every_category_in_like_shares() -> None:
    shares = []
    for half in ("train", "eval"):
        counts = Counter(row["category"] for _, row in codec.read_lines(MINI / f"{half}.jsonl"))
        shares.append({name: count / counts.total() for name, count in counts.items()})
    train, evaluation = shares
    assert train.keys() == evaluation.keys()
    assert len(train) == 11
    for category, share in train.items():
        assert evaluation[category] == pytest.approx(share, abs=0.05), category


def test_no_evaluation_prompt_was_trained_on() -> None:
    train, evaluation = (load_prompts("mini", half) for half in ("train", "eval"))
    assert not {p.id for p in train} & {p.id for p in evaluation}
    assert not {p.messages for p in train} & {p.messages for p in evaluation}
    assert not {p.gold for p in train} & {p.gold for p in evaluation}
    assert not ngrams(train) & ngrams(evaluation)


def ngrams(prompts: list[Prompt], n: int = 8) -> set[tuple[str, ...]]:
    """Runs of n words in what users say, and in what the gold answers say."""
    found: set[tuple[str, ...]] = set()
    for prompt in prompts:
        for text in [*(m.content for m in prompt.messages if m.role == "user"), prompt.gold or ""]:
            words = re.findall(r"\w+", text.lower())
            found |= {tuple(words[i : i + n]) for i in range(len(words) - n + 1)}
    return found


# --- files ------------------------------------------------------------------------------------


def rows_file(path: Path, *rows: Any) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return path


def load(path: Path) -> list[Prompt]:
    return load_prompts(str(path), "train")


ROWS = [
    {"id": 7, "prompt": "Why is the sky blue?", "gold": "Rayleigh scattering.", "rejected": "No."},
    {"instruction": "Name a colour."},
    {
        "id": "chat",
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "Hi"},
            {"role": "assistant", "content": ""},
            {"role": "user", "content": "And now?"},
        ],
    },
]


def test_the_three_ways_to_write_a_prompt(tmp_path: Path) -> None:
    one, two, three = load(rows_file(tmp_path / "p.jsonl", *ROWS))
    assert one == Prompt(
        "7", (Message("user", "Why is the sky blue?"),), "Rayleigh scattering.", "No.", "p.jsonl"
    )
    assert (two.messages, two.gold, two.rejected) == (
        (Message("user", "Name a colour."),),
        None,
        None,
    )
    assert [m.role for m in three.messages] == ["system", "user", "assistant", "user"]
    assert three.instruction == "And now?"


def test_a_prompt_without_id_gets_one_from_what_it_says(tmp_path: Path) -> None:
    first = load(rows_file(tmp_path / "a.jsonl", {"prompt": "x"}, {"prompt": "y"}))
    again = load(rows_file(tmp_path / "b.jsonl", {"instruction": "y", "gold": "g"}))
    assert first[0].id != first[1].id == again[0].id
    with pytest.raises(HarnessError, match="line 2: the prompt id"):
        load(rows_file(tmp_path / "c.jsonl", {"prompt": "x"}, {"instruction": "x"}))


def test_parquet_says_the_same_as_jsonl(tmp_path: Path) -> None:
    path = tmp_path / "p.parquet"
    rows = [{**row, "id": f"row {n}"} for n, row in enumerate(ROWS)]  # a column has one type
    columns = {key: [row.get(key) for row in rows] for key in sorted({k for r in rows for k in r})}
    pyarrow.parquet.write_table(pyarrow.table(columns), path)
    jsonl = load(rows_file(tmp_path / "p.jsonl", *rows))
    assert digest(without_source(load(path))) == digest(without_source(jsonl))
    assert len(jsonl) == 3


def without_source(prompts: list[Prompt]) -> Iterator[Prompt]:
    return (Prompt(p.id, p.messages, p.gold, p.rejected) for p in prompts)


def test_hostile_text_survives(tmp_path: Path) -> None:
    text = "a\u2028b\u2029c\x00d\x85e\r\nf\x1e{0} %s <|im_end|> \u202ertl \U0001f600 \ufeff"
    path = tmp_path / "p.jsonl"
    path.write_text(
        # once with the separators as they are, once escaped, once with lone surrogates
        json.dumps({"id": "raw", "prompt": text, "gold": text}, ensure_ascii=False)
        + "\n\n"
        + json.dumps({"id": "escaped", "prompt": text, "gold": text})
        + "\n"
        + '{"id": "half \\ud800", "prompt": "lone \\udfff end", "gold": "\\ud83d"}\n',
        "utf-8",
        newline="\n",
    )
    raw, escaped, lone = load(path)
    assert raw.instruction == escaped.instruction == raw.gold == text
    assert lone.instruction == "lone ? end"
    for prompt in (raw, escaped, lone):  # and what was read can be kept and read again
        kept = codec.line(codec.dump(prompt)).encode("utf-8")
        assert codec.load(Prompt, json.loads(kept)) == prompt


@pytest.mark.parametrize(
    "change",
    [{"id": "b"}, {"prompt": "z"}, {"gold": "z"}, {"rejected": "z"}],
)
def test_the_digest_is_of_everything_that_is_said(tmp_path: Path, change: dict[str, str]) -> None:
    row = {"id": "a", "prompt": "p", "gold": "g", "rejected": "r"}
    before = load(rows_file(tmp_path / "p.jsonl", row))
    assert digest(before) == digest(load(rows_file(tmp_path / "p.jsonl", row)))
    assert digest(before) != digest(load(rows_file(tmp_path / "p.jsonl", {**row, **change})))


# --- the cut ----------------------------------------------------------------------------------


def made(count: int) -> list[Prompt]:
    return [Prompt(f"p{i:04}", (Message("user", f"say {i}"),), "gold") for i in range(count)]


@quick
@given(
    count=st.integers(1, 300),
    iterations=st.integers(1, 8),
    seed=st.integers(0, 5),
    share=st.floats(0.01, 0.9),
    size=st.none() | st.integers(1, 20),
)
def test_parts_are_disjoint_equal_and_never_validation(
    count: int, iterations: int, seed: int, share: float, size: int | None
) -> None:
    prompts = made(count)
    data = DataConfig(validation=share, per_iteration=size)
    held_out = max(MIN_VALIDATION, round(count * share))
    if count < held_out + iterations * (size or 1):
        with pytest.raises(HarnessError, match=f"^{count} training prompts are too few: "):
            partition(prompts, data, iterations, seed)
        return
    cut = partition(prompts, data, iterations, seed)
    assert len(cut.validation) == held_out
    assert len(cut.parts) == iterations
    assert len({len(part) for part in cut.parts}) == 1
    ids = [p.id for part in (cut.validation, *cut.parts) for p in part]
    assert len(ids) == len(set(ids))
    assert set(ids) <= {p.id for p in prompts}
    if size is None:  # all are used but what does not divide evenly
        assert 0 <= count - len(ids) < iterations


@quick
@given(st.integers(40, 120), st.integers(0, 3), st.randoms(use_true_random=False))
def test_the_cut_is_the_seeds_whatever_the_order_of_the_file(
    count: int, seed: int, random: Any
) -> None:
    prompts = made(count)
    shuffled = prompts.copy()
    random.shuffle(shuffled)
    data = DataConfig()
    assert partition(shuffled, data, 3, seed) == partition(prompts, data, 3, seed)
    assert partition(prompts, data, 3, seed) != partition(prompts, data, 3, seed + 1)


@quick
@given(st.integers(30, 200), st.integers(1, 8), st.integers(1, 5), st.integers(1, 5))
def test_with_a_size_given_a_run_can_be_extended(count: int, size: int, n: int, more: int) -> None:
    assume(MIN_VALIDATION + size * (n + more) <= count - round(0.1 * count))
    data = DataConfig(per_iteration=size)
    short, long = (partition(made(count), data, k, 0) for k in (n, n + more))
    assert long.parts[:n] == short.parts
    assert long.validation == short.validation


def test_reuse_gives_every_iteration_all_but_the_validation_part() -> None:
    prompts = made(50)
    cut = partition(prompts, DataConfig(reuse=True), 3, 0)
    assert cut.parts[0] == cut.parts[1] == cut.parts[2]
    assert {p.id for p in cut.parts[0]} | {p.id for p in cut.validation} == {p.id for p in prompts}
    assert len(cut.parts[0]) == 34
    with pytest.raises(HarnessError, match="none is left to train on; give more prompts"):
        partition(made(16), DataConfig(reuse=True), 3, 0)
