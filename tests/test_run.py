"""`harness run` and `plan` through the command: what repeats, what may change, what is shared."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from conftest import Command, contents, differing, rows, run_line, state
from filelock import FileLock

# Log-probs of one batch size and another differ by rounding, and a draw at temperature 1 that is
# within 2e-7 of the next token (seed 0, 'train-149', sample 1) differs with them.
DRIFT = [f"iter-{t}/drift.{kind}" for t in (1, 2, 3) for kind in ("json", "jsonl")]


@pytest.fixture(scope="module")
def three(command: Command, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three iterations in one go, in another folder, sampled one completion at a time."""
    out = tmp_path_factory.mktemp("three") / "dno"
    command.run(out, "--iters", 3, "--set", "sampling.batch_size=1").ok()
    return out


def test_a_finished_run_repeated_does_nothing(command: Command, reference: Path) -> None:
    """By the real console script: not one file touched, JSON alone on stdout."""
    before = state(reference.parent)
    script = Path(sys.executable).with_name("harness")
    done = subprocess.run(
        [script, *map(str, run_line(reference, "--json"))],
        capture_output=True,
        text=True,
        env={"HARNESS_HOME": str(command.home), "PATH": "/usr/bin:/bin"},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["run"] == str(reference)
    assert sorted(row["iteration"] for row in told["boards"][0]["rows"]) == [0, 1, 2]
    assert state(reference.parent) == before
    quiet = command.run(reference, "--quiet").ok()
    assert (quiet.out, quiet.err) == ("", "")
    # what costs nothing to change: batches; fewer iterations are no wish to lose some
    command.run(reference, "--iters", 1, "--quiet").ok()
    assert state(reference.parent) == before


def test_same_seed_same_bytes_other_seed_other_samples(
    command: Command, reference: Path, three: Path, tmp_path: Path
) -> None:
    """…in another folder and whatever the batch size; drift alone may round otherwise."""
    ours, theirs = contents(reference), contents(three)
    unequal = {name for name, data in ours.items() if theirs[name] != data}
    assert unequal <= set(DRIFT)
    for t in (1, 2):
        drifts = [rows(run / f"iter-{t}" / "drift.jsonl") for run in (reference, three)]
        assert sum(a == b for a, b in zip(*drifts, strict=True)) >= 7

    command.run(tmp_path / "dno", "--iters", 1, "--seed", 7).ok()
    first = "iter-1/samples.jsonl"
    ids, other_ids = (
        {row["prompt_id"] for row in rows(run / first)} for run in (reference, tmp_path / "dno")
    )
    assert ids != other_ids
    # greedy outputs of the same weights are the same whatever the seed
    start = "iter-0/outputs.json"
    assert (tmp_path / "dno" / start).read_bytes() == (reference / start).read_bytes()


def test_batches_and_more_iterations_are_welcome(
    command: Command, reference_copy: Path, three: Path
) -> None:
    """Nothing finished is touched; iteration 3 is as if it had been asked for at once; board and
    report know of it although the command died between the last score and them."""
    run = reference_copy
    before = state(run.parent / ".store", *run.glob("iter-*"))
    page = run / "report" / "index.html"
    first_page = page.read_bytes()
    batches = ("--set", "sampling.batch_size=5", "--set", "train.micro_batch_tokens=200")
    command.run(run, *batches).ok()
    assert state(run.parent / ".store", *run.glob("iter-*")) == before
    sampling = json.loads((run / "run.json").read_text("utf-8"))["config"]["sampling"]
    assert sampling["batch_size"] == 5

    dies = """
import os
from harness import app
write = app.write_board
def dies(path):
    if (path / "iter-3" / "scores.manifest.json").exists():
        os.kill(os.getpid(), 9)
    return write(path)
app.write_board = dies
"""
    assert command.run(run, "--iters", 3, prelude=dies).code == -9
    command.run(run, "--iters", 3, report=True).ok()
    after = state(run.parent)
    folders = {str(run.parent / ".store")}  # gained entries
    assert {k: v for k, v in before.items() if after[k] != v}.keys() <= folders
    assert set(differing(run, three)) <= set(DRIFT)
    assert [row["iteration"] for row in rows(run / "leaderboard.jsonl")] == [0, 1, 2, 3]
    assert page.read_bytes() != first_page
    command.run(run, "--iters", 3).ok()
    assert state(run.parent) == after

    # A run whose every new stage another one computed has news for board and report too.
    other = run.with_name("other")
    command.run(other).ok()
    short = (other / "report" / "index.html").read_bytes()
    command.run(other, "--iters", 3, report=True).ok()
    assert len(rows(other / "leaderboard.jsonl")) == 4
    assert (other / "report" / "index.html").read_bytes() != short


@pytest.mark.parametrize(
    ("change", "field", "values"),
    [
        (("--seed", 3), "seed", ("0", "3")),
        (("--set", "method.beta=0.25"), "method.beta", ("0.1", "0.25")),
        (("--set", "benchmark.prompts=11"), "benchmark.prompts", ("12", "11")),
        (("--judge", "longer"), "judge.train", ("offline", "longer")),
    ],
)
def test_a_changed_setting_is_refused_by_name(
    command: Command, reference: Path, change: tuple[object, ...], field: str, values: list[str]
) -> None:
    before = state(reference.parent)
    told = command.run(reference, *change).sentence()
    assert f" {field} = {values[0]}, now it is {values[1]};" in told
    assert "--fork" in told
    assert state(reference.parent) == before


def test_a_fork_takes_what_is_equal_and_leaves_the_rest(
    command: Command, reference: Path, tmp_path: Path
) -> None:
    """Into another store: links where the inputs are the same, new work from the first change."""
    before = state(reference.parent)
    fork = tmp_path / "elsewhere" / "fork"
    line = ("--fork", fork, "--set", "method.beta=0.25")
    plan = command.plan(reference, *line)
    assert not fork.parent.exists()
    command.run(reference, *line).ok()
    assert state(reference.parent) == before
    equal = ("iter-0/outputs.jsonl", "iter-0/scores.json", "iter-1/samples.jsonl",
             "iter-1/verdicts.jsonl")  # fmt: skip
    for name in equal:
        assert (fork / name).samefile(reference / name), name
    assert [(s["iteration"], s["stage"]) for s in plan["stages"] if s["done"]] == [
        (0, "outputs"), (0, "validation"), (0, "scores"), (1, "samples"), (1, "verdicts"),
    ]  # fmt: skip
    weights = "iter-1/policy/model.safetensors"
    assert (fork / weights).read_bytes() != (reference / weights).read_bytes()
    # the fork is a run of its own: its command resumes it, and finds nothing to do
    after = state(fork.parent)
    command.run(fork, "--set", "method.beta=0.25").ok()
    assert state(fork.parent) == after


def test_the_second_of_two_processes_is_told_to_wait(
    command: Command, reference: Path, tmp_path: Path
) -> None:
    new = tmp_path / "new"  # as young as can be: a lock and nothing else
    new.mkdir()
    for run in (reference, new):
        lock = FileLock(run / ".lock")
        with lock:
            before = state(run.parent)
            told = command.run(run).sentence()
            assert told.startswith(f"Another process is working on {run};")
            assert state(run.parent) == before


def test_controls_stand_beside_every_score(command: Command, tmp_path: Path) -> None:
    """Where a policy is its own opponent its rate is no measurement, but its controls' are."""
    run = tmp_path / "runs" / "dno"
    command.run(run, "--judge", "reference").ok()
    for t in (0, 1, 2):
        controls = json.loads((run / f"iter-{t}" / "controls.json").read_text("utf-8"))
        scores = json.loads((run / f"iter-{t}" / "scores.json").read_text("utf-8"))
        assert controls["own"] == scores["win_rate"]  # all twelve prompts are in the sample
        assert bool(controls["own"]["by_construction"]) is (t == 0)
        assert controls["opponent"] == "iteration 0 (tiny)"
        for control in controls["controls"]:
            rate = control["win_rate"]
            assert (rate["n"], rate["by_construction"]) == (12, None)
            gap = rate["value"] - controls["own"]["value"]
            assert control["vs_own"]["value"] == pytest.approx(gap)


def test_replay_brings_back_own_new_examples_of_the_last_two(three: Path) -> None:
    """DNO: 30% of t-1's and 15% of t-2's own new examples, and never what they had replayed."""

    def example(row: dict[str, object]) -> str:
        return json.dumps(row["example"], sort_keys=True)

    own: dict[int, set[str]] = {}
    for t in (1, 2, 3):
        made = rows(three / f"iter-{t}" / "examples.jsonl")
        ages = Counter(t - row["example"]["iteration"] for row in made)
        own[t] = {example(row) for row in made if row["example"]["iteration"] == t}
        assert len(own[t]) == ages[0]
        assert 0 < ages[0] <= 16
        expected = {
            age: round(share * len(own[t - age]))
            for age, share in ((1, 0.30), (2, 0.15))
            if t - age > 0
        }
        assert all(expected.values()), expected
        assert {age: count for age, count in ages.items() if age} == expected
        for row in made:
            made_in = row["example"]["iteration"]
            assert example(row) in own[made_in]
        composition = json.loads((three / f"iter-{t}" / "composition.json").read_text("utf-8"))
        assert composition["replayed"] == sum(expected.values())
        assert sum(composition["trained"].values()) == ages[0]


@pytest.fixture(scope="module")
def family(
    command: Command, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, dict[str, Any]]:
    """Runs of five methods beside each other, and what `plan` said of each before it ran."""
    parent = tmp_path_factory.mktemp("family")
    plans = {}
    for method, iterations in (
        ("sft", 1), ("dno", 1), ("iterative-dpo", 1), ("offline-dpo", 2), ("self-rewarding", 2),
    ):  # fmt: skip
        empty = state(parent)
        out = parent / method
        plans[method] = command.plan(out, "--iters", iterations, method=method)
        assert state(parent) == empty
        command.run(out, "--iters", iterations, method=method).ok()
    return parent, plans


def test_methods_that_share_a_step_share_its_artefact(
    family: tuple[Path, dict[str, Any]],
) -> None:
    parent, plans = family

    def inodes(name: str, *methods: str) -> set[int]:
        return {(parent / method / name).stat().st_ino for method in methods}

    for name in ("iter-0/outputs.jsonl", "iter-0/scores.json", "iter-0/outputs.manifest.json"):
        assert len(inodes(name, *plans)) == 1, name
    for name in ("iter-1/samples.jsonl", "iter-1/samples.manifest.json"):
        assert len(inodes(name, "dno", "iterative-dpo", "offline-dpo")) == 1, name
    # DNO's pool holds the gold answer, iterative DPO's does not
    assert len(inodes("iter-1/verdicts.jsonl", "dno", "iterative-dpo")) == 2
    assert len(inodes("iter-1/policy/model.safetensors", *plans)) == len(plans)


def test_plan_counts_what_the_run_then_does(
    command: Command,
    family: tuple[Path, dict[str, Any]],
    reference: Path,
    tmp_path: Path,
) -> None:
    parent, plans = family
    plans = {**plans, "reference": command.plan(tmp_path / "new" / "dno")}
    assert not (tmp_path / "new").exists()
    assert all(not stage["done"] for stage in plans["reference"]["stages"])
    files = {
        "outputs": "outputs.jsonl", "drift": "drift.jsonl", "samples": "samples.jsonl",
        "verdicts": "verdicts.jsonl", "scores": "matches.jsonl", "validation": "validation.jsonl",
    }  # fmt: skip
    for name, plan in plans.items():
        run = reference if name == "reference" else parent / name
        for stage in plan["stages"]:
            folder = run / f"iter-{stage['iteration']}"
            assert (folder / f"{stage['stage']}.manifest.json").exists(), (name, stage)
            if stage["stage"] == "train":
                steps = len(json.loads((folder / "train.json").read_text("utf-8"))["steps"])
                assert steps <= stage["steps"]
            counted = stage["completions"] + stage["judgements"]
            file = files.get(stage["stage"])
            there = len(rows(folder / file)) if file else 0
            if stage["stage"] == "validation" and stage["iteration"]:
                there += len(rows(folder / "validation-matches.jsonl"))
            assert counted == there, (name, stage)
    for plan in (plans["sft"], plans["dno"]):
        stages = plan["stages"]
        todo = [s for s in stages if not s["done"]]
        assert plan["to_do"]["completions"] == sum(s["completions"] for s in todo)
    # iteration 0 is there once one method has it
    assert sum(s["done"] for s in plans["sft"]["stages"]) == 0
    assert sum(s["done"] for s in plans["dno"]["stages"]) == 3

    before = state(reference.parent)
    again = command.plan(reference)
    assert all(stage["done"] for stage in again["stages"])
    assert set(again["to_do"].values()) == {0}
    assert "would do nothing" in command("plan", *run_line(reference)[1:]).ok().out
    longer = command.plan(reference, "--iters", 3)
    assert {s["iteration"] for s in longer["stages"] if not s["done"]} == {3}
    assert state(reference.parent) == before
