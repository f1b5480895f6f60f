"""Attention for decoding with grouped queries, without copying the keys once a query head."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

_NAME = "harness_grouped"


def use_grouped_attention(model: PreTrainedModel) -> None:
    """Let a model that runs on torch's SDPA decode by `_grouped`; others stay as they are."""
    if model.config._attn_implementation != "sdpa":
        return
    AttentionInterface.register(_NAME, _grouped)
    AttentionMaskInterface.register(_NAME, sdpa_mask)
    model.set_attn_implementation(_NAME)


def _grouped(
    module: torch.nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    position_bias: Tensor | None = None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """transformers' attention interface, with queries [rows, heads, new, dim].

    Keys and values are [rows, groups, all, dim]; returns [rows, new, heads, dim]. With one new
    token, the query heads of a group stand where a sequence of queries would: they share keys and
    mask, and there is no order among them. Anything else is transformers' own.
    """
    rows, heads, new, dim = query.shape
    groups = key.shape[1]
    if new != 1 or position_bias is not None:
        output: tuple[Tensor, None] = sdpa_attention_forward(
            module, query, key, value, attention_mask,
            scaling=scaling, position_bias=position_bias, **kwargs,
        )  # fmt: skip
        return output
    mixed = scaled_dot_product_attention(
        query.view(rows, groups, heads // groups, dim),
        key,
        value,
        attn_mask=attention_mask,
        scale=scaling,
    )
    return mixed.reshape(rows, 1, heads, value.shape[-1]), None
