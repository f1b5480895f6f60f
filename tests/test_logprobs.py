"""Summed log-probabilities: as from all logits, whatever the batch."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from small_training import rows
from transformers import PreTrainedModel

from harness.engines.logprobs import all_logprobs, completion_logprobs
from harness.engines.packing import Row

pytestmark = pytest.mark.usefixtures("one_thread")


def naive(model: PreTrainedModel, row: Row) -> float:
    """From all logits of the row alone."""
    ids = torch.tensor([row.ids])
    with torch.no_grad():
        logps = model(ids).logits[0].double().log_softmax(-1)
    places = range(row.prompt_length, len(row.ids))
    return sum(float(logps[place - 1, row.ids[place]]) for place in places)


def test_logprobs_equal_those_from_full_logits(model: PreTrainedModel, start: Path) -> None:
    some = rows(start, 5)
    found = completion_logprobs(model, some)
    assert found.sums.tolist() == pytest.approx([naive(model, row) for row in some], abs=1e-3)
    assert found.lengths.tolist() == [row.completion_length for row in some]
    assert found.sums.dtype == torch.float32


def test_padding_and_batching_change_nothing(model: PreTrainedModel, start: Path) -> None:
    some = rows(start, 6)
    one_by_one = all_logprobs(model, some, 1)
    for size in (100, 2000):
        together = all_logprobs(model, some, size)
        torch.testing.assert_close(together.sums, one_by_one.sums, atol=2e-4, rtol=0)
        assert together.lengths.tolist() == one_by_one.lengths.tolist()


def test_the_pad_token_inside_a_completion_counts(model: PreTrainedModel) -> None:
    row = Row((5, 6, 0, 0, 2), 2)
    found = completion_logprobs(model, [row, Row((5, 6, 7, 8, 9, 10, 11), 2)])
    assert found.lengths.tolist() == [3, 5]
    assert found.sums.tolist()[0] == pytest.approx(naive(model, row), abs=1e-4)


def test_logits_are_what_the_model_makes_of_them(start: Path) -> None:
    """A model that changes its logits after the output layer keeps doing so."""
    from transformers import Gemma2Config, Gemma2ForCausalLM

    sizes = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "head_dim": 8}
    heads = {"num_attention_heads": 2, "num_key_value_heads": 1, "vocab_size": 600}
    torch.manual_seed(0)
    config = Gemma2Config(**sizes, **heads, final_logit_softcapping=0.05, pad_token_id=0)
    capped = Gemma2ForCausalLM(config).eval()
    some = rows(start, 2)
    found = completion_logprobs(capped, some).sums.tolist()
    assert found == pytest.approx([naive(capped, row) for row in some], abs=1e-3)
