"""Examples, and how a loss sees them: what a method trains on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from harness.types.prompts import Completion, Prompt

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, slots=True)
class Demo:
    """An answer to imitate."""

    prompt: Prompt
    completion: Completion
    weight: float = 1.0
    iteration: int = 0


@dataclass(frozen=True, slots=True)
class Pair:
    """Two answers of which the first is preferred.

    The values are the judge's (win rates inside the pool, or scores): soft targets read them.
    """

    prompt: Prompt
    chosen: Completion
    rejected: Completion
    chosen_value: float
    rejected_value: float
    weight: float = 1.0
    iteration: int = 0

    @property
    def margin(self) -> float:
        return self.chosen_value - self.rejected_value


@dataclass(frozen=True, slots=True)
class Labelled:
    """One answer marked desirable or not."""

    prompt: Prompt
    completion: Completion
    desirable: bool
    weight: float = 1.0
    iteration: int = 0


Example = Demo | Pair | Labelled


@dataclass(frozen=True, slots=True)
class LogProbs:
    """Summed completion log-probs and completion lengths in tokens, both [rows].

    A batch of n pairs has 2n rows: the n chosen ones first, then the n rejected ones. Other kinds
    have one row an example. Where the plan asks for it, `mismatched` has the sums of answers to
    other prompts, one for each row of the whole optimiser step, whatever part of it this is, and
    without gradient; else it is None.
    """

    sums: Tensor
    lengths: Tensor
    mismatched: Tensor | None = None

    @property
    def chosen(self) -> Tensor:
        """[n] sums of a pair batch's first half."""
        return self.sums[: self.sums.shape[0] // 2]

    @property
    def rejected(self) -> Tensor:
        """[n] sums of a pair batch's second half."""
        return self.sums[self.sums.shape[0] // 2 :]


@dataclass(frozen=True, slots=True)
class Batch:
    """The examples of one step, as tensors.

    `weights` [n]; `values` [rows], in the order of `LogProbs.sums` (pairs: chosen values, then
    rejected values; zeros for demos); `desirable` [rows] booleans (all true for demos; pairs: true
    for the first half).
    """

    weights: Tensor
    values: Tensor
    desirable: Tensor


class Loss(NamedTuple):
    """`mean` is the scalar to minimise; `diagnostics` are detached [n] tensors, one value an
    example, averaged over a step's examples by whoever logs them."""

    mean: Tensor
    diagnostics: Mapping[str, Tensor]
