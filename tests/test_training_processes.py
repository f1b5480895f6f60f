"""Several processes by `accelerate launch` (gloo): the losses, and the policy, of one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from small_training import SETTINGS as BASE

from harness.config import LoraConfig
from harness.errors import HarnessError
from harness.models.load import load_model
from harness.records import TrainStep
from harness.registry import settings_of
from harness.training.launch import MethodByName, measure_together, train_together
from harness.training.references import policy_logprobs
from harness.training.train import encoded, train
from harness.types import Completion, Example, Labelled, Message, Prompt
from trainers.kto import KTO

pytestmark = pytest.mark.slow

SETTINGS = replace(
    BASE, micro_batch_tokens=150, gradient_checkpointing=True, lora=LoraConfig(r=4, alpha=8)
)


BREAKS = Path(__file__).parent / "breaking_method.py"


def examples(count: int) -> list[Example]:
    """Two answers a prompt; with nine and steps of eight, the last step has one example."""
    text = "the sea wind bread water answer is a long short river planet rings first"
    words = text.split()
    return [
        Labelled(
            Prompt(f"p{i // 2}", (Message("user", " ".join(words[: 3 + i // 2])),)),
            Completion(f"p{i // 2}", i % 2, " ".join(words[i : i + 4 + i % 3])),
            desirable=i % 2 == 0,
        )
        for i in range(count)
    ]


def test_two_processes_are_one(start: Path, tmp_path: Path) -> None:
    """KTO, with its answers to other prompts: everything that a step needs of all its examples."""
    some, method = examples(9), KTO()
    data = encoded(start, some, mismatched=True)
    known = policy_logprobs(start, data, SETTINGS)
    together = measure_together(2, start, some, SETTINGS, mismatched=True)
    torch.testing.assert_close(together.sums, known.sums, atol=1e-4, rtol=0)
    torch.testing.assert_close(together.mismatched, known.mismatched, atol=1e-4, rtol=0)
    seen: list[tuple[int, int]] = []

    def on_step(step: TrainStep, total: int) -> None:
        seen.append((step.step, total))

    by_name = MethodByName("kto", settings_of(method))
    for lora in (SETTINGS.lora, None):
        settings = replace(SETTINGS, lora=lora, gradient_checkpointing=lora is not None)
        one = train(
            start=start, references={"initial": known}, examples=some, method=method,
            settings=settings, out=tmp_path / f"one{lora}", on_step=lambda _s, _t: None,
            say=pytest.fail, mismatched=True,
        )  # fmt: skip
        seen.clear()
        two = train_together(
            2, start=start, references={"initial": known}, examples=some, method=by_name,
            settings=settings, out=tmp_path / f"two{lora}", on_step=on_step,
            say=pytest.fail, mismatched=True,
        )  # fmt: skip
        assert seen == [(number, 4) for number in range(1, 5)]
        assert one.tokens == two.tokens
        for mine, its in zip(two.steps, one.steps, strict=True):
            assert mine.loss == pytest.approx(its.loss, abs=1e-5)
            assert mine.grad_norm == pytest.approx(its.grad_norm, rel=1e-3)
            assert mine.learning_rate == its.learning_rate
            for name, value in its.diagnostics.items():
                assert mine.diagnostics[name] == pytest.approx(value, abs=1e-3)
        assert two.after == pytest.approx(dict(one.after), abs=1e-3)
        policies = [
            load_model(tmp_path / f"{n}{lora}", torch.device("cpu")) for n in ("one", "two")
        ]
        for mine, its in zip(*(policy.parameters() for policy in policies), strict=True):
            torch.testing.assert_close(mine, its, atol=5e-4, rtol=1e-3)


def test_what_a_process_has_to_say_is_heard(start: Path, tmp_path: Path) -> None:
    """Only one of the two meets the bad example."""
    bad = Labelled(
        Prompt("bad", (Message("user", "sea"),)), Completion("bad", 0, "", token_ids=(9, 8)), True
    )

    def fails(settings: Mapping[str, bool], message: str) -> None:
        with pytest.raises(HarnessError, match=message):
            train_together(
                2, start=start, references={}, examples=[*examples(4), bad],
                method=MethodByName(f"{BREAKS}:Breaks", settings),
                settings=replace(SETTINGS, epochs=1, micro_batch_tokens=1), out=tmp_path / "out",
                on_step=lambda _step, _total: None, say=pytest.fail,
            )  # fmt: skip
        assert not list(tmp_path.iterdir())

    fails({}, r"the loss of step 1 of 1 is nan, on the prompts 'bad'")
    fails({"crash": True}, r"ended without a word .*train\.processes=1")
