"""Which of several processes this is, where `accelerate launch` started training."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import torch
from torch import Tensor, distributed

T = TypeVar("T")


def count() -> int:
    """How many processes train together."""
    return distributed.get_world_size() if _several() else 1


def rank() -> int:
    """This one's number, from 0; 0 is the one that writes and speaks."""
    return distributed.get_rank() if _several() else 0


def share(items: Sequence[T]) -> Sequence[T]:
    """This process's part of `items`: neighbours stay together."""
    return items[len(items) * rank() // count() : len(items) * (rank() + 1) // count()]


def add_up(values: Tensor, device: torch.device) -> Tensor:
    """The sum of all processes' `values`, on the CPU in each; they talk by way of `device`."""
    if not _several():
        return values.cpu()
    there = values.to(device)
    distributed.all_reduce(there)
    return there.cpu()


def _several() -> bool:
    return distributed.is_available() and distributed.is_initialized()
