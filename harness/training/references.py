"""Log-probs of all of a training's rows under one policy."""

from __future__ import annotations

import gc
import math
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from harness import codec
from harness.engines.logprobs import all_logprobs
from harness.models.load import load_model, pick_device
from harness.training.processes import add_up, share
from harness.types import LogProbs

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from harness.training.batches import Encoded
    from harness.training.train import TrainSettings


def load_policy(path: Path, settings: TrainSettings) -> PreTrainedModel:
    """A policy as training has it: in float32 on a GPU too, where a small step on a bfloat16
    weight would round to no step at all."""
    return load_model(path, pick_device(settings.device), torch.float32)


def policy_logprobs(path: Path, data: Encoded, settings: TrainSettings) -> LogProbs:
    """`measure` under the policy in `path`, which is loaded for this and freed again."""
    model = load_policy(path, settings)
    try:
        return measure(model, data, settings.micro_batch_tokens)
    finally:
        del model
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def measure(model: PreTrainedModel, data: Encoded, tokens: int) -> LogProbs:
    """Log-probs on the CPU of all rows of `data` in their order, and as `mismatched` of those with
    other prompts' answers. Several processes share the work and all get all of it."""
    rows = (*data.rows, *data.mismatched(range(len(data))))
    mine = share(sorted(range(len(rows)), key=lambda i: rows[i].ids))
    sums = torch.zeros(len(rows))
    sums[mine] = all_logprobs(model, [rows[i] for i in mine], tokens).sums
    sums = add_up(sums, model.device)
    own = len(data.rows)
    lengths = torch.tensor([row.completion_length for row in data.rows])
    return LogProbs(sums[:own], lengths, None if data.others is None else sums[own:])


def dump(found: LogProbs) -> codec.Json:
    """As JSON, to the last bit; an impossible row is null."""
    mismatched = None if found.mismatched is None else _numbers(found.mismatched)
    return {
        "sums": _numbers(found.sums),
        "lengths": found.lengths.tolist(),
        "mismatched": mismatched,
    }


def load(data: codec.Json) -> LogProbs:
    """What `dump` gave."""
    mismatched = data["mismatched"]
    return LogProbs(
        _tensor(data["sums"]),
        torch.tensor(data["lengths"]),
        None if mismatched is None else _tensor(mismatched),
    )


def _numbers(sums: Tensor) -> list[float | None]:
    return [value if math.isfinite(value) else None for value in sums.tolist()]


def _tensor(numbers: list[float | None]) -> Tensor:
    return torch.tensor([-math.inf if value is None else value for value in numbers])
