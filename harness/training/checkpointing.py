"""Gradient checkpointing: a layer's activations are computed again when its gradient is due."""

from __future__ import annotations

from functools import partial
from typing import Any

from torch.utils.checkpoint import checkpoint
from transformers import PreTrainedModel
from transformers.modeling_layers import GradientCheckpointingLayer

from harness.errors import HarnessError


def checkpoint_layers(model: PreTrainedModel) -> None:
    """Checkpoint the layers of `model`, in place; HarnessError where it does not say which these
    are.

    Not by transformers' own switch, which works in training mode only: policies are trained in
    evaluation mode, because dropout would tell them from their reference by noise.
    """
    layers: list[Any] = [m for m in model.modules() if isinstance(m, GradientCheckpointingLayer)]
    if not layers:
        raise HarnessError(
            f"{type(model).__name__} does not support gradient checkpointing; set "
            "train.gradient_checkpointing=false."
        )
    for layer in layers:
        layer.forward = partial(checkpoint, layer.forward, use_reentrant=False)
