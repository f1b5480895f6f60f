"""Packed rows: one computation for what rows share, and the same numbers as row by row."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers import MistralConfig, MistralForCausalLM, PreTrainedModel

from harness.engines.head import target_logprobs
from harness.engines.logprobs import all_logprobs, can_pack, completion_logprobs
from harness.engines.packing import Row, batches, pack, tokens
from harness.models.load import load_model

CPU = torch.device("cpu")
ROWS = (
    Row((5, 6, 7, 8, 9, 10), 3),  # two answers to one prompt
    Row((5, 6, 7, 8, 3, 2, 0, 0), 3),
    Row((40, 41, 42), 1),
    Row((5, 6, 7, 8, 9, 10), 3),  # the first again
    Row((5, 6, 11, 12), 2),  # a prompt that is the beginning of another
    Row((50, 51), 1),  # an answer of one token
)
WEIGHTS = torch.tensor([1.0, -2.0, 0.5, 0.25, 3.0, -1.0])


@pytest.fixture(scope="module")
def model(start: Path) -> PreTrainedModel:
    return load_model(start, CPU, torch.float32)


def gradients(model: PreTrainedModel, total: Tensor) -> dict[str, Tensor]:
    model.zero_grad()
    total.backward()  # type: ignore[no-untyped-call]
    return {name: weight.grad.clone() for name, weight in model.named_parameters()}


def naive(model: PreTrainedModel, row: Row) -> Tensor:
    """A row alone, from all of its logits, differentiable."""
    logps = model(torch.tensor([row.ids])).logits[0].log_softmax(-1)
    places = range(row.prompt_length, len(row.ids))
    return torch.stack([logps[place - 1, row.ids[place]] for place in places]).sum()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["oneDNN", "SDPA"])
@pytest.mark.parametrize("checkpointing", [False, True])
def test_trees_give_the_gradients_of_rows_alone(
    model: PreTrainedModel, dtype: torch.dtype, checkpointing: bool
) -> None:
    model = model.to(dtype)
    assert can_pack(model)
    if checkpointing:
        model.train()  # it is off in evaluation mode; this model has no dropout
        model.gradient_checkpointing_enable()
    found = completion_logprobs(model, ROWS)
    ours = gradients(model, (found.sums * WEIGHTS).sum())
    model.gradient_checkpointing_disable()
    model.eval()
    alone = torch.stack([naive(model, row) for row in ROWS])
    theirs = gradients(model, (alone * WEIGHTS).sum())
    torch.testing.assert_close(found.sums, alone.float(), atol=1e-4, rtol=1e-5)
    assert found.lengths.tolist() == [3, 5, 2, 3, 2, 1]
    for name, expected in theirs.items():
        torch.testing.assert_close(ours[name], expected, atol=1e-4, rtol=1e-3)
    model.float()


def test_nothing_is_read_twice_and_nothing_is_padded(model: PreTrainedModel) -> None:
    read: list[int] = []
    handle = model.model.register_forward_pre_hook(
        lambda _module, _args, kwargs: read.append(kwargs["input_ids"].numel()), with_kwargs=True
    )
    can_pack(model)
    read.clear()
    found = all_logprobs(model, ROWS, 1000)
    handle.remove()
    # 3 + (3 − 1) + (5 − 1), 1 + (2 − 1), 2 + (2 − 1), 1 + (1 − 1): a last token is not read
    assert read == [9 + 2 + 3 + 1]
    assert tokens(ROWS) == 11 + 3 + 4 + 2
    assert found.sums[0] == found.sums[3]


def test_batches_keep_prompts_together_and_to_their_size() -> None:
    for most in (1, 12, 15, 1000):
        parts = list(batches(ROWS, most))
        assert sorted(i for part in parts for i in part) == list(range(len(ROWS)))
        assert all(
            len({ROWS[i] for i in part}) == 1 or tokens([ROWS[i] for i in part]) <= most
            for part in parts
        )
    assert {0, 1, 3} <= set(next(batches(ROWS, 12)))


def test_a_pack_scores_each_token_by_the_one_before() -> None:
    packed = pack(ROWS[:2], CPU)
    assert packed.ids.tolist() == [[5, 6, 7, 8, 9, 8, 3, 2, 0]]
    assert packed.positions.tolist() == [[0, 1, 2, 3, 4, 3, 4, 5, 6]]
    assert packed.predicting.tolist() == [2, 3, 4, 2, 5, 6, 7, 8]
    assert packed.targets.tolist() == [8, 9, 10, 8, 3, 2, 0, 0]


@pytest.mark.parametrize("frozen", [False, True])
@pytest.mark.parametrize("kept", [5 * 30, 5 * 30 - 1])
@pytest.mark.parametrize("mixed", [False, True])
def test_the_head_in_chunks_is_a_log_softmax(
    frozen: bool, kept: int, mixed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harness.engines.head._LOGITS", 2 * 30)  # two tokens at a time
    monkeypatch.setattr("harness.engines.head._KEPT", kept)  # all, or none
    torch.manual_seed(0)
    hidden, weight, bias = torch.randn(5, 8), torch.randn(30, 8), torch.randn(30)
    targets, grad = torch.tensor([3, 29, 3, 0, 7]), torch.randn(5)

    def both(score: Any) -> tuple[Tensor, list[Tensor]]:
        leaves = [
            x.clone().requires_grad_(not frozen or x is hidden) for x in (hidden, weight, bias)
        ]
        with torch.autocast("cpu", torch.bfloat16, enabled=mixed):
            found = score(*leaves)
        return found, list(torch.autograd.grad(found, [x for x in leaves if x.requires_grad], grad))

    ours, by_us = both(lambda h, w, b: target_logprobs(h, w, b, targets))
    theirs, by_torch = both(
        lambda h, w, b: (
            nn.functional.linear(h, w, b).log_softmax(-1).gather(1, targets[:, None])[:, 0]
        )
    )
    close = {"rtol": 0.02, "atol": 0.02} if mixed else {}
    assert ours.dtype == torch.float32
    torch.testing.assert_close(ours, theirs.float(), **close)
    for mine, its in zip(by_us, by_torch, strict=True):
        torch.testing.assert_close(mine, its, **close)
    with torch.no_grad():
        torch.testing.assert_close(target_logprobs(hidden, weight, bias, targets), ours, **close)


def test_a_model_with_a_window_goes_row_by_row() -> None:
    """Tokens that see only the last four before them; trees would let them see more."""
    sizes: dict[str, Any] = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 2}
    heads: dict[str, Any] = {"num_attention_heads": 2, "num_key_value_heads": 1, "vocab_size": 60}
    torch.manual_seed(0)
    windowed = MistralForCausalLM(MistralConfig(**sizes, **heads, sliding_window=4)).eval()
    rows: Sequence[Row] = ROWS
    assert not can_pack(windowed)
    expected = [naive(windowed, row).item() for row in rows]
    assert all_logprobs(windowed, rows, 1000).sums.tolist() == pytest.approx(expected, abs=1e-4)
