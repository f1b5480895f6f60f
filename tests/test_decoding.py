"""Continuous batching: rows join and leave a batch, and their answers do not show it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import pytest
import torch

from harness.engines import decoding
from harness.engines.transformers import TransformersEngine
from harness.errors import HarnessError
from harness.types import Completion, Message, Prompt, SampleSpec

pytestmark = pytest.mark.usefixtures("one_thread")

SPEC = SampleSpec(samples=3, temperature=0.9, top_p=0.95, max_new_tokens=24, seed=3)
WORDS = ["sea", "bread", "wind", "rain", "list", "poem", "town", "frog"]
PROMPTS = [
    Prompt(f"p{n}", (Message("user", " ".join([str(n), *Random(n).choices(WORDS, k=n % 6 * 4)])),))
    for n in range(16)
]


@pytest.fixture(scope="module")
def engine(start: Path) -> TransformersEngine:
    return TransformersEngine.load(start, device="cpu", batch_size=9)


def seen(engine: TransformersEngine) -> tuple[list[Completion], list[tuple[int, int, int]]]:
    """The completions, and of each forward pass its rows, new tokens a row, and places seen."""
    passes: list[tuple[int, int, int]] = []

    def look(_module: Any, _args: Any, kwargs: dict[str, Any]) -> None:
        rows, new = kwargs["input_ids"].shape
        passes.append((rows, new, kwargs["attention_mask"].shape[1]))

    hook = engine._loaded().register_forward_pre_hook(look, with_kwargs=True)
    try:
        return list(engine.sample(PROMPTS, SPEC)), passes
    finally:
        hook.remove()


def alone(engine: TransformersEngine) -> Iterator[Completion]:
    """Each prompt in a batch of its own."""
    for prompt in PROMPTS:
        yield from engine.sample([prompt], SPEC)


def key(completion: Completion) -> tuple[str, int]:
    return completion.prompt_id, completion.sample


@pytest.mark.parametrize("slack", [1, 7])
def test_others_take_the_places_of_finished_rows(
    engine: TransformersEngine, monkeypatch: pytest.MonkeyPatch, slack: int
) -> None:
    """With little slack what is in the cache often moves to its front."""
    monkeypatch.setattr(decoding, "_SLACK", slack)
    found, passes = seen(engine)
    assert sorted(found, key=key) == sorted(alone(engine), key=key)
    prefills = [rows for rows, new, _ in passes if new > 1]
    steps = [(rows, places) for rows, new, places in passes if new == 1]
    assert sum(prefills) == len(PROMPTS)  # each is read once for its three samples
    assert len(prefills) > 5
    assert max(rows for rows, _ in steps) == 9
    longest = max(len(engine.chat.prompt_ids(prompt)) for prompt in PROMPTS)
    assert max(places for _, places in steps) <= longest + SPEC.max_new_tokens
    assert {completion.finish_reason for completion in found} == {"stop", "length"}
    # As long as anyone waits, the batch is nearly full.
    last = max(number for number, (_, new, _) in enumerate(passes) if new > 1)
    busy = [rows for rows, new, _ in passes[:last] if new == 1]
    assert sum(busy) > 0.75 * 9 * len(busy)


def test_more_samples_than_places(engine: TransformersEngine) -> None:
    spec = replace(SPEC, samples=30)
    found = sorted(engine.sample(PROMPTS[:2], spec), key=key)
    assert len(found) == 60
    few = sorted(engine.sample(PROMPTS[:2], replace(SPEC, samples=2)), key=key)
    assert [c for c in found if c.sample < 2] == few


def test_too_little_memory_halves_the_batch(
    engine: TransformersEngine, start: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is lost, nothing comes twice, and what comes is the same."""
    told: list[str] = []
    small = TransformersEngine.load(start, device="cpu", batch_size=9, say=told.append)
    model, memory = small._loaded(), 5
    forward = model.forward

    def limited(*args: Any, **kwargs: Any) -> Any:
        if kwargs["input_ids"].shape[0] > memory:
            raise torch.OutOfMemoryError("out of memory")
        return forward(*args, **kwargs)

    monkeypatch.setattr(model, "forward", limited)
    assert sorted(small.sample(PROMPTS, SPEC), key=key) == sorted(alone(engine), key=key)
    assert [line.partition(" (")[0] for line in told] == [
        "out of memory: going on with 4 completions at a time"
    ]
    memory = 0
    with pytest.raises(HarnessError, match="too small for one completion of at most 24 tokens"):
        list(small.sample(PROMPTS, SPEC))
