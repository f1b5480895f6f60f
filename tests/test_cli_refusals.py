"""Every mistake on the command line is one sentence, and nothing is left on disk."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest
import torch
from in_process import JUDGE, METHOD, Harness, disk, jsonl, line, rows

from harness import cli, registry
from harness.config import DataConfig
from harness.data.partition import partition
from harness.data.sources import load_prompts

# --- what was typed ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (line(method="iterativ-dpo"), ["No method 'iterativ-dpo'", "did you mean 'iterative-dpo'"]),
        (line(method="zzz"), ["No method 'zzz'", "known: ", "self-rewarding"]),
        (line("--preset", "tinny"), ["No preset 'tinny'", "'tiny'"]),
        (line("--judge", "refrence"), ["No judge 'refrence'", "'reference'"]),
        (line("--eval-judge", "zzz"), ["No judge 'zzz'", "longer"]),
        (line("--model", "tinny"), ["'tinny'", "did you mean 'tiny'"]),
        (line("--model", "./nothing"), ["./nothing", "check the path"]),
        (
            line("--set", "sampling.temprature=1"),
            ["'sampling.temprature'", "'sampling.temperature'"],
        ),
        (line("--set", "sampling.temperature=hot"), ["sampling.temperature", "'hot'"]),
        (line("--set", "train.learning_rate=.inf"), ["train.learning_rate", "inf"]),
        (line("--set", "method.bta=1"), ["'dno' has no setting 'bta'", "'beta'"]),
        (line("--set", "method.beta=x"), ["method.beta", "'x'"]),
        (line("--set", "method.samples=0"), ["0 completions", "at least 1"]),
        (line("--set", "seed"), ["--set seed: ", "--set name=value"]),
        (line("--set", "seed=1", "--set", "seed.x=1"), ["--set seed.x=1: ", "'seed'"]),
        (line("--set", "data.train=[1"), ["--set data.train=[1: ", "YAML"]),
        (line("--set", "data=3"), ["'data' is a group", "data.train"]),
        (line("--set", "method=sft"), ["'sft'", "'dno'", "--method"]),
        (line("--set", "benchmark.prompts=65"), ["65", "64", "ask for fewer"]),
        (line("--set", "data.per_iteration=99"), ["160 training prompts are too few", "2 × 99"]),
        (["models", "pull", "tinny"], ["'tinny'", "'tiny'"]),
    ],
    ids=lambda value: " ".join(map(str, value))[-40:],
)
def test_a_wrong_word_is_one_sentence(
    refuses: Callable[..., str], arguments: list[object], words: list[str]
) -> None:
    sentence = refuses(*arguments)
    assert all(word in sentence for word in words), sentence


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["run"], ["--method"]),
        (["run", "-m", "dno", "-n", "0"], ["--iters"]),
        (["run", "-m", "dno", "--seed", "-1"], ["--seed"]),
        (["run", "-m", "dno", "--modell", "x"], ["--modell", "--model"]),
        (["runn"], ["'runn'", "'run'"]),
        (["report"], ["RUN"]),
    ],
)
def test_a_wrong_usage_is_exit_code_two(
    harness: Harness, tmp_path: Path, arguments: list[str], words: list[str]
) -> None:
    told = harness(*arguments)
    assert (told.code, told.out) == (2, "")
    assert "Usage: harness" in told.err
    assert "--help" in told.err
    assert "Traceback" not in told.err
    assert all(word in told.err for word in words), told.err
    assert disk(tmp_path) == {}


# --- files of settings and prompts ------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"a: [1\nb: }", ["not valid YAML", "line 2"]),
        (b"- 1\n", ["'seed: 1'"]),
        (b"", ["'seed: 1'"]),
        (b"a: \xff", ["not valid YAML"]),
        (b"seed: 2024-13-45", ["not valid YAML"]),
        (None, ["No such file"]),
    ],
)
def test_a_settings_file_that_cannot_be_read(
    refuses: Callable[..., str], text: bytes | None, words: list[str]
) -> None:
    if text is not None:
        Path("f.yaml").write_bytes(text)
    sentence = refuses(*line("--config", "f.yaml"))
    assert sentence.startswith("f.yaml: ")
    assert all(word in sentence for word in words), sentence


@pytest.mark.parametrize("option", ["--data", "--benchmark"])
@pytest.mark.parametrize(
    ("row", "words"),
    [
        ("{oops", ["not valid JSON"]),
        ("[1]", ["an object"]),
        ('{"id": "x", "text": "?"}', ["'messages'", "'prompt'", "'instruction'"]),
        ('{"prompt": "  "}', ["'prompt'", "not empty"]),
        ('{"prompt": ["a"]}', ["'prompt'", "text"]),
        ('{"prompt": "a", "gold": 3}', ["'gold'", "text"]),
        ('{"messages": []}', ["non-empty list"]),
        ('{"messages": [{"role": "bot", "content": "x"}]}', ["system, user, assistant"]),
        ('{"messages": [{"role": ["user"], "content": "x"}]}', ["system, user, assistant"]),
        ('{"messages": [{"role": "user"}]}', ["'content'"]),
        ('{"messages": [{"role": "assistant", "content": "x"}]}', ["last message", "user"]),
        ('{"id": "p0", "prompt": "again"}', ["'p0'", "unique"]),
    ],
)
def test_a_bad_row_is_named_with_file_and_line(
    refuses: Callable[..., str], option: str, row: str, words: list[str]
) -> None:
    good = json.dumps({"id": "p0", "prompt": "Hi", "gold": "Ho"})
    Path("p.jsonl").write_text(f"{good}\n\n{row}\n", "utf-8")
    sentence = refuses(*line(option, "p.jsonl"))
    assert sentence.startswith("p.jsonl, line 3: ")
    assert all(word in sentence for word in words), sentence


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("p.jsonl", b'{"prompt": "a"}\n{"prompt": "\xff"}\n', ["p.jsonl: not UTF-8"]),
        ("p.jsonl", b"\n \n", ["p.jsonl: no prompts in it"]),
        ("p.parquet", b"no parquet at all", ["p.parquet: not a readable parquet file"]),
        ("p.jsonl", None, ["No prompts 'p.jsonl'", "check the path"]),
        ("p.parquet", None, ["No prompts 'p.parquet'", "check the path"]),
        ("minni", None, ["No prompts 'minni'", "'mini'"]),
        (".", None, ["No prompts '.'"]),
    ],
)
def test_a_prompt_file_that_cannot_be_read(
    refuses: Callable[..., str], name: str, content: bytes | None, words: list[str]
) -> None:
    if content is not None:
        Path(name).write_bytes(content)
    sentence = refuses(*line("--data", name))
    assert all(word in sentence for word in words), sentence


def test_a_truncated_parquet_file_and_one_with_a_bad_row(refuses: Callable[..., str]) -> None:
    pyarrow.parquet.write_table(
        pyarrow.table({"prompt": ["a", None], "gold": ["g", "h"]}), "p.parquet"
    )
    assert refuses(*line("--data", "p.parquet")).startswith("p.parquet, row 2: ")
    whole = Path("p.parquet").read_bytes()
    Path("p.parquet").write_bytes(whole[:40] + b"\0" * 40 + whole[80:])
    assert refuses(*line("--data", "p.parquet")).startswith("p.parquet: not a readable parquet")


@pytest.mark.parametrize(
    ("count", "extra"), [(10, []), (16, ["--set", "data.reuse=true"]), (27, [])]
)
def test_too_few_prompts(refuses: Callable[..., str], count: int, extra: list[str]) -> None:
    jsonl("p.jsonl", *rows(count))
    sentence = refuses(*line("--data", "p.jsonl", *extra))
    assert sentence.startswith(f"{count} training prompts are too few: 16 are set aside")
    assert ("data.reuse" in sentence) is not bool(extra)


def test_what_needs_gold_says_so_before_anything_runs(refuses: Callable[..., str]) -> None:
    bare = jsonl("bare.jsonl", *rows(40), *({"id": f"q{i}", "prompt": f"? {i}"} for i in range(3)))
    method = refuses(
        *line("--data", bare, "--judge", "longer", "--benchmark", "mini", method="sft")
    )
    assert method.startswith("The method 'sft' needs a gold answer for each prompt")
    assert "3 of 43 in 'bare.jsonl'" in method
    assert "'q0'" in method
    by_gold = ("--data", bare, "--judge", "reference")
    judge = refuses(*line(*by_gold, method="iterative-dpo"))
    assert judge.startswith("The judge 'reference' needs a gold answer for each prompt")
    Path("my.py").write_text(METHOD.replace('"compare"', '"none" if iteration == 1 else "compare"'))
    assert refuses(*line(*by_gold, method="my.py:Mine")) == judge  # the second judges, too
    evaluation = refuses(
        *line("--judge", "reference", "--benchmark", bare, "--set", "benchmark.prompts=43")
    )
    assert "evaluation prompt of 'bare.jsonl'" in evaluation
    assert "--eval-judge" in evaluation


@pytest.mark.parametrize(
    "arguments",
    [
        ["--benchmark", "p.jsonl", "--set", "benchmark.prompts=41"],
        ["--data", "p.jsonl", "--set", "data.reuse=true", "--set", "diagnostics.kl_prompts=99"],
    ],
)
def test_a_prompt_longer_than_the_context(
    refuses: Callable[..., str], arguments: list[str]
) -> None:
    jsonl("p.jsonl", *rows(40), {"id": "endless", "prompt": "word " * 3000, "gold": "g"})
    sentence = refuses(*line(*arguments))
    assert sentence.startswith("prompt 'endless' has ")
    assert "context of 2048" in sentence


def test_prompts_that_only_measure_drift_must_fit_as_well(refuses: Callable[..., str]) -> None:
    """They are never trained on, but the run would stop at them after its first training."""
    made = rows(40)
    cut = partition(load_prompts(jsonl("p.jsonl", *made), "train"), DataConfig(), 2, seed=0)
    aside = cut.validation[0].id
    long = [{**row, "prompt": "word " * 3000} if row["id"] == aside else row for row in made]
    jsonl("p.jsonl", *long)
    assert refuses(*line("--data", "p.jsonl")).startswith(f"prompt '{aside}' has ")


# --- models -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ([], "no config.json"),
        (["config.json"], "no *.safetensors"),
        (["config.json", "pytorch_model.bin", "tokenizer.json"], "pickles"),
        (["config.json", "model.safetensors"], "no tokenizer"),
    ],
)
def test_a_folder_that_is_no_model(
    refuses: Callable[..., str], files: list[str], words: str
) -> None:
    Path("m").mkdir()
    for name in files:
        Path("m", name).write_text("{}")
    sentence = refuses(*line("--model", "m"))
    assert sentence.startswith("m cannot be used as a model: ")
    assert words in sentence


# --- a user's own classes ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "name", "words"),
    [
        (None, "Mine", ["my.py: no such file", "file.py:Class"]),
        (METHOD, "Mime", ["my.py has no class 'Mime'", "did you mean 'Mine'"]),
        ("x = 1\n", "Mine", ["no class 'Mine'", "defines none"]),
        ("1 / 0\n", "Mine", ["my.py does not load", "ZeroDivisionError: division by zero"]),
        ("def (:\n", "Mine", ["my.py does not load", "SyntaxError"]),
        ("import nowhere\n", "Mine", ["my.py does not load", "No module named 'nowhere'"]),
        ("raise SystemExit(0)\n", "Mine", ["my.py does not load", "SystemExit"]),
        (METHOD.replace("@dataclass(frozen=True)", ""), "Mine", ["must be a (frozen) dataclass"]),
        (METHOD.replace("def loss", "def lost"), "Mine", ["is no method", "it lacks loss"]),
        (METHOD.replace("name =", "nom ="), "Mine", ["it lacks name"]),
        (METHOD.replace("float = 0.25", "float"), "Mine", ["needs a value for 'margin'", "--set"]),
    ],
)
def test_a_method_file_that_is_no_method(
    refuses: Callable[..., str], source: str | None, name: str, words: list[str]
) -> None:
    if source is not None:
        Path("my.py").write_text(source, "utf-8")
    sentence = refuses(*line(method=f"my.py:{name}"))
    assert all(word in sentence for word in words), sentence


def test_a_file_without_a_class_named(refuses: Callable[..., str]) -> None:
    Path("my.py").write_text(METHOD, "utf-8")
    assert "file.py:Class" in refuses(*line(method="my.py"))


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("class Loud:\n    pass\n", ["is no judge", "'compare'"]),
        (JUDGE.replace("identity =", "name ="), ["is no judge", "'identity'"]),
        (JUDGE + "\n    def __init__(self, key):\n        pass\n", ["cannot be made", "'key'"]),
        (JUDGE + "\n    def __init__(self):\n        raise OSError('no key')\n", ["no key"]),
    ],
)
def test_a_judge_file_that_is_no_judge(
    refuses: Callable[..., str], source: str, words: list[str]
) -> None:
    Path("my.py").write_text(source, "utf-8")
    for option in ("--judge", "--eval-judge"):
        sentence = refuses(*line(option, "my.py:Loud"))
        assert all(word in sentence for word in words), sentence


# --- folders ----------------------------------------------------------------------------------


def test_a_folder_that_holds_something_else_is_left_alone(refuses: Callable[..., str]) -> None:
    Path("full").mkdir()
    Path("full", "thesis.txt").write_text("precious")
    sentence = refuses(*line("--out", "full"))
    assert "full is not empty and holds no run" in sentence
    assert "--out" in sentence
    for command in ("report", "board"):
        assert "full holds no run (no run.json)" in refuses(command, "full")
        assert "nowhere holds no run" in refuses(command, "nowhere")
    Path("full", "run.json").write_text("{}")
    for arguments in (line("--out", "full"), ["report", "full"], ["board", "full"]):
        assert "holds no run's settings" in refuses(*arguments)
    Path("full", "run.json").write_text('{"config":')
    assert "corrupt" in refuses("board", "full")


def test_a_file_where_a_folder_should_be(refuses: Callable[..., str]) -> None:
    Path("file").write_text("x")
    for out in ("file", "file/run"):
        assert "Not a directory" in refuses(*line("--out", out))


@pytest.mark.parametrize("arguments", [line(method="zzz"), line("--out", "file")])
def test_debug_shows_where(
    harness: Harness, monkeypatch: pytest.MonkeyPatch, arguments: list[object]
) -> None:
    Path("file").write_text("x")
    monkeypatch.setenv("HARNESS_DEBUG", "1")
    monkeypatch.setattr(sys, "argv", ["harness", *map(str, arguments)])
    with pytest.raises((registry.HarnessError, OSError)):
        cli.main()


# --- errors that are not the user's ------------------------------------------------------------


def raising(error: BaseException) -> Callable[[], None]:
    def fail() -> None:
        raise error

    return fail


def test_an_error_in_the_program_says_where_its_traceback_is(
    harness: Harness, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HARNESS_HOME", str(tmp_path / "home"))
    monkeypatch.setattr("harness.show.method_dicts", raising(ValueError("of no\nuse")))
    told = harness("methods", "--json")
    assert (told.code, told.out) == (70, "")
    (line,) = told.err.splitlines()
    where = tmp_path / "home" / "last-error.txt"
    assert line.startswith("harness: an error in the program: ValueError: of no use (")
    assert f"{__file__}, line " in line
    assert f"The traceback is in {where}; please report it" in line
    written = where.read_text("utf-8")
    assert written.startswith("harness methods --json\n")
    assert written.endswith("ValueError: of no\nuse\n")
    # where it cannot be written, how to see it
    monkeypatch.setenv("HARNESS_HOME", str(where))
    assert "HARNESS_DEBUG=1 shows it" in harness("methods").err


@pytest.mark.parametrize("error", [MemoryError(), torch.OutOfMemoryError("2 GiB")])
def test_out_of_memory_says_what_to_lower(
    harness: Harness, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    monkeypatch.setattr("harness.show.method_dicts", raising(error))
    told = harness("methods")
    assert told.code == 1
    assert told.err.startswith("harness: out of memory; lower train.micro_batch_tokens")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_stopped_where_nothing_goes_on(
    harness: Harness, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    monkeypatch.setattr("harness.show.method_dicts", lambda: os.kill(os.getpid(), number))
    told = harness("methods")
    assert (told.code, told.out, told.err) == (128 + number, "", "harness: stopped.\n")
