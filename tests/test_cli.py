"""The command line as a user meets it: every mistake one sentence, and nothing left on disk."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest

from harness import cli, registry
from harness.config import DataConfig, preset_names
from harness.data.partition import partition
from harness.data.sources import load_prompts
from harness.folders import Folder
from harness.judges.offline.judge import OfflineJudge
from harness.models.store import pull


@dataclass(frozen=True)
class Told:
    """How a command ended and what it said."""

    code: object
    out: str
    err: str

    @property
    def json(self) -> Any:
        assert (self.code, self.err) == (0, ""), self.err
        return json.loads(self.out)


Harness = Callable[..., Told]


@pytest.fixture(scope="session")
def models_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A HARNESS_HOME in which the tiny model is already there."""
    home = tmp_path_factory.mktemp("cli-home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HARNESS_HOME", str(home))
        pull("tiny", lambda _line: None)
    return home


@pytest.fixture
def harness(
    models_home: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Iterator[Harness]:
    """`harness ARGUMENTS` in this process, in a folder of its own."""
    monkeypatch.setenv("HARNESS_HOME", str(models_home))
    monkeypatch.delenv("HARNESS_DEBUG", raising=False)
    monkeypatch.chdir(tmp_path)
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def call(*arguments: object) -> Told:
        monkeypatch.setattr(sys, "argv", ["harness", *map(str, arguments)])
        with pytest.raises(SystemExit) as stop:
            cli.main()
        return Told(stop.value.code, *capsys.readouterr())

    yield call
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture
def refuses(
    harness: Harness, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., str]:
    """The one sentence that a command ends with; the disk is as it was, and nothing ran."""

    def ran(*_: object) -> None:
        pytest.fail("the experiment began")

    monkeypatch.setattr(Folder, "ensure", ran)

    def call(*arguments: object) -> str:
        before = disk(tmp_path)
        told = harness(*arguments)
        assert told.code == 1, told
        assert told.out == ""
        (line,) = told.err.splitlines()
        assert line.startswith("harness: ")
        assert line.endswith((".", "?"))
        assert "Traceback" not in line
        assert disk(tmp_path) == before
        return line.removeprefix("harness: ")

    return call


def disk(folder: Path) -> dict[str, bytes | None]:
    """All that lies in a folder; the bytecode of a user's own file is Python's business."""
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None
        for path in folder.rglob("*")
        if "__pycache__" not in path.parts
    }


def line(*arguments: object, method: str = "dno") -> list[object]:
    return ["run", "--method", method, "--preset", "tiny", "--iters", 2, *arguments]


def rows(count: int) -> list[dict[str, Any]]:
    return [{"id": f"p{i}", "prompt": f"Say {i}.", "gold": f"It is {i}."} for i in range(count)]


def jsonl(path: str, *made: Any) -> str:
    Path(path).write_text("".join(json.dumps(row) + "\n" for row in made), "utf-8")
    return path


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
        (["report"], ["runs"]),
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

METHOD = '''
from dataclasses import dataclass
from harness.types import Hyper, Plan
from trainers import rules

@dataclass(frozen=True)
class Mine:
    """A method of my own."""
    margin: float = 0.25
    samples: int = 2
    name = "mine"
    paper = "mine, 2025"
    defaults = Hyper(epochs=3)

    def plan(self, iteration, iterations):
        return Plan(samples=self.samples, sampler="previous", gold=False, judge="compare")

    def examples(self, group, rng):
        return rules.best_worst(group)

    def loss(self, policy, references, batch):
        raise NotImplementedError
'''
JUDGE = '''
class Loud:
    """Prefers exclamation marks."""
    identity = "loud-1"
    reference_based = False

    def compare(self, matches):
        from harness.types import Verdict
        for m in matches:
            a, b = m.a.text.count("!") + 1, m.b.text.count("!") + 1
            yield Verdict(m.id, a / (a + b), self.identity)
'''


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


# --- good paths -------------------------------------------------------------------------------


