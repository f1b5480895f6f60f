"""Attention over a pack of trees: each segment sees its prefix and, causally, itself.

No token meets one of another tree, and no score is computed that would be masked away, but for the
upper triangles of the segments themselves.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from harness.engines.packing import Segment
from harness.models.linear import onednn_serves, product


def tree_attention(
    query: Tensor, key: Tensor, value: Tensor, segments: Sequence[Segment], scale: float
) -> Tensor:
    """Queries [1, heads, tokens, dim], keys and values [1, groups, tokens, dim] of a pack to
    [1, tokens, heads, dim]; differentiable.

    In float32 on a CPU by oneDNN's products, whose backward pass takes half the time of torch's.
    """
    assert all(a.end == b.start for a, b in pairwise(segments))
    if onednn_serves(query, key):
        found: Tensor = _ByProducts.apply(query[0], key[0], value[0], segments, scale)  # type: ignore[no-untyped-call]
        return found[None]
    repeats = query.shape[1] // key.shape[1]
    key, value = (states.repeat_interleave(repeats, 1) for states in (key, value))
    parts = [
        scaled_dot_product_attention(
            query[:, :, s.start : s.end],
            _seen(key, s, 2),
            _seen(value, s, 2),
            attn_mask=_causal(s, query.device),
            scale=scale,
        )
        for s in segments
    ]
    return torch.cat(parts, 2).transpose(1, 2)


def _seen(states: Tensor, segment: Segment, dim: int) -> Tensor:
    """The states that a segment's tokens attend to: its prefix's, then its own."""
    prefix = segment.prefix_end - segment.prefix_start
    own = states.narrow(dim, segment.start, segment.end - segment.start)
    if prefix == 0:
        return own
    return torch.cat((states.narrow(dim, segment.prefix_start, prefix), own), dim)


def _causal(segment: Segment, device: torch.device) -> Tensor:
    """[own, prefix + own]: which of what it sees each of a segment's tokens may attend to."""
    own, prefix = segment.end - segment.start, segment.prefix_end - segment.prefix_start
    return torch.ones(own, prefix + own, dtype=torch.bool, device=device).tril(prefix)


class _ByProducts(torch.autograd.Function):
    """The same for [heads, tokens, dim] and [groups, tokens, dim], to [tokens, heads, dim].

    The query heads of a group stand in one matrix of more rows. Probabilities are computed again
    in the backward pass, so memory grows with the tokens and not with their square.
    """

    @staticmethod
    def forward(
        ctx: Any, query: Tensor, key: Tensor, value: Tensor, segments: Sequence[Segment],
        scale: float,
    ) -> Tensor:  # fmt: skip
        heads, tokens, dim = query.shape
        groups = key.shape[0]
        out = query.new_empty(tokens, groups, heads // groups, value.shape[-1])
        for s in segments:
            above = _above(s, heads // groups, query)
            for g, (q, k, v) in enumerate(_groups(query, key, value, s)):
                mixed = product(_probabilities(q, k, above, scale), v.t())
                out[s.start : s.end, g] = mixed.view(heads // groups, -1, dim).transpose(0, 1)
        ctx.save_for_backward(query, key, value)
        ctx.segments, ctx.scale = segments, scale
        return out.flatten(1, 2)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        query, key, value = ctx.saved_tensors
        heads, tokens, dim = query.shape
        groups = key.shape[0]
        grad = grads[0].view(tokens, groups, heads // groups, -1)
        # In memory [tokens, heads, dim], as the projections before want them.
        d_query = query.new_empty(tokens, groups, heads // groups, dim)
        d_key = key.new_zeros(tokens, groups, dim)
        d_value = value.new_zeros(tokens, groups, value.shape[-1])
        for s in ctx.segments:
            above = _above(s, heads // groups, query)
            prefix = s.prefix_end - s.prefix_start
            for g, (q, k, v) in enumerate(_groups(query, key, value, s)):
                probs = _probabilities(q, k, above, ctx.scale)
                d_out = grad[s.start : s.end, g].transpose(0, 1).flatten(0, 1)
                d_probs = product(d_out, v)
                d_scores = torch._softmax_backward_data(d_probs, probs, -1, probs.dtype)
                d_scores *= ctx.scale
                d_q = product(d_scores, k.t())
                d_query[s.start : s.end, g] = d_q.view(heads // groups, -1, dim).transpose(0, 1)
                for total, own in (
                    (d_key, product(d_scores.t(), q.t())),
                    (d_value, product(probs.t(), d_out.t())),
                ):
                    total[s.prefix_start : s.prefix_end, g] += own[:prefix]
                    total[s.start : s.end, g] += own[prefix:]
        return (
            d_query.flatten(1, 2).transpose(0, 1),
            d_key.transpose(0, 1),
            d_value.transpose(0, 1),
            None,
            None,
        )


def _groups(
    query: Tensor, key: Tensor, value: Tensor, s: Segment
) -> list[tuple[Tensor, Tensor, Tensor]]:
    """Each group's queries [heads a group · own, dim], and keys and values [seen, dim]."""
    groups = key.shape[0]
    own = query[:, s.start : s.end]
    queries = own.reshape(groups, -1, query.shape[-1])
    return list(zip(queries, _seen(key, s, 1), _seen(value, s, 1), strict=True))


def _above(segment: Segment, repeats: int, like: Tensor) -> Tensor:
    """What to add to scores [repeats · own, seen]: −∞ where a token may not look."""
    allowed = _causal(segment, like.device)
    bias = like.new_zeros(allowed.shape).masked_fill_(~allowed, -torch.inf)
    return bias.repeat(repeats, 1)


def _probabilities(query: Tensor, key: Tensor, above: Tensor, scale: float) -> Tensor:
    scores = product(query, key)
    return torch.softmax(torch.add(above, scores, alpha=scale, out=scores), -1)
