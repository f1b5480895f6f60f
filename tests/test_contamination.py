"""Training prompts that hold the benchmark's instructions: which are found, and what a run does."""

from __future__ import annotations

import json
import unicodedata
from pathlib import Path
from typing import Any

import pytest
from conftest import Command, state
from hypothesis import given
from hypothesis import strategies as st

from harness.data.contamination import overlaps
from harness.data.sources import load_prompts
from harness.runs import read_run
from harness.types import Message, Overlap, Prompt


def prompt(name: str, *turns: str) -> Prompt:
    """A conversation of user turns, with answers between them that must not count."""
    said = [Message("system", "You are a very helpful assistant who answers each question well.")]
    for turn in turns:
        said += [Message("user", turn), Message("assistant", "I do not know what to say to that.")]
    return Prompt(name, tuple(said[:-1]))


# --- the rule ---------------------------------------------------------------------------------

FEW_WORDS = st.lists(st.sampled_from("ab"), max_size=24)
"""So few different words that most pairs share some 8-gram and few share enough."""


@st.composite
def written(draw: st.DrawFn, words: list[str]) -> str:
    """The words in any case, with any punctuation between them."""
    marks = st.sampled_from([" ", ", ", "\n", " – “", "_", "…\t", "!) "])
    return "".join(draw(st.sampled_from([w, w.upper()])) + draw(marks) for w in words)


def share(train: list[str], asked: list[str]) -> float:
    """The rule word by word: is there a window around this word that is in the other text too?"""
    if len(asked) < 8:
        return float(train == asked != [])
    windows = [train[i : i + 8] for i in range(len(train) - 7)]
    inside = [
        any(
            asked[start : start + 8] in windows
            for start in range(max(0, at - 7), min(at, len(asked) - 8) + 1)
        )
        for at in range(len(asked))
    ]
    return sum(inside) / len(asked)


@given(st.data(), st.lists(FEW_WORDS, max_size=4), st.lists(FEW_WORDS, max_size=4))
def test_the_pairs_are_those_of_the_rule(
    data: st.DataObject, train: list[list[str]], asked: list[list[str]]
) -> None:
    """…whatever else is in either set, however the words are written and cut into turns."""
    prompts = []
    for number, words in enumerate(train):
        cut = data.draw(st.integers(0, len(words)))
        turns = [data.draw(written(part)) for part in (words[:cut], words[cut:])]
        prompts.append(prompt(f"t{number}", *turns))
    benchmark = [prompt(f"b{n}", data.draw(written(words))) for n, words in enumerate(asked)]
    assert overlaps(prompts, benchmark) == [
        Overlap(f"t{t}", f"b{b}", share(ours, theirs))
        for t, ours in enumerate(train)
        for b, theirs in enumerate(asked)
        if share(ours, theirs) > 0.5
    ]


QUESTION = "Write a short story about a lighthouse keeper who finds a letter in a bottle."


@pytest.mark.parametrize(
    ("said", "asked", "expected"),
    [
        # the same, whatever is around it and however it is written
        (f"Please help me. {QUESTION} Use 200 words.", QUESTION, 1.0),
        (QUESTION.upper().replace(" ", "\n\n").replace(".", "?!"), QUESTION, 1.0),
        (f"**{QUESTION}**", f"_{QUESTION}_", 1.0),
        # 10 of 15 words are one shared run; 7 of 15 are none
        (" ".join(QUESTION.split()[:10]), QUESTION, 10 / 15),
        (" ".join(QUESTION.split()[:7]), QUESTION, None),
        # exactly half is not more than half
        (
            "one two three four five six seven eight",
            f"{'x ' * 8}one two three four five six seven eight",
            None,
        ),
        # short instructions
        ("Hello!", "hello", 1.0),
        (f"Hello! {QUESTION}", "hello", None),
        ("What is the capital of France", "“What is the capital of France?”", 1.0),
        ("Tell me: what is the capital of France?", "What is the capital of France?", None),
        # other alphabets, letters in two pieces, ligatures, letters whose capitals are two
        ("ПРИВЕТ, КАК ДЕЛА", "Привет! Как дела?", 1.0),
        (unicodedata.normalize("NFD", "Où est le café à côté ?"), "OÙ EST LE CAFÉ À CÔTÉ", 1.0),
        ("STRASSE IN DER ﬁrma", "Straße in der Firma", 1.0),
        ("今天天气怎么样？", "今天天气怎么样", 1.0),
        # nothing to compare
        ("???", "???", None),
    ],
)
def test_what_counts_as_the_same(said: str, asked: str, expected: float | None) -> None:
    found = overlaps(
        [prompt("other", "Name three rivers."), prompt("t", said)], [prompt("b", asked)]
    )
    assert found == ([Overlap("t", "b", expected)] if expected else [])