def plan(harness: Harness, *arguments: object, method: str = "dno") -> Any:
    """`harness plan --json`, which must leave the disk as it is."""
    before = disk(Path())
    told = harness("plan", *line(*arguments, method=method)[1:], "--json").json
    assert disk(Path()) == before
    return told


def test_a_plan_says_what_a_run_would_do(harness: Harness) -> None:
    told = plan(harness)
    assert told["train_judge"] == told["eval_judge"] == OfflineJudge().identity
    assert told["opponent"] == "the reference answers"
    assert [s["stage"] for s in told["stages"] if s["iteration"] == 0] == [
        *("outputs", "validation", "scores"),
    ]
    assert [s["stage"] for s in told["stages"] if s["iteration"] == 2] == [
        *("samples", "verdicts", "examples", "train"),
        *("outputs", "validation", "drift", "scores"),
    ]
    # 6 prompts, 3 samples each; with the gold answer 4 candidates, so 6 comparisons a prompt
    counts = {s["stage"]: s for s in told["stages"] if s["iteration"] == 1}
    assert counts["samples"]["completions"] == 18
    assert counts["verdicts"]["judgements"] == 36
    assert counts["outputs"]["completions"] == 12
    # against gold and the start; and three controls to each prompt, since these are fewer than 32
    assert counts["scores"]["judgements"] == 2 * 12 + 3 * 12
    assert not any(stage["done"] for stage in told["stages"])
    assert told["to_do"]["stages"] == len(told["stages"]) == 19
    assert told["to_do"]["completions"] == sum(s["completions"] for s in told["stages"])


def test_a_score_judge_is_asked_once_a_candidate(harness: Harness) -> None:
    told = plan(harness, "--judge", "hashed", "--eval-judge", "longer")
    assert (told["train_judge"], told["eval_judge"]) == ("hashed-1", "longer-1")
    verdicts = next(s for s in told["stages"] if s["stage"] == "verdicts")
    assert verdicts["judgements"] == 6 * 4
    assert told["opponent"] == "the reference answers"


def test_the_plan_in_words_leaves_the_disk_as_it_is(harness: Harness) -> None:
    told = harness("plan", *line()[1:])
    assert (told.code, told.err) == (0, "")
    assert "dno on tiny: 2 iterations" in told.out
    assert "To do: 19 stages" in told.out
    assert disk(Path()) == {}


