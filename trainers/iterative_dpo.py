"""Iterative (online) DPO: best against worst of the policy's own samples."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from random import Random
from typing import ClassVar

from harness.types import Batch, Group, Hyper, LogProbs, Loss, Pair, Plan, PolicyRef
from trainers import losses, rules


@dataclass(frozen=True)
class IterativeDPO:
    """K samples of π_t are compared; the best against the worst is the prompt's one pair, and
    −log σ(β·d) is minimised from π_t. Prompts whose candidates all tie give nothing.

    `reference` is π_t as in most iterative recipes, or `initial`, which keeps every iterate near
    the start model.
    """

    beta: float = 0.1
    samples: int = 4
    reference: PolicyRef = "previous"

    name: ClassVar[str] = "iterative-dpo"
    paper: ClassVar[str] = "Xu et al. 2023, arXiv 2312.16682; loss of arXiv 2305.18290, Eq. 7"
    defaults: ClassVar[Hyper] = Hyper(learning_rate=5e-7, lora_learning_rate=5e-5)

    def plan(self, iteration: int, iterations: int) -> Plan:
        return Plan(
            samples=self.samples,
            sampler="previous",
            gold=False,
            judge="compare",
            start="previous",
            references=(self.reference,),
        )

    def examples(self, group: Group, rng: Random) -> list[Pair]:
        return rules.best_worst(group)

    def loss(self, policy: LogProbs, references: Mapping[str, LogProbs], batch: Batch) -> Loss:
        """Eq. 7, reference as set."""
        return losses.mean(losses.dpo(policy, references[self.reference], self.beta), batch.weights)
