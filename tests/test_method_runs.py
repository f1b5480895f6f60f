"""Every method, from samples to board, with the tiny model: two iterations under a judge that
compares; six under one that scores, in `make test-all`."""

from __future__ import annotations

import json
import math
from importlib.metadata import entry_points
from pathlib import Path

import pytest
from conftest import Command

METHODS = sorted(
    entry.name
    for entry in entry_points(group="harness.methods")
    if entry.dist and entry.dist.name == "posttrain-harness"
)
SCORER = '''
"""Scores by length on a scale of its own, and fails now and then."""
from harness.types import Score

class Ruler:
    identity = "ruler-1"
    reference_based = False
    scale = (1.0, 10.0)

    def score(self, groups):
        for group in groups:
            longest = max(len(c.text) for c in group.completions) or 1
            failed = len(group.prompt.instruction) % 7 == 0
            yield [
                Score(None, self.identity, "timeout")
                if failed
                else Score(1 + 9 * len(c.text) / longest, self.identity)
                for c in group.completions
            ]
'''


@pytest.fixture(scope="module")
def parent(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One folder for all, so that what methods share (iteration 0, samples) is made once."""
    return tmp_path_factory.mktemp("methods")


def check(run: Path, iterations: int) -> None:
    board = (run / "leaderboard.jsonl").read_text("utf-8").splitlines()
    assert [json.loads(row)["iteration"] for row in board] == list(range(iterations + 1))
    for t in range(1, iterations + 1):
        trained = json.loads((run / f"iter-{t}" / "train.json").read_text("utf-8"))
        assert trained["examples"] > 0
        assert trained["left_out"] == 0
        numbers = [*trained["after"].values()]
        for step in trained["steps"]:
            numbers += [step["loss"], step["grad_norm"], *step["diagnostics"].values()]
        assert all(math.isfinite(number) for number in numbers)
        before = run / f"iter-{t - 1}" / "policy" / "model.safetensors"
        after = run / f"iter-{t}" / "policy" / "model.safetensors"
        assert t == 1 or before.read_bytes() != after.read_bytes()
        validation = json.loads((run / f"iter-{t}" / "validation.json").read_text("utf-8"))
        assert validation["n"] + validation["n_failed"] == 4


@pytest.mark.parametrize("method", METHODS)
def test_two_iterations(command: Command, parent: Path, method: str) -> None:
    told = command.run(parent / method, "--judge", "longer", method=method).ok()
    assert "best iterate by longer-1 on validation prompts" in told.err
    check(parent / method, 2)


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_six_iterations_under_a_judge_that_scores(
    command: Command, parent: Path, method: str
) -> None:
    judge = parent / "ruler.py"
    judge.write_text(SCORER, "utf-8")
    out = parent / "six" / method
    command.run(out, "--iters", 6, "--judge", f"{judge}:Ruler", method=method).ok()
    check(out, 6)


# --- an iteration that learns nothing new -----------------------------------------------------

RARE = ("--iters", 3, "--judge", "reference")
"""Under this judge, which will not rank the gold answer by what it says, the teacher seldom wins:
in iteration 2 never."""


def test_without_a_new_example_an_iteration_lives_on_replay(command: Command, parent: Path) -> None:
    out = parent / "rare"
    done = command.run(out, *RARE, method="dno-restrictive").ok()
    made = json.loads((out / "iter-2" / "composition.json").read_text("utf-8"))
    assert (made["trained"], made["replayed"]) == ({}, 1)
    assert "; no new example: trained on 1 of earlier iterations\n" in done.err
    check(out, 3)


def test_without_any_example_the_policy_stays_as_it_was(command: Command, parent: Path) -> None:
    out = parent / "none"
    line = (*RARE, "--set", "method.replay=[]")
    done = command.run(out, *line, method="dno-restrictive", report=True).ok()
    assert "; no example: the policy stays as it was\n" in done.err
    assert "iteration 2 · generate" not in done.err
    before, after = (out / f"iter-{t}" / "policy" / "model.safetensors" for t in (1, 2))
    assert before.read_bytes() == after.read_bytes()
    scores = json.loads((out / "iter-2" / "scores.json").read_text("utf-8"))
    assert scores["vs_previous"]["by_construction"]
    made = json.loads((out / "iter-2" / "composition.json").read_text("utf-8"))
    assert made["unused_prompts"] == {"no pair passed the method's rule": 6}
    again = command.run(out, *line, method="dno-restrictive", report=True).ok()
    assert "train" not in again.err
    strict = (*RARE, "--set", "method.gold_win_rate=1.1")  # in the first iteration it is a mistake
    told = command.run(parent / "strict", *strict, method="dno-restrictive").sentence()
    assert "Iteration 1 of 'dno-restrictive' gave no example from 6 prompts (6 no pair" in told


def test_a_promised_improvement_is_logged_with_the_measured_one(
    command: Command, parent: Path
) -> None:
    out = parent / "promise"
    line = ("--iters", 1, "--judge", "longer", "--set", "method.eta=0.2")
    done = command.run(out, *line, method="dno-regression").ok()
    drift = json.loads((out / "iter-1" / "drift.json").read_text("utf-8"))
    assert drift["improvement_bound"] == 0.5 + 0.2 * drift["kl"]
    assert f"(an exact update: at least {100 * drift['improvement_bound']:.1f})" in done.err
    other = json.loads((parent / "none" / "iter-1" / "drift.json").read_text("utf-8"))
    assert other["improvement_bound"] is None
