"""Norms and gated layers in fewer passes: what transformers computes, and only where it is that."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn
from transformers import (
    AutoModelForCausalLM,
    Gemma2Config,
    LlamaConfig,
    PretrainedConfig,
    Qwen2Config,
)

from harness.models.fused import use_fused

SIZES = {
    "vocab_size": 50, "hidden_size": 24, "intermediate_size": 40, "num_hidden_layers": 2,
    "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 6,
}  # fmt: skip


def changed(config: PretrainedConfig) -> tuple[set[str], nn.Module, nn.Module]:
    """The names of the classes that are computed anew, the model, and the same as it was."""
    torch.manual_seed(0)
    theirs = AutoModelForCausalLM.from_config(config).eval()
    for weight in theirs.parameters():
        nn.init.normal_(weight, 0.3, 0.5)
    ours = copy.deepcopy(theirs)
    use_fused(ours)
    pairs = zip(ours.modules(), theirs.modules(), strict=True)
    names = {type(b).__name__ for a, b in pairs if type(a) is not type(b)}
    return names, ours, theirs


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (LlamaConfig(**SIZES), {"LlamaRMSNorm", "LlamaMLP"}),
        (Qwen2Config(**SIZES), {"Qwen2RMSNorm", "Qwen2MLP"}),
        (LlamaConfig(**SIZES, hidden_act="gelu", mlp_bias=True), {"LlamaRMSNorm"}),
        (Gemma2Config(**SIZES), set()),  # (1 + w) · x, GELU
    ],
    ids=["llama", "qwen2", "gelu", "gemma2"],
)
def test_results_and_gradients_are_the_models_own(
    config: PretrainedConfig, expected: set[str]
) -> None:
    names, ours, theirs = changed(config)
    assert names == expected
    ids = torch.arange(22).view(2, 11)
    for model in (ours, theirs):
        model(ids).logits.log_softmax(-1)[..., 3].sum().backward()
    torch.testing.assert_close(ours(ids).logits, theirs(ids).logits, rtol=1e-4, atol=1e-4)
    for (name, mine), its in zip(ours.named_parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(mine.grad, its.grad, rtol=1e-3, atol=1e-3, msg=name)


def test_other_types_are_computed_as_before() -> None:
    names, ours, theirs = changed(LlamaConfig(**SIZES))
    assert names
    ids = torch.arange(22).view(2, 11)
    with torch.no_grad():
        assert torch.equal(ours.double()(ids).logits, theirs.double()(ids).logits)
    half = LlamaConfig(**SIZES, dtype="bfloat16")
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(half, dtype=torch.bfloat16)
    before = [type(module) for module in model.modules()]
    use_fused(model)
    assert [type(module) for module in model.modules()] == before
