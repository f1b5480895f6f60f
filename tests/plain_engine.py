"""The plainest possible engine, a forward pass a token, and what engines beside it are asked."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from random import Random
from typing import Any

import numpy as np
import torch

from harness.engines.draws import uniforms
from harness.models.chat import ChatTokenizer
from harness.types import Completion, Message, Prompt, SampleSpec

SPEC = SampleSpec(samples=3, temperature=0.9, top_p=0.95, max_new_tokens=24, seed=7)
GREEDY = replace(SPEC, samples=1, temperature=0.0, top_p=1.0)
WORDS = ["sea", "bread", "wind", "rain", "list", "poem", "town", "frog"]


def prompt(number: int) -> Prompt:
    random = Random(number)
    words = random.choices(WORDS, k=1 + number % 5 * 3)
    return Prompt(f"p{number}", (Message("user", " ".join(words)),))


PROMPTS = [prompt(number) for number in range(7)]


def by_key(completions: Iterator[Completion]) -> dict[tuple[str, int], Completion]:
    found = list(completions)
    table = {(c.prompt_id, c.sample): c for c in found}
    assert len(table) == len(found)
    return table


@torch.inference_mode()
def next_probs(model: Any, ids: list[int]) -> list[float]:
    return model(torch.tensor([ids])).logits[0, -1].double().softmax(-1).tolist()


def nucleus(probs: list[float], temperature: float, top_p: float) -> list[tuple[int, float]]:
    """(token, probability) in order of falling probability, cut at top_p and renormalised."""
    heated = [p ** (1 / temperature) for p in probs]
    total = sum(heated)
    ranked = sorted(enumerate(p / total for p in heated), key=lambda pair: (-pair[1], pair[0]))
    kept: list[tuple[int, float]] = []
    mass = 0.0
    for token, p in ranked:
        if mass >= top_p:
            break
        kept.append((token, p))
        mass += p
    return [(token, p / mass) for token, p in kept]


def plainly(
    model: Any, chat: ChatTokenizer, prompt: Prompt, sample: int, spec: SampleSpec
) -> list[int]:
    """A completion's ids, each token from a forward pass over everything before it."""
    stream = uniforms(spec.seed, prompt.id, sample, spec.max_new_tokens).tolist()
    before, out = chat.prompt_ids(prompt), []
    for uniform in stream:
        probs = next_probs(model, before + out)
        if spec.temperature == 0:
            out.append(int(np.argmax(probs)))
        else:
            tokens, kept = zip(*nucleus(probs, spec.temperature, spec.top_p), strict=True)
            position = int((np.cumsum(kept) <= uniform).sum())
            out.append(tokens[min(position, len(tokens) - 1)])
        if out[-1] in chat.stop_ids:
            break
    return out
