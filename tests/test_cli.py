"""The command line as a user meets it: what it says where all is well."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest
from in_process import JUDGE, METHOD, Harness, disk, jsonl, line, rows

from harness import registry
from harness.config import preset_names
from harness.judges.offline.judge import OfflineJudge


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


def test_the_version_is_the_package_s(harness: Harness) -> None:
    told = harness("--version")
    assert (told.code, told.out, told.err) == (0, f"harness {version('posttrain-harness')}\n", "")


def test_presets_are_named_in_the_help(harness: Harness) -> None:
    told = harness("run", "--help").out
    assert all(name in told for name in preset_names())
