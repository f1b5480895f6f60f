"""The train stage: what it takes from the store, and by how many processes."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from conftest import Command
from small_training import SETTINGS

from harness.config import RunConfig
from harness.models import tiny
from harness.policy import Policy
from harness.stages.training import logprobs_stage, read_logprobs
from harness.store import Stage, Store
from harness.training.references import policy_logprobs
from harness.training.train import TrainSettings, encoded
from harness.types import Completion, Example, Message, Pair, Prompt


def pairs(count: int) -> list[Example]:
    words = [*"abcdefgh"]
    return [
        Pair(
            Prompt(f"p{i}", (Message("user", " ".join(words[i:])),)),
            *(Completion(f"p{i}", side, " ".join(words[side : side + 3 + i])) for side in (0, 1)),
            chosen_value=1.0,
            rejected_value=0.0,
        )
        for i in range(count)
    ]


def test_a_reference_is_measured_once_for_the_same_weights_and_rows(tmp_path: Path) -> None:
    """Trainings that differ in method, rate or steps share it; other weights or rows do not."""
    start = tmp_path / "tiny"
    start.mkdir()
    tiny.build(start, lambda _line: None)
    store = Store(tmp_path / "store", {})
    policy = Policy(start, "its digest")
    config = RunConfig(method="dno")

    def stage(
        policy: Policy, count: int = 4, mismatched: bool = False, settings: TrainSettings = SETTINGS
    ) -> Stage:
        return logprobs_stage(config, policy, pairs(count), settings, mismatched)

    artifact, computed = store.ensure(stage(policy))
    assert computed
    found = read_logprobs(artifact)
    expected = policy_logprobs(start, encoded(start, pairs(4), mismatched=False), SETTINGS)
    assert torch.equal(found.sums, expected.sums)
    assert torch.equal(found.lengths, expected.lengths)
    assert found.mismatched is None
    other = replace(SETTINGS, learning_rate=1.0, batch_size=1, micro_batch_tokens=100)
    again, computed = store.ensure(stage(policy, settings=other))
    assert not computed
    assert again == artifact
    for different in (
        stage(Policy(start, "another digest")),
        stage(policy, count=3),
        stage(policy, mismatched=True),
    ):
        measured, computed = store.ensure(different)
        assert computed
    mismatched = read_logprobs(measured).mismatched
    assert mismatched is not None
    assert len(mismatched) == 8
    assert mismatched.isfinite().all()


@pytest.mark.slow
def test_a_run_by_two_processes(command: Command, reference: Path, tmp_path: Path) -> None:
    """The same losses as the undisturbed run by one."""
    out = tmp_path / "dno"
    command.run(out, "--iters", 1, "--set", "train.processes=2").ok()
    one, two = (
        json.loads((run / "iter-1" / "train.json").read_text("utf-8"))["steps"]
        for run in (reference, out)
    )
    assert [step["loss"] for step in two] == pytest.approx([step["loss"] for step in one], abs=1e-4)
