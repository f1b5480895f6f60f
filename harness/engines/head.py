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
    after: it is computed at once, while the logits are there. That in W needs what comes after,
    and so makes the logits once more."""

    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, weight: Tensor, bias: Tensor | None, targets: Tensor
    ) -> Tensor:
        used = weight.to(hidden.dtype)
        for_hidden, for_weight, *_ = ctx.needs_input_grad
        found = hidden.new_empty(len(targets), dtype=torch.float32)
        slopes = torch.empty_like(hidden) if for_hidden else None
        for part in _chunks(len(targets), len(weight)):
            chosen = targets[part, None]
            logps = _log_softmax(hidden[part], used, bias)
            found[part] = logps.gather(1, chosen)[:, 0]
            if slopes is not None:
                away = _away(logps, chosen).to(hidden.dtype)
                slopes[part] = product(away, used.t())
        ctx.save_for_backward(slopes, *((hidden, weight, bias, targets) if for_weight else ()))
        return found

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        slopes, *rest = ctx.saved_tensors
        grad = grads[0][:, None]
        d_hidden = None if slopes is None else slopes * grad.to(slopes.dtype)
        if not rest:
            return d_hidden, None, None, None
        hidden, weight, bias, targets = rest
        used = weight.to(hidden.dtype)
        d_weight = torch.zeros_like(weight)
        d_bias = None if bias is None else torch.zeros_like(bias)
        for part in _chunks(len(targets), len(weight)):
            away = _away(_log_softmax(hidden[part], used, bias), targets[part, None])
            away *= grad[part]
            d_weight += product(away.to(hidden.dtype).t(), hidden[part].t())
            if d_bias is not None:
                d_bias += away.sum(0)
        return d_hidden, d_weight, d_bias, None


def _log_softmax(hidden: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    logits = product(hidden, weight).float()
    if bias is not None:
        logits += bias
    return torch.log_softmax(logits, -1)


def _away(logps: Tensor, chosen: Tensor) -> Tensor:
    """d(log-prob of the chosen)/d(logits), in place of the log-probs [n, vocabulary]."""
    slope = logps.exp_().neg_()
    return slope.scatter_add_(1, chosen, slope.new_ones(chosen.shape))


def _chunks(count: int, vocabulary: int) -> list[slice]:
    size = max(1, _LOGITS // vocabulary)
    return [slice(start, start + size) for start in range(0, count, size)]
