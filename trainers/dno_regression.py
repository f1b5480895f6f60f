"""Direct Nash Optimization as its theory has it: regression on soft win rates."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from random import Random
from typing import ClassVar

from harness.types import Batch, Group, Hyper, LogProbs, Loss, Pair, Plan
from trainers import losses, rules


@dataclass(frozen=True)
class DNORegression:
    """K samples of π_t are compared with each other. r(y) is an answer's mean preference against
    the rest of its pool, and any two answers of different texts are a pair, ties included: the
    soft target σ(r₁ − r₂) says how little there is to learn from them.

    Departures: no public implementation was found. Its expectation over y' ~ π_t is taken over
    the prompt's own pool without y itself, so it is biased by the pool's size (`samples`). The
    theory returns the uniform mixture of all iterates and converges on average; a run reports
    each iterate by itself, and the last one may circle outward.
    """

    eta: float = 0.1  # multiplies the log-ratio, as DPO's β does
    samples: int = 5

    name: ClassVar[str] = "dno-regression"
    paper: ClassVar[str] = "Rosset et al. 2024, arXiv 2404.03715, Algorithm 1"
    defaults: ClassVar[Hyper] = Hyper(learning_rate=5e-7, lora_learning_rate=5e-5)

    def plan(self, iteration: int, iterations: int) -> Plan:
        return Plan(
            samples=self.samples,
            sampler="previous",
            gold=False,  # the expectation is over π_t
            judge="compare",
            start="previous",
            references=("previous",),
        )

    @property
    def improvement_eta(self) -> float:
        return self.eta

    def examples(self, group: Group, rng: Random) -> list[Pair]:
        return rules.all_pairs(group, margin=0, by=rules.soft_values)

    def loss(self, policy: LogProbs, references: Mapping[str, LogProbs], batch: Batch) -> Loss:
        """Eq. 8, reference π_t."""
        found = losses.dno(policy, references["previous"], batch.values, self.eta)
        return losses.mean(found, batch.weights)
