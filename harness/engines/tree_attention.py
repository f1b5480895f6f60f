"""Attention over a pack of trees: each segment sees its prefix and, causally, itself.

No token meets one of another tree, and no score is computed that would be masked away, but for the
upper triangles of the segments themselves.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from harness.engines.packing import Segment
from harness.models.linear import onednn_serves, products


def tree_attention(
    query: Tensor, key: Tensor, value: Tensor, segments: Sequence[Segment], scale: float
) -> Tensor:
    """Queries [1, heads, tokens, dim], keys and values [1, groups, tokens, dim] of a pack to
    [1, tokens, heads, dim]; differentiable.

    In float32 on a CPU by plain products, whose backward pass takes half the time of torch's SDPA.
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
    if segment.prefix_end == segment.start:
        return states.narrow(dim, segment.prefix_start, segment.end - segment.prefix_start)
    return torch.cat((states.narrow(dim, segment.prefix_start, prefix), own), dim)


def _causal(segment: Segment, device: torch.device) -> Tensor:
    """[own, prefix + own]: which of what it sees each of a segment's tokens may attend to."""
    own, prefix = segment.end - segment.start, segment.prefix_end - segment.prefix_start
    return torch.ones(own, prefix + own, dtype=torch.bool, device=device).tril(prefix)


class _ByProducts(torch.autograd.Function):
    """The same for [heads, tokens, dim] and [groups, tokens, dim], to [tokens, heads, dim].

    The query heads of a group share its keys, so they stand in one matrix with a row a token and
    head: [tokens · heads a group, dim]. Probabilities are computed again in the backward pass, so
    memory grows with the tokens and not with their square.
    """

    @staticmethod
    def forward(
        ctx: Any, query: Tensor, key: Tensor, value: Tensor, segments: Sequence[Segment],
        scale: float,
    ) -> Tensor:  # fmt: skip
        groups, tokens, dim = value.shape
        queries = _by_group(query.transpose(0, 1), groups).mul_(scale)
        key, value = key.contiguous(), value.contiguous()
        out = torch.empty_like(queries)
        for s in segments:
            probs = _probabilities(_rows(queries, s), _seen(key, s, 1), s)
            _rows(out, s).copy_(products(probs, _seen(value, s, 1).transpose(1, 2)))
        ctx.save_for_backward(queries, key, value)
        ctx.segments, ctx.scale = segments, scale
        return out.transpose(0, 1).reshape(tokens, -1, dim)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        queries, key, value = ctx.saved_tensors
        groups, tokens, repeats, dim = queries.shape
        d_out = _by_group(grads[0], groups)
        d_queries = torch.empty_like(queries)
        d_key, d_value = torch.zeros_like(key), torch.zeros_like(value)
        for s in ctx.segments:
            prefix = s.prefix_end - s.prefix_start
            q, k, d_o = _rows(queries, s), _seen(key, s, 1), _rows(d_out, s)
            probs = _probabilities(q, k, s)
            d_probs = products(d_o, _seen(value, s, 1))
            d_scores = torch._softmax_backward_data(d_probs, probs, -1, probs.dtype)
            _rows(d_queries, s).copy_(products(d_scores, k.transpose(1, 2)))
            for total, own in (
                (d_key, torch.bmm(d_scores.transpose(1, 2), q)),
                (d_value, torch.bmm(probs.transpose(1, 2), d_o)),
            ):
                total[:, s.prefix_start : s.prefix_end] += own[:, :prefix]
                total[:, s.start : s.end] += own[:, prefix:]
        d_query = d_queries.mul_(ctx.scale).transpose(1, 2).reshape(groups * repeats, tokens, dim)
        return d_query, d_key, d_value, None, None


def _by_group(states: Tensor, groups: int) -> Tensor:
    """[tokens, heads, dim] as a new [groups, tokens, heads a group, dim]."""
    grouped = states.reshape(len(states), groups, -1, states.shape[-1]).transpose(0, 1)
    return grouped.clone(memory_format=torch.contiguous_format)


def _rows(states: Tensor, s: Segment) -> Tensor:
    """A segment's part of [groups, tokens, heads a group, dim] as a matrix a group."""
    own = s.end - s.start
    return states[:, s.start : s.end].view(len(states), own * states.shape[2], states.shape[3])


def _probabilities(query: Tensor, key: Tensor, s: Segment) -> Tensor:
    """[groups, own · heads a group, prefix + own]."""
    own = s.end - s.start
    scores = products(query, key)
    later = scores.view(len(scores), own, -1, key.shape[1])[..., key.shape[1] - own :]
    later += _later(-(-own // 256) * 256)[:own, None, :own]
    return torch.softmax(scores, -1)


@lru_cache(maxsize=1)
def _later(size: int) -> Tensor:
    """−∞ above the diagonal: tokens do not look at those after them."""
    return torch.full((size, size), -torch.inf).triu(1)
