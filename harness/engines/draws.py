"""Which token comes next: random streams that belong to a completion, and exact filtered draws."""

from __future__ import annotations

import hashlib
import json

import numpy as np
import torch
from torch import Tensor

_TOPS = (128, 4096)
"""How many of the likeliest tokens are sorted first, and for the rows that these do not decide.
Without a top-p the first decide nearly every draw, and the second nearly all the others."""


def stream(seed: int, prompt_id: str, sample: int) -> int:
    """The completion's own stream of random numbers, as a key of 128 bits."""
    name = json.dumps([seed, prompt_id, sample]).encode()
    return int.from_bytes(hashlib.sha256(name).digest()[:16], "little")


def uniforms(seed: int, prompt_id: str, sample: int, count: int) -> Tensor:
    """[count] float64 in [0, 1) of that stream; a longer one starts the same."""
    key = stream(seed, prompt_id, sample)
    return torch.from_numpy(np.random.Generator(np.random.Philox(key=key)).random(count))


def draw(logits: Tensor, uniform: Tensor, temperature: float, top_p: float) -> Tensor:
    """[rows] token ids from [rows, vocabulary] logits and [rows] float64 uniforms.

    Greedy at temperature 0. Else each row's uniform is looked up in the cumulative distribution
    of softmax(logits / temperature), its tokens in order of falling probability (equal ones by
    id), cut after the first token at which the sum reaches `top_p`. So a row's token depends on
    that row only, whatever else is in the batch.
    """
    if temperature == 0:
        return logits.argmax(-1)
    scaled = logits.float() / temperature
    total = scaled.logsumexp(-1, keepdim=True)
    tokens = torch.empty(len(scaled), dtype=torch.long, device=scaled.device)
    places = torch.arange(len(scaled), device=scaled.device)
    vocabulary = scaled.shape[-1]
    for count in (*(top for top in _TOPS if top < vocabulary), vocabulary):
        tokens[places], decided = _draw_among(count, scaled, total, uniform, top_p)
        rest = ~decided
        if not bool(rest.any()):
            break
        places, scaled, total, uniform = places[rest], scaled[rest], total[rest], uniform[rest]
    return tokens


def _draw_among(
    count: int, scaled: Tensor, total: Tensor, uniform: Tensor, top_p: float
) -> tuple[Tensor, Tensor]:
    """[rows] draws from each row's `count` likeliest tokens, and whether these decide them."""
    top, ids = scaled.topk(count, dim=-1)
    ids, order = ids.sort(dim=-1)  # topk leaves the order of equal logits open
    top, ids = _by_probability(top.gather(-1, order), ids)
    chosen, decided = _look_up((top - total).double().exp(), uniform, top_p)
    if count == scaled.shape[-1]:
        decided = torch.ones_like(decided)
    else:
        # Tokens equal to the last one may have been left out of the top, and sort before it by id.
        decided &= top.gather(-1, chosen[:, None])[:, 0] > top[:, -1]
    return ids.gather(-1, chosen[:, None])[:, 0], decided


def _by_probability(values: Tensor, ids: Tensor) -> tuple[Tensor, Tensor]:
    """Both [rows, n] in order of falling value; equal values stay in the order they came in."""
    values, order = values.sort(dim=-1, descending=True, stable=True)
    return values, ids.gather(-1, order)


def _look_up(probabilities: Tensor, uniform: Tensor, top_p: float) -> tuple[Tensor, Tensor]:
    """[rows] chosen positions in sorted [rows, n] probabilities, and whether n sufficed.

    The n tokens suffice for a row when the nucleus ends inside them, or, at top_p 1, when the
    uniform falls inside them.
    """
    cumulative = probabilities.cumsum(-1)
    if top_p < 1:
        reached = cumulative >= top_p
        last = torch.where(reached.any(-1), reached.int().argmax(-1), probabilities.shape[-1] - 1)
        mass = cumulative.gather(-1, last[:, None])[:, 0]
        decided = reached.any(-1)
    else:
        last = torch.full_like(uniform, probabilities.shape[-1] - 1, dtype=torch.long)
        mass = torch.ones_like(uniform)
        decided = uniform < cumulative[:, -1]
    target = (uniform * mass)[:, None]
    # Rounding can leave the target at or past the end; the last kept token takes it.
    chosen = torch.minimum((cumulative <= target).sum(-1), last)
    return chosen, decided