def test_a_plan_works_before_the_model_is_there(
    harness: Harness, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    home = tmp_path_factory.mktemp("empty")
    monkeypatch.setenv("HARNESS_HOME", str(home))
    assert plan(harness)["to_do"]["stages"] == 19
    assert disk(home) == {}


def test_default_preset_file_and_set_in_that_order(harness: Harness) -> None:
    Path("f.yaml").write_text("method: {beta: 0.2}\nseed: 4\nsampling: {top_p: 0.8}\n", "utf-8")
    sets = ("--set", "seed=5", "--set", "method.gold=false")
    told = plan(harness, "--config", "f.yaml", *sets)["config"]
    assert (told["settings"]["beta"], told["settings"]["gold"]) == (0.2, False)
    assert told["settings"]["samples"] == 3  # the preset's
    assert told["settings"]["score_gate"] == 5.0  # the method's
    assert (told["seed"], told["sampling"]["top_p"], told["sampling"]["temperature"]) == (
        5,
        0.8,
        0.7,
    )


def test_prompts_from_jsonl_and_parquet(harness: Harness) -> None:
    chats = [
        {"id": f"c{i}", "gold": "g", "messages": [{"role": "user", "content": f"Chat {i}"}]}
        for i in range(10)
    ]
    asked = [{"instruction": f"Do {i}.", "gold": "Done."} for i in range(10)]
    jsonl("train.jsonl", *rows(10), *asked, *chats)
    table = pyarrow.table({"prompt": [f"Eval {i}" for i in range(12)], "gold": ["g"] * 12})
    pyarrow.parquet.write_table(table, "eval.parquet")
    told = plan(
        harness, "--data", "train.jsonl", "--benchmark", "eval.parquet", "--eval-judge", "longer"
    )
    assert told["config"]["data"]["train"] == "train.jsonl"
    assert told["opponent"] == "the reference answers"
    assert "eval.parquet@" in harness(
        "plan", *line("--data", "train.jsonl", "--benchmark", "eval.parquet")[1:]
    ).out.replace("\n", "")


def test_own_method_and_own_judge_from_files(harness: Harness) -> None:
    Path("my.py").write_text(METHOD, "utf-8")
    Path("judges").mkdir()
    Path("judges", "loud.py").write_text(JUDGE, "utf-8")
    mine = ("--judge", "judges/loud.py:Loud", "--set", "method.margin=0.5")
    told = plan(harness, *mine, method="my.py:Mine")
    assert told["train_judge"] == told["eval_judge"] == "loud-1"
    assert told["config"]["settings"] == {"margin": 0.5, "samples": 3}  # the preset's samples
    assert told["config"]["train"]["epochs"] == 3  # the method's default
    verdicts = next(s for s in told["stages"] if s["stage"] == "verdicts")
    assert verdicts["judgements"] == 6 * 3


def test_methods_are_listed_with_plan_and_settings(harness: Harness) -> None:
    listed = {method["name"]: method for method in harness("methods", "--json").json}
    assert {"dno", "iterative-dpo", "offline-dpo", "self-rewarding", "sft"} <= set(listed)
    assert not any("error" in method for method in listed.values())
    assert listed["dno"]["settings"]["replay"] == [0.3, 0.15]
    assert listed["dno"]["plans"]["1"]["sampler"] == "previous"
    assert listed["self-rewarding"]["plans"]["1"] != listed["self-rewarding"]["plans"]["2"]
    told = harness("methods")
    assert (told.code, told.err) == (0, "")
    assert all(name in told.out for name in listed)


def test_a_plugin_that_does_not_load_is_listed_with_its_error(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("broken_plugin.py").write_text("1 / 0\n")
    Path("slotted_plugin.py").write_text(METHOD.replace("frozen=True", "frozen=True, slots=True"))
    monkeypatch.syspath_prepend(str(Path().absolute()))
    entry = registry.EntryPoint
    entries = [
        entry("broken", "broken_plugin:Mine", registry.METHODS),
        entry("mine", "slotted_plugin:Mine", registry.METHODS),
    ]
    monkeypatch.setattr(registry, "entry_points", lambda **_: entries)
    broken, mine = harness("methods", "--json").json
    assert broken["name"] == "broken"
    assert "does not load (ZeroDivisionError: division by zero)" in broken["error"]
    assert mine["settings"] == {"margin": 0.25, "samples": 2}
    assert "ZeroDivisionError" in harness("methods").out


def test_models_are_listed_with_their_place(harness: Harness, models_home: Path) -> None:
    listed = {model["name"]: model for model in harness("models", "list", "--json").json}
    tiny, small = listed["tiny"], listed["smollm2-135m"]
    assert tiny["present"]
    assert not small["present"]
    assert tiny["size"] > 0
    assert Path(tiny["where"]).is_relative_to(models_home)
    assert small["licence"] == "Apache-2.0"
    assert "smollm2-135m" in harness("models", "list").out
    told = harness("models", "pull", "tiny", "--quiet")
    assert (told.code, told.out.strip(), told.err) == (0, tiny["where"], "")


def test_every_command_has_a_help_with_an_example(harness: Harness) -> None:
    told = harness("--help")
    assert told.code == 0
    listed = ["run", "plan", "eval", "score", "compare", "methods", "board", "report"]
    for command in (*([name] for name in listed), ["models", "list"]):
        helped = harness(*command, "--help")
        assert helped.code == 0
        assert "Example: harness" in helped.out, command
        assert command[0] in told.out
    told_presets = harness("run", "--help").out
    assert all(name in told_presets for name in preset_names())
