"""Ten steps are those of TRL's DPOTrainer."""

from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from small_training import CPU, SETTINGS, pairs, run

from harness.models.chat import ChatTokenizer
from harness.models.load import load_model
from harness.training.batches import schedule
from harness.training.train import TrainSettings
from harness.types import (
    Completion,
    Example,
    Method,
    Pair,
)
from trainers.dno import DNO
from trainers.ipo import IPO

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.mark.parametrize(
    ("method", "loss_type", "beta"),
    # TRL's ipo averages over tokens, and its β is τ
    [(DNO(), "sigmoid", DNO().beta), (IPO(averaged=True), "ipo", IPO().tau)],
    ids=["dpo", "ipo"],
)
def test_ten_steps_equal_trl(
    start: Path, tmp_path: Path, method: Method, loss_type: str, beta: float
) -> None:
    settings = replace(SETTINGS, batch_size=4, epochs=5, learning_rate=1e-4)
    examples = [like_trl(pair, ChatTokenizer.load(start)) for pair in pairs(8)]
    (reference,) = method.plan(1, 1).references
    ours = run(start, tmp_path / "out", examples, method, {reference: start}, settings)
    # TRL gets the very steps of ours, in order.
    order = [index for step in schedule(8, 4, 5, settings.seed) for index in step]
    again = [examples[i] for i in order]
    theirs = trl_losses(start, tmp_path / "trl", again, settings, loss_type, beta)
    # IPO's losses, 25 = 1/(2τ)² at first, have ten times the rounding of the log-probs in them.
    assert [step.loss for step in ours.steps] == pytest.approx(theirs, rel=3e-6, abs=1e-5)
    assert theirs[-1] < theirs[0] - 0.01


def like_trl(pair: Example, chat: ChatTokenizer) -> Example:
    """TRL also trains on what the template writes after the end of a turn: here a line break."""
    assert isinstance(pair, Pair)

    def longer(completion: Completion) -> Completion:
        ids = (*chat.completion_ids(completion), *chat.text_ids("\n"))
        return replace(completion, token_ids=ids)

    return replace(pair, chosen=longer(pair.chosen), rejected=longer(pair.rejected), weight=1.0)


def trl_losses(
    start: Path,
    folder: Path,
    examples: list[Example],
    settings: TrainSettings,
    loss_type: str,
    beta: float,
) -> list[float]:
    """The losses of TRL's DPOTrainer on consecutive batches of the examples."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # TRL's and its dependencies', not ours
        from datasets import Dataset
        from transformers import AutoTokenizer
        from trl import DPOConfig, DPOTrainer

        chat = [
            {
                "prompt": [{"role": "user", "content": pair.prompt.instruction}],
                "chosen": [{"role": "assistant", "content": pair.chosen.text}],
                "rejected": [{"role": "assistant", "content": pair.rejected.text}],
            }
            for pair in examples
            if isinstance(pair, Pair)
        ]
        trainer = DPOTrainer(
            model=load_model(start, CPU, torch.float32),
            ref_model=load_model(start, CPU, torch.float32),
            args=DPOConfig(
                output_dir=str(folder),
                loss_type=[loss_type],
                beta=beta,
                learning_rate=settings.learning_rate,
                per_device_train_batch_size=settings.batch_size,
                num_train_epochs=1,
                train_sampling_strategy="sequential",
                gradient_checkpointing=False,
                bf16=False,
                use_cpu=True,
                dataloader_pin_memory=False,
                logging_steps=1,
                save_strategy="no",
                report_to="none",
                disable_tqdm=True,
            ),
            train_dataset=Dataset.from_list(chat),
            processing_class=AutoTokenizer.from_pretrained(start),
        )
        trainer.train()
    return [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