def test_the_embedded_halves_do_not_overlap() -> None:
    train, evaluation = load_prompts("mini", "train"), load_prompts("mini", "eval")
    assert overlaps(train, evaluation) == []
    assert len(overlaps(evaluation, evaluation)) >= len(evaluation)


# --- the gate ---------------------------------------------------------------------------------

HOSTILE = "\x1b[31mred\nline"


def write(path: Path, prompts: dict[str, str]) -> None:
    made: list[dict[str, Any]] = [
        {"id": name, "prompt": text, "gold": "An answer."} for name, text in prompts.items()
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in made), "utf-8")


def test_a_run_stops_before_it_trains_on_the_benchmark(command: Command, tmp_path: Path) -> None:
    """…unless it is allowed; then folder and report say so, until the prompts are gone."""
    asked = [evaluated.instruction for evaluated in load_prompts("mini", "eval")[:12]]
    clean = {f"p{i}": f"Say the number {i} in words." for i in range(30)}
    held = {f"leak-{i}": f"{text.upper()}!!" for i, text in enumerate(asked)}
    data, out = tmp_path / "train.jsonl", tmp_path / "runs" / "sft"
    line = ("--data", data, "--iters", 1)
    write(data, {**clean, **held, HOSTILE: asked[0]})

    before = state(tmp_path)
    told = command.run(out, *line, method="sft").sentence()
    assert command("plan", "-m", "sft", "--preset", "tiny", *line).sentence() == told
    assert state(tmp_path) == before
    assert f"'{data}' hold instructions of the benchmark 'mini'" in told
    assert told.count("leak-") == 10
    assert "'leak-0' has 'eval-0" in told
    assert "(100%) and 3 more; remove them" in told
    assert "--allow-contamination" in told

    allowed = (*line, "--allow-contamination")
    write(data, {**clean, HOSTILE: asked[0], "leak-1": asked[1], "leak-2": asked[1]})
    refused = command.run(out, *line, method="sft").sentence()
    assert r"'\x1b[31mred\nline' has 'eval-" in refused
    assert command.plan(out, *allowed, method="sft")["config"]["data"]["allow_contamination"]
    done = command.run(out, *allowed, method="sft", report=True).ok()
    assert "contamination.json lists them" in done.err
    pairs = json.loads((out / "contamination.json").read_text("utf-8"))
    assert [pair["train_id"] for pair in pairs] == [HOSTILE, "leak-1", "leak-2"]
    assert {pair["share"] for pair in pairs} == {1.0}
    assert [o.train_id for o in read_run(out).contamination] == [HOSTILE, "leak-1", "leak-2"]
    page = (out / "report" / "index.html").read_text("utf-8")
    assert "sft: the training data hold 2 instructions of the benchmark" in page

    finished = state(tmp_path)
    command.run(out, *allowed, method="sft").ok()
    assert command.run(out, *line, method="sft").sentence() == refused
    assert state(tmp_path) == finished

    write(data, {**clean, "p30": "Say nothing."})
    command.run(out, *line, method="sft").ok()
    assert read_run(out).contamination == ()
    assert "hold" not in (out / "report" / "index.html").read_text("utf-8")
