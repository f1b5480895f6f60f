"""Cutting the training prompts: a validation part, and one disjoint part an iteration."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from harness.config import DataConfig
from harness.errors import HarnessError
from harness.types import Prompt

MIN_VALIDATION = 16


@dataclass(frozen=True, slots=True)
class Partition:
    """`parts[t-1]` are iteration t's prompts; the same for every method under one seed."""

    validation: tuple[Prompt, ...]
    parts: tuple[tuple[Prompt, ...], ...]


def partition(prompts: Sequence[Prompt], data: DataConfig, iterations: int, seed: int) -> Partition:
    """Shuffle by seed, set the validation part aside, cut the rest.

    With `data.per_iteration` part t does not depend on the number of iterations, so a run can be
    extended. Raises HarnessError where there are fewer prompts than the iterations need.
    """
    order = sorted(prompts, key=lambda prompt: prompt.id)
    Random(f"partition:{seed}").shuffle(order)
    held_out = max(MIN_VALIDATION, round(len(order) * data.validation))
    validation, rest = tuple(order[:held_out]), tuple(order[held_out:])
    if data.reuse:
        if not rest:
            raise HarnessError(
                f"{len(order)} training prompts are too few: {held_out} are set aside for "
                "validation and none is left to train on; give more prompts."
            )
        return Partition(validation, (rest,) * iterations)
    size = data.per_iteration or per_iteration(len(prompts), data, iterations)
    if size * iterations > len(rest):
        raise _too_few(len(order), held_out, iterations, size)
    return Partition(validation, tuple(rest[size * t : size * (t + 1)] for t in range(iterations)))


def per_iteration(count: int, data: DataConfig, iterations: int) -> int:
    """Prompts an iteration when all are used once. Raises HarnessError where that is none."""
    held_out = max(MIN_VALIDATION, round(count * data.validation))
    size = max(0, count - held_out) // iterations
    if size == 0:
        raise _too_few(count, held_out, iterations, 1)
    return size


def _too_few(count: int, held_out: int, iterations: int, size: int) -> HarnessError:
    return HarnessError(
        f"{count} training prompts are too few: {held_out} are set aside for validation and "
        f"{iterations} × {size} are to be trained on; give more prompts or fewer iterations, or "
        "use the same prompts in every iteration with --set data.reuse=true."
    )
