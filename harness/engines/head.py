"""Log-probs of given tokens from hidden states, with logits made in parts and never of them all."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from harness.models.linear import product

_LOGITS = 2**23
"""Logits made at a time (fp32: 32 MiB)."""
_KEPT = 2**27
"""Up to so many probabilities are kept from the forward to the backward pass (fp32: 512 MiB)."""


def target_logprobs(hidden: Tensor, weight: Tensor, bias: Tensor | None, targets: Tensor) -> Tensor:
    """log softmax(hidden · weightᵀ + bias) at `targets`: float32 [n] for hidden states [n, width],
    weight [vocabulary, width] and targets [n].

    Differentiable in `hidden` and `weight`. Logits are made in chunks, in autocast's type where
    that is on, and normalised in float32.
    """
    kind = hidden.device.type
    if torch.is_autocast_enabled(kind):
        hidden = hidden.to(torch.get_autocast_dtype(kind))
    if not torch.is_grad_enabled():  # else the function would prepare for a backward pass
        hidden, weight = hidden.detach(), weight.detach()
    found: Tensor = _TargetLogProbs.apply(hidden, weight, bias, targets)  # type: ignore[no-untyped-call]
    return found


class _TargetLogProbs(torch.autograd.Function):
    """A target's log-prob has the slope (1 at the target) − p in its logits, whatever comes after.
    The gradient in its hidden state is computed at once, while the logits are there, some tokens at
    a time. That in W needs what comes after: the slopes are kept for it or, where they are many,
    made once more, some of the vocabulary at a time."""

    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, weight: Tensor, bias: Tensor | None, targets: Tensor
    ) -> Tensor:
        used = weight.to(hidden.dtype)
        for_hidden, for_weight, *_ = ctx.needs_input_grad
        found = hidden.new_empty(len(targets), dtype=torch.float32)
        normalisers = torch.empty_like(found)
        d_hidden = torch.empty_like(hidden) if for_hidden else None
        kept = for_weight and len(targets) * len(weight) <= _KEPT
        slopes = hidden.new_empty(len(targets), len(weight)) if kept else None
        for part in _chunks(len(targets), len(weight)):
            chosen = targets[part, None]
            logits = _logits(hidden[part], used, bias)
            place = None if slopes is None else slopes[part]
            direct = place is not None and place.dtype == logits.dtype
            logps = torch.log_softmax(logits, -1, out=place if direct else None)
            found[part] = logps.gather(1, chosen)[:, 0]
            normalisers[part] = logits.gather(1, chosen)[:, 0] - found[part]
            if not (for_hidden or kept):
                continue
            slope = logps.exp_().neg_()
            slope.scatter_add_(1, chosen, slope.new_ones(chosen.shape))
            if d_hidden is not None:
                d_hidden[part] = product(slope.to(hidden.dtype), used.t())
            if place is not None and not direct:
                place.copy_(slope)
        rest = (hidden, weight, bias, targets, normalisers, slopes) if for_weight else ()
        ctx.save_for_backward(d_hidden, *rest)
        return found

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        d_hidden, *rest = ctx.saved_tensors
        grad = grads[0][:, None]
        d_hidden = None if d_hidden is None else d_hidden * grad.to(d_hidden.dtype)
        if not rest:
            return d_hidden, None, None, None
        hidden, weight, bias, targets, normalisers, slopes = rest
        right = (hidden * grad).to(hidden.dtype).t()
        if slopes is not None:
            d_bias = None if bias is None else grads[0] @ slopes.float()
            return d_hidden, product(slopes.t(), right).to(weight.dtype), d_bias, None
        d_weight = torch.empty_like(weight)
        d_bias = None if bias is None else torch.empty_like(bias)
        for part in _chunks(len(weight), len(targets)):
            some = None if bias is None else bias[part]
            logits = _logits(hidden, weight[part].to(hidden.dtype), some)
            slope = logits.sub_(normalisers[:, None]).exp_().neg_()
            inside = ((targets >= part.start) & (targets < part.stop)).nonzero()[:, 0]
            slope[inside, targets[inside] - part.start] += 1
            d_weight[part] = product(slope.to(hidden.dtype).t(), right)
            if d_bias is not None:
                d_bias[part] = grads[0] @ slope
        return d_hidden, d_weight, d_bias, None


def _logits(hidden: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    logits = product(hidden, weight).float()
    return logits if bias is None else logits.add_(bias)


def _chunks(count: int, width: int) -> list[slice]:
    """Parts of `count` rows of so many logits."""
    size = max(1, _LOGITS // max(1, width))
    return [slice(start, start + size) for start in range(0, count, size)]
