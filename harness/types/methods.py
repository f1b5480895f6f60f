"""What a method declares and does."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from random import Random
from typing import ClassVar, Literal, Protocol, runtime_checkable

from harness.types.examples import Batch, Example, LogProbs, Loss
from harness.types.judging import Group

PolicyRef = Literal["initial", "previous"]


@dataclass(frozen=True, slots=True)
class Hyper:
    """A method's own training defaults; presets, files and --set override them."""

    learning_rate: float = 5e-7
    lora_learning_rate: float = 5e-5
    epochs: int = 1
    batch_size: int = 64


@dataclass(frozen=True, slots=True)
class Plan:
    """What one iteration does, as papers leave it unsaid.

    `samples` completions a prompt from the `sampler` policy; `gold` lets the teacher's completion
    join the candidates; `judge` says whether candidates are scored, compared or neither, and
    `judged_by` by whom; training starts from `start` and measures log-ratios against
    `references`; `replay[k]` is the share of iteration t-1-k's own new examples that come back;
    `mismatched` asks for the log-probs of answers paired with other prompts.
    """

    samples: int
    sampler: Literal["none", "initial", "previous"]
    gold: bool
    judge: Literal["none", "score", "compare"]
    judged_by: Literal["configured", "self"] = "configured"
    start: PolicyRef = "previous"
    references: tuple[PolicyRef, ...] = ("previous",)
    replay: tuple[float, ...] = ()
    mismatched: bool = False


class Method(Protocol):
    """A post-training method: declared choices and two pure functions (see docs/adding-a-method).

    A method is a frozen dataclass whose fields are its settings (`--set method.beta=0.05`).
    """

    name: ClassVar[str]
    paper: ClassVar[str]
    defaults: ClassVar[Hyper]

    def plan(self, iteration: int, iterations: int) -> Plan:
        """The plan of iteration 1..iterations."""
        ...

    def examples(self, group: Group, rng: Random) -> Iterable[Example]:
        """Training examples from one prompt's judged candidates; pure, randomness from `rng`."""
        ...

    def loss(self, policy: LogProbs, references: Mapping[str, LogProbs], batch: Batch) -> Loss:
        """The loss of one batch; pure, on plain tensors; `references` has the plan's keys."""
        ...


@runtime_checkable
class Improves(Protocol):
    """A method whose exact update promises P(π_{t+1} ≻ π_t) ≥ ½ + η·KL(π_{t+1} ‖ π_t)
    (arXiv 2404.03715, monotonic improvement): this is its η, which multiplies the log-ratio."""

    @property
    def improvement_eta(self) -> float: ...
