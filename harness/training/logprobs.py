"""Summed log-probabilities of completions under a causal language model."""

from __future__ import annotations

import gc
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor
from torch.nn import functional

from harness.types import LogProbs

if TYPE_CHECKING:
    from collections.abc import Iterator

    from transformers import PreTrainedModel


@dataclass(frozen=True, slots=True)
class Row:
    """One prompt with one completion, as the model reads them; lengths are in tokens."""

    ids: tuple[int, ...]
    prompt_length: int

    @property
    def completion_length(self) -> int:
        return len(self.ids) - self.prompt_length


def completion_logprobs(model: PreTrainedModel, rows: Sequence[Row]) -> LogProbs:
    """One forward pass over `rows`: float32 sums [rows] and lengths [rows], on the model's device.

    Differentiable where gradients are enabled. A prompt must have at least one token.
    """
    device = model.device
    ids, real, scored = _pad(rows)
    ids, real, scored = ids.to(device), real.to(device), scored.to(device)
    with _autocast(device), _head_sees_only(model, scored[:, 1:]):
        # Position ids are left to the model: on the right-padded rows 0, 1, 2, … is right.
        logits: Tensor = model(input_ids=ids, attention_mask=real, use_cache=False).logits
    tokens = -functional.cross_entropy(logits.float(), ids[scored], reduction="none")
    # Scattered back and summed along rows: unlike index_add this adds up in a fixed order.
    sums = tokens.new_zeros(ids.shape).masked_scatter(scored, tokens).sum(dim=1)
    return LogProbs(sums, scored.sum(dim=1))


def all_logprobs(model: PreTrainedModel, rows: Sequence[Row], batch_size: int) -> LogProbs:
    """The same for any number of rows, without gradients: [rows] in the order given, on the CPU.

    Rows of like length share a forward pass of `batch_size` rows.
    """
    sums = torch.empty(len(rows))
    lengths = torch.empty(len(rows), dtype=torch.long)
    # The longest come first, so that what does not fit into memory fails at once.
    order = sorted(range(len(rows)), key=lambda i: -len(rows[i].ids))
    with torch.no_grad():
        for start in range(0, len(order), batch_size):
            part = order[start : start + batch_size]
            found = completion_logprobs(model, [rows[i] for i in part])
            sums[part] = found.sums.cpu()
            lengths[part] = found.lengths.cpu()
    return LogProbs(sums, lengths)


def path_logprobs(
    load: Callable[[Path], PreTrainedModel], path: Path, rows: Sequence[Row], batch_size: int
) -> LogProbs:
    """`all_logprobs` under a model that is loaded for this and freed again."""
    model = load(path)
    try:
        return all_logprobs(model, rows, batch_size)
    finally:
        del model
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


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

    `predicting` is [rows, longest - 1]. The vocabulary is wide, so logits nobody reads would cost
    more memory than all the rest. Narrowing the head's input, and not calling the head by hand,
    keeps what a model does to its logits afterwards (scaling, soft caps).
    """
    head: torch.nn.Module = cast(Any, model).get_output_embeddings()

    def narrow(_: torch.nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor]:
        return (inputs[0][:, :-1][predicting],)

    handle = head.register_forward_pre_hook(narrow)
    try:
        yield
    finally:
        handle.remove()


def _autocast(device: torch.device) -> AbstractContextManager[object]:
    """bfloat16 arithmetic on a GPU; float32, hence nothing, on a CPU."""
    if device.type == "cpu":
        return nullcontext()
    return torch.autocast(device.type, dtype=torch.bfloat16)
