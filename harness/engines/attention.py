"""The attention of models in use: over packed trees, and, for decoding, with grouped queries."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from harness.engines.packing import Segment
from harness.engines.tree_attention import tree_attention

_NAME = "harness"


def use_own_attention(model: PreTrainedModel) -> bool:
    """Let a model that runs on torch's SDPA attend by `_attention`, and say whether it does;
    others stay as they are."""
    if model.config._attn_implementation == "sdpa":
        AttentionInterface.register(_NAME, _attention)
        AttentionMaskInterface.register(_NAME, sdpa_mask)
        model.set_attn_implementation(_NAME)
    return bool(model.config._attn_implementation == _NAME)


def _attention(
    module: torch.nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    position_bias: Tensor | None = None,
    segments: Sequence[Segment] | None = None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """transformers' attention interface, with queries [rows, heads, new, dim].

    Keys and values are [rows, groups, all, dim]; returns [rows, new, heads, dim]. `segments` come
    with a pack of trees. With one new token, the query heads of a group stand where a sequence of
    queries would: they share keys and mask, and there is no order among them, and no key is copied
    once a query head. Anything else is transformers' own.
    """
    rows, heads, new, dim = query.shape
    if segments is not None:
        assert position_bias is None
        return tree_attention(query, key, value, segments, scaling or dim**-0.5), None
    groups = key.shape[1]
    if new != 1 or position_bias is not None:
        output: tuple[Tensor, None] = sdpa_attention_forward(
            module, query, key, value, attention_mask,
            scaling=scaling, position_bias=position_bias, **kwargs,
        )  # fmt: skip
        return output
    query = query.view(rows, groups, heads // groups, dim)
    scale = scaling or dim**-0.5
    if query.device.type == "cpu":
        mixed = _by_products(query, key, value, attention_mask, scale)
    else:
        mixed = scaled_dot_product_attention(query, key, value, attention_mask, scale=scale)
    return mixed.reshape(rows, 1, heads, value.shape[-1]), None


def _by_products(
    query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, scale: float
) -> Tensor:
    """The same as torch's SDPA, which on a CPU takes up to half as long again for few queries."""
    rows, groups, heads, _ = query.shape
    scores = torch.bmm((query * scale).flatten(0, 1), key.flatten(0, 1).transpose(1, 2))
    if mask is not None:  # [rows, 1, 1, keys]
        above = scores.new_zeros(mask.shape).masked_fill_(~mask, -torch.inf)
        scores.view(rows, groups, heads, -1).add_(above)
    mixed = torch.bmm(torch.softmax(scores, -1), value.flatten(0, 1))
    return mixed.view(rows, groups, heads, -1)
