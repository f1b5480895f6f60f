"""What the tests of training share: made-up examples, and a training of the tiny model on them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path
from random import Random

import pytest
import torch

from harness.engines.packing import Row
from harness.models.chat import ChatTokenizer
from harness.records import TrainStep, TrainSummary
from harness.training.batches import encode
from harness.training.references import policy_logprobs
from harness.training.train import TrainSettings, encoded, train
from harness.types import (
    Completion,
    Demo,
    Example,
    Labelled,
    LogProbs,
    Message,
    Method,
    Pair,
    Prompt,
)
from trainers.dno import DNO

CPU = torch.device("cpu")
SETTINGS = TrainSettings(
    learning_rate=1e-3,
    epochs=2,
    batch_size=8,
    micro_batch_tokens=2048,
    warmup=0.0,
    max_grad_norm=1.0,
    gradient_checkpointing=False,
    lora=None,
    seed=0,
    device="cpu",
)
TEXT = "the sea wind bread water answer is a long short river planet rings first then list"
WORDS = TEXT.split()


def prompt(number: int) -> Prompt:
    random = Random(number)
    text = " ".join(random.choices(WORDS, k=random.randint(2, 12)))
    return Prompt(f"p{number}", (Message("user", text),))


def completion(number: int, side: int) -> Completion:
    random = Random(f"{number}/{side}")
    text = " ".join(random.choices(WORDS, k=random.randint(1, 15)))
    return Completion(f"p{number}", side, text)


def pairs(count: int) -> list[Example]:
    return [
        Pair(prompt(i), completion(i, 0), completion(i, 1), 0.75, 0.25, weight=1 + i % 2)
        for i in range(count)
    ]


def demos(count: int) -> list[Example]:
    return [Demo(prompt(i), completion(i, 0)) for i in range(count)]


def labelled(count: int) -> list[Example]:
    """Two answers a prompt, one good and one bad."""
    return [
        Labelled(prompt(i // 2), completion(i // 2, i % 2), desirable=i % 2 == 0)
        for i in range(count)
    ]


def run(
    start: Path,
    out: Path,
    examples: list[Example],
    method: Method | None = None,
    references: Mapping[str, Path] | None = None,
    settings: TrainSettings = SETTINGS,
    mismatched: bool = False,
    on_step: Callable[[TrainStep, int], None] = lambda _step, _total: None,
    say: Callable[[str], None] = pytest.fail,
) -> TrainSummary:
    known: dict[str, LogProbs] = {}
    for name, path in ({"previous": start} if references is None else references).items():
        known[name] = policy_logprobs(path, encoded(start, examples, mismatched), settings)
    return train(
        start=start,
        references=known,
        examples=examples,
        method=DNO() if method is None else method,
        settings=settings,
        out=out,
        on_step=on_step,
        say=say,
        mismatched=mismatched,
    )


def digest(folder: Path) -> str:
    return hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()


def rows(start: Path, count: int) -> tuple[Row, ...]:
    return encode(pairs(count), ChatTokenizer.load(start), 2048).rows
