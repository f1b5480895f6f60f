"""Data sets of the hub: their published columns, through `datasets` itself; the hub's refusals."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest
from hub_server import Files, hub

from harness.data.sources import load_prompts
from harness.types import Message, Prompt

Rows = list[dict[str, Any]]
USER, ASSISTANT = "user", "assistant"


def turns(*said: str, system: str | None = None) -> Rows:
    roles = [USER, ASSISTANT] * len(said)
    spoken = [{"content": text, "role": role} for text, role in zip(said, roles, strict=False)]
    return spoken if system is None else [{"content": system, "role": "system"}, *spoken]


def binarized(rows: list[tuple[str, str, str]]) -> Rows:
    """Columns of HuggingFaceH4/ultrafeedback_binarized and allenai/…_cleaned."""
    return [
        {
            "prompt": prompt,
            "prompt_id": f"id of {prompt}",
            "chosen": turns(prompt, chosen),
            "rejected": turns(prompt, rejected),
            "messages": turns(prompt, chosen),
            "score_chosen": 8.0,
            "score_rejected": 3.0,
        }
        for prompt, chosen, rejected in rows
    ]


def completion(text: str, score: float | None) -> dict[str, Any]:
    return {
        "model": "m",
        "response": text,
        "fine-grained_score": score,
        "overall_score": 10.0,
        "annotations": {"honesty": {"Rating": "N/A", "Rationale": ""}},
    }


def files(rows: Rows, split: str, as_json: bool = False) -> Files:
    """A repository with one split: a card that names it, as published ones do, and its rows."""
    if as_json:
        return {f"{split}.jsonl": "".join(json.dumps(row) + "\n" for row in rows).encode()}
    body = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), body)
    card = (
        "---\nconfigs:\n- config_name: default\n  data_files:\n"
        f"  - split: {split}\n    path: data/{split}-*\n---\n"
    )
    return {"README.md": card.encode(), f"data/{split}-00000-of-00001.parquet": body.getvalue()}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where data sets lie as they lie in the hub; what is made of them is kept in a place of the
    test's own."""
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", str(tmp_path / "cache"))
    return tmp_path / "org" / "set"


def put(folder: Path, made: Files) -> Path:
    for path, body in made.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(body)
    return folder


