"""Summed log-probabilities of completions under a causal language model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, cast
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import PreTrainedModel

from harness.engines.attention import use_own_attention
from harness.engines.head import target_logprobs
from harness.engines.packing import Pack, Row, batches, pack
from harness.types import LogProbs

_PROBE = (Row((3, 1, 4, 1, 5, 9, 2), 3), Row((3, 1, 4, 8, 7), 3), Row((2, 7, 1, 8), 2))
_packs: WeakKeyDictionary[PreTrainedModel, bool] = WeakKeyDictionary()


def completion_logprobs(model: nn.Module, rows: Sequence[Row]) -> LogProbs:
    """One forward pass over `rows`: float32 sums [rows] and lengths [rows], on the model's device.

    `model` is a causal language model of transformers, or what wraps one for several processes.
    Differentiable where gradients are enabled. A prompt must have at least one token. Rows with a
    common prompt share its computation where the model allows it (`can_pack`).
    """
    language_model = unwrapped(model)
    with _autocast(language_model):
        if can_pack(language_model):
            return _packed(model, language_model, rows)
        return _padded(model, language_model, rows)


def all_logprobs(model: PreTrainedModel, rows: Sequence[Row], tokens: int) -> LogProbs:
    """The same for any number of rows, without gradients: [rows] in the order given, on the CPU.

    Forward passes have up to `tokens` tokens; rows of one prompt share them.
    """
    sums = torch.empty(len(rows))
    with torch.no_grad():
        for part in batches(rows, tokens):
            sums[part] = completion_logprobs(model, [rows[i] for i in part]).sums.cpu()
    return LogProbs(sums, torch.tensor([row.completion_length for row in rows]))


def can_pack(model: PreTrainedModel) -> bool:
    """Whether a model gives the same log-probs by trees as row by row, tried once on a few tokens.

    Not where tokens reach each other by other ways than full attention (windows, recurrence), nor
    where something is done to the logits after the output layer.
    """
    if model not in _packs:
        config = model.config.to_dict()
        windows = {*(config.get("layer_types") or ()), "full_attention"} != {"full_attention"}
        packs = not windows and config.get("sliding_window") is None and use_own_attention(model)
        if packs:
            with torch.no_grad():
                packed = _packed(model, model, _PROBE).sums
                padded = _padded(model, model, _PROBE).sums
                packs = torch.allclose(packed, padded, rtol=0.02, atol=0.05)
        _packs[model] = packs
    return _packs[model]


def unwrapped(model: nn.Module) -> PreTrainedModel:
    """The language model inside of what wraps it for several processes."""
    found = model if isinstance(model, PreTrainedModel) else model.module
    assert isinstance(found, PreTrainedModel)
    return found


def _packed(model: nn.Module, inner: PreTrainedModel, rows: Sequence[Row]) -> LogProbs:
    packed = pack(rows, inner.device)
    with _head_scores(inner, packed):
        found: Tensor = model(
            input_ids=packed.ids,
            position_ids=packed.positions,
            attention_mask=packed.ids.new_ones(1, 1, 1, 1),  # 4-D: taken as it is, and not used
            segments=packed.segments,
            use_cache=False,
        ).logits[0]
    # Summed part by part: unlike index_add this adds up in a fixed order.
    sums = torch.stack([part.sum() for part in torch.split(found, list(packed.lengths))])
    lengths = torch.tensor([row.completion_length for row in rows], device=sums.device)
    return LogProbs(sums[list(packed.branches)], lengths)


def _padded(model: nn.Module, inner: PreTrainedModel, rows: Sequence[Row]) -> LogProbs:
    ids, real, scored = (tensor.to(inner.device) for tensor in _pad(rows))
    with _head_sees_only(inner, scored[:, 1:]):
        # Position ids are left to the model: on the right-padded rows 0, 1, 2, … is right.
        logits: Tensor = model(input_ids=ids, attention_mask=real, use_cache=False).logits
    found = -functional.cross_entropy(logits.float(), ids[scored], reduction="none")
    sums = found.new_zeros(ids.shape).masked_scatter(scored, found).sum(dim=1)
    return LogProbs(sums, scored.sum(dim=1))


def _pad(rows: Sequence[Row]) -> tuple[Tensor, Tensor, Tensor]:
    """Ids padded on the right, which tokens are real, and which belong to a completion.

    All [rows, longest]. By length, never by id: many tokenizers pad with an id that also ends a
    turn, so padding is told apart by where it stands.
    """
    longest = max(len(row.ids) for row in rows)
    ids = torch.tensor([[*row.ids, *[0] * (longest - len(row.ids))] for row in rows])
    position = torch.arange(longest)
    real = position < torch.tensor([[len(row.ids)] for row in rows])
    scored = real & (position >= torch.tensor([[row.prompt_length] for row in rows]))
    return ids, real.long(), scored


@contextmanager
def _head_sees_only(model: PreTrainedModel, predicting: Tensor) -> Iterator[None]:
    """Within, the model's logits are [n, vocabulary]: at the n places where `predicting` is true.

    `predicting` is [rows, longest - 1]. Narrowing the head's input, and not calling the head by
    hand, keeps what a model does to its logits afterwards (scaling, soft caps).
    """

    def narrow(_: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor]:
        return (inputs[0][:, :-1][predicting],)

    handle = _head(model).register_forward_pre_hook(narrow)
    try:
        yield
    finally:
        handle.remove()


@contextmanager
def _head_scores(model: PreTrainedModel, packed: Pack) -> Iterator[None]:
    """Within, the model's "logits" are [1, scored]: the log-probs of a pack's targets.

    In the model's own forward pass, so that what wraps the model knows of all weights in use.
    """
    head: Any = _head(model)

    def score(hidden: Tensor) -> Tensor:
        chosen = hidden[0, packed.predicting]
        return target_logprobs(chosen, head.weight, head.bias, packed.targets)[None]

    head.forward = score
    try:
        yield
    finally:
        del head.forward


def _head(model: PreTrainedModel) -> nn.Linear:
    head: nn.Linear = cast(Any, model).get_output_embeddings()
    return head


def _autocast(model: PreTrainedModel) -> AbstractContextManager[object]:
    """bfloat16 arithmetic on a GPU; float32, hence nothing, on a CPU."""
    if model.device.type == "cpu":
        return nullcontext()
    return torch.autocast(model.device.type, dtype=torch.bfloat16)
