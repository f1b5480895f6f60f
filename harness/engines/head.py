"""Log-probs of given tokens from hidden states, without ever holding the logits of them all."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from harness.models.linear import product

_LOGITS = 2**23
"""Logits held at a time (fp32: 32 MiB)."""


def target_logprobs(hidden: Tensor, weight: Tensor, bias: Tensor | None, targets: Tensor) -> Tensor:
    """log softmax(hidden · weightᵀ + bias) at `targets`: float32 [n] for hidden states [n, width],
    weight [vocabulary, width] and targets [n].

    Differentiable in `hidden` and `weight`. Logits are made in chunks, in autocast's type where
    that is on, and normalised in float32.
    """
    kind = hidden.device.type
    if torch.is_autocast_enabled(kind):
        hidden = hidden.to(torch.get_autocast_dtype(kind))
    found: Tensor = _TargetLogProbs.apply(hidden, weight, bias, targets)  # type: ignore[no-untyped-call]
    return found


class _TargetLogProbs(torch.autograd.Function):
    """A target's log-prob has the gradient W[target] − Σ p·W in its hidden state, whatever comes
    after: it is computed at once, while the logits are there, some tokens at a time. That in W
    needs what comes after, and so makes the logits once more, some of the vocabulary at a time:
    each part of so large a matrix is then written once and never added to."""

    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, weight: Tensor, bias: Tensor | None, targets: Tensor
    ) -> Tensor:
        used = weight.to(hidden.dtype)
        for_hidden, for_weight, *_ = ctx.needs_input_grad
        found = hidden.new_empty(len(targets), dtype=torch.float32)
        normalisers = torch.empty_like(found)
        slopes = torch.empty_like(hidden) if for_hidden else None
        for part in _chunks(len(targets), len(weight)):
            chosen = targets[part, None]
            logits = _logits(hidden[part], used, bias)
            logps = torch.log_softmax(logits, -1)
            found[part] = logps.gather(1, chosen)[:, 0]
            normalisers[part] = logits.gather(1, chosen)[:, 0] - found[part]
            if slopes is not None:
                slope = logps.exp_().neg_()
                slope.scatter_add_(1, chosen, slope.new_ones(chosen.shape))
                slopes[part] = product(slope.to(hidden.dtype), used.t())
        rest = (hidden, weight, bias, targets, normalisers) if for_weight else ()
        ctx.save_for_backward(slopes, *rest)
        return found

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        slopes, *rest = ctx.saved_tensors
        grad = grads[0][:, None]
        d_hidden = None if slopes is None else slopes * grad.to(slopes.dtype)
        if not rest:
            return d_hidden, None, None, None
        hidden, weight, bias, targets, normalisers = rest
        d_weight = torch.empty_like(weight)
        d_bias = None if bias is None else torch.empty_like(bias)
        for part in _chunks(len(weight), len(targets)):
            some = None if bias is None else bias[part]
            logits = _logits(hidden, weight[part].to(hidden.dtype), some)
            away = logits.sub_(normalisers[:, None]).exp_().mul_(-grad)
            inside = ((targets >= part.start) & (targets < part.stop)).nonzero()[:, 0]
            away[inside, targets[inside] - part.start] += grad[inside, 0]
            d_weight[part] = product(away.to(hidden.dtype).t(), hidden.t())
            if d_bias is not None:
                d_bias[part] = away.sum(0)
        return d_hidden, d_weight, d_bias, None


def _logits(hidden: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    logits = product(hidden, weight).float()
    return logits if bias is None else logits.add_(bias)


def _chunks(count: int, width: int) -> list[slice]:
    """Parts of `count` rows of so many logits."""
    size = max(1, _LOGITS // max(1, width))
    return [slice(start, start + size) for start in range(0, count, size)]