PAIR = Prompt("", (Message(USER, "Why?"),), "Because.", "No idea.")
LAYOUTS: dict[str, tuple[Rows, Prompt | tuple[Any, ...]]] = {
    "binarized": (binarized([("Why?", "Because.", "No idea.")]), PAIR),
    "argilla": (
        [
            {
                "source": "flan",
                "prompt": "Why?",
                "chosen": turns("Why?", "Because."),
                "chosen-rating": 5.0,
                "chosen-model": "gpt-4",
                "rejected": turns("Why?", "No idea."),
                "rejected-rating": 1.0,
                "rejected-model": "llama",
            }
        ],
        PAIR,
    ),
    "bare texts": ([{"prompt": "Why?", "chosen": "Because.", "rejected": "No idea."}], PAIR),
    "openbmb": (
        [
            {
                "source": "flan",
                "instruction": "Why?",
                "models": ["m"],
                "completions": [
                    completion("So.", 3.5),
                    completion("Because.", 4.75),
                    completion("", 5.0),
                    completion("No idea.", 1.0),
                    completion("Unrated.", None),
                ],
                "correct_answers": ["None"],
                "incorrect_answers": ["None"],
            }
        ],
        PAIR,
    ),
    "conversations": (
        [{"messages": turns("Hi", "Hello.", "Why?", "Because.", system="")}],
        Prompt(
            "",
            (Message(USER, "Hi"), Message(ASSISTANT, "Hello."), Message(USER, "Why?")),
            "Because.",
        ),
    ),
    "prompts": ([{"prompt": "Why?", "more": 1}], Prompt("", (Message(USER, "Why?"),))),
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("as_json", [False, True], ids=["parquet", "jsonl"])
def test_published_columns_become_prompts(folder: Path, layout: str, as_json: bool) -> None:
    rows, expected = LAYOUTS[layout]
    assert isinstance(expected, Prompt)
    (found,) = load_prompts(str(put(folder, files(rows, "train", as_json))), "train")
    assert (found.messages, found.gold, found.rejected) == (
        expected.messages,
        expected.gold,
        expected.rejected,
    )
    assert (found.id == "id of Why?") == (layout == "binarized")
    assert found.source.endswith("set:train")


def test_repeated_and_empty_rows_are_left_out_and_said(folder: Path) -> None:
    rows = binarized(
        [("a", "good", "bad"), ("b", " ", "bad"), ("a", "other", "bad"), ("c", "good", "")]
    )
    other = {**rows[0], "prompt_id": "d", "rejected": turns("another prompt", "bad")}
    told: list[str] = []
    put(folder, files([*rows, other], "test_prefs"))
    (found,) = load_prompts(f"{folder}:test_prefs", "train", told.append)
    assert (found.id, found.gold) == ("id of a", "good")
    assert "1 prompts; 1 rows repeat a prompt and 3 lack a prompt or an answer" in told[0]


def command(home: Path, endpoint: str | None, *arguments: object) -> Any:
    """A process of its own: the hub's address (none: offline) is read at import."""
    return subprocess.run(
        [sys.executable, "-m", "harness.cli", *map(str, arguments)],
        cwd=home,
        env={
            **{k: v for k, v in os.environ.items() if not k.startswith("HF_")},
            **({"HF_ENDPOINT": endpoint} if endpoint else {"HF_HUB_OFFLINE": "1"}),
            "HF_HOME": str(home / "hf"),
            "HARNESS_HOME": str(home / "home"),
            "OMP_NUM_THREADS": "1",
        },
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_plan_on_the_hub_s_data_fetches_nothing_and_a_run_fetches_once(tmp_path: Path) -> None:
    name = "allenai/ultrafeedback_binarized_cleaned"
    rows = binarized([(f"Say {i}.", f"It is {i}.", "No.") for i in range(60)])
    line = ("--method", "sft", "--preset", "tiny", "--iters", 1, "--data", name)
    with hub({name: files(rows, "train_prefs")}) as (endpoint, asked):
        planned = command(tmp_path, endpoint, "plan", *line, "--json")
        assert planned.returncode == 0, planned.stderr
        (assumed,) = json.loads(planned.stdout)["assumptions"]
        assert assumed.startswith(f"{name}:train_prefs is not here: 60,829 prompts")
        assert not any(path.endswith(".parquet") for path in asked)
        done = command(tmp_path, endpoint, "run", *line, "--out", "run", "--json")
        assert done.returncode == 0, done.stderr
    # from now on it is here, without the hub
    again = command(tmp_path, None, "plan", *line, "--out", "run", "--json")
    told = json.loads(again.stdout)
    assert told["assumptions"] == []
    assert all(stage["done"] for stage in told["stages"])


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        ("org/set:tset", "org/set has no split 'tset', but train; name one as org/set:train."),
        ("org/odd", "org/odd:train has the columns answer, question, and prompts are read"),
        ("org/none", "The Hugging Face hub has no data set org/none that can be read"),
        ("org/closed", "The data set org/closed is gated; ask for access on its page"),
        ("org/script", "Dataset scripts are no longer supported"),
        ("org/empty", "No prompts 'org/empty': there are no data files"),
    ],
)
def test_what_cannot_be_used_is_one_sentence(tmp_path: Path, data: str, sentence: str) -> None:
    sets = {
        "org/set": files([{"prompt": "Why?"}], "train"),
        "org/odd": files([{"question": "Why?", "answer": "So."}], "train"),
        "org/script": {"README.md": b"", "script.py": b"raise SystemExit(7)"},
        "org/empty": {"README.md": b"", "notes.xyz": b"nothing"},
    }
    with hub(sets, gated="org/closed") as (endpoint, _):
        refused = command(
            tmp_path, endpoint, "run", "-m", "sft", "--preset", "tiny", "--data", data
        )
    assert refused.returncode == 1
    (told,) = refused.stderr.splitlines()
    assert sentence in told
    assert not (tmp_path / "runs").exists()


def test_without_a_network_it_says_so(tmp_path: Path) -> None:
    line = ("-m", "sft", "--preset", "tiny", "--data", "org/set")
    refused = command(tmp_path, None, "run", *line)
    assert refused.returncode == 1
    (told,) = refused.stderr.splitlines()
    assert "org/set:train is not here, and the Hugging Face hub cannot be reached" in told
    unknown = command(tmp_path, None, "plan", *line)
    assert "is not here yet, and a plan fetches nothing" in unknown.stderr


def test_the_paper_s_preset_is_priced_where_nothing_is_here(tmp_path: Path) -> None:
    done = command(tmp_path, None, "plan", "-m", "dno", "--preset", "paper", "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert len(told["assumptions"]) == 2
    samples = [stage["completions"] for stage in told["stages"] if stage["stage"] == "samples"]
    assert samples == [5 * told["config"]["data"]["per_iteration"]] * 3
    assert told["to_do"]["usd_at_most"] > 1000
    assert [path.name for path in tmp_path.iterdir() if path.name != "hf"] == []
