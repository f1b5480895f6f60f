"""Simple preference optimisation: length-averaged log-probs, a target margin, no reference."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from random import Random
from typing import ClassVar

from harness.types import Batch, Group, Hyper, LogProbs, Loss, Pair, Plan, PolicyRef
from trainers import losses, rules


@dataclass(frozen=True)
class SimPO:
    """−log σ(β(log π_w/|w| − log π_l/|l|) − γ) on the best against the worst answer. No reference:
    nothing but the learning rate holds the policy near the start.

    `sampler` says whose answers: the initial model's, which with the gold answer make fixed data
    (the data's own pair where it has one), or `previous` for on-policy pairs. The paper's own
    setting lies between: samples of the start model, without a gold answer.
    """

    beta: float = 2.0
    gamma_over_beta: float = 0.8
    samples: int = 4
    sampler: PolicyRef = "initial"

    name: ClassVar[str] = "simpo"
    paper: ClassVar[str] = "Meng et al. 2024, arXiv 2405.14734, Eq. 6"
    defaults: ClassVar[Hyper] = Hyper(learning_rate=5e-7, lora_learning_rate=5e-5)

    def plan(self, iteration: int, iterations: int) -> Plan:
        return Plan(
            samples=self.samples,
            sampler=self.sampler,
            gold=self.sampler == "initial",
            judge="score",
            start="previous",
            references=(),
        )

    def examples(self, group: Group, rng: Random) -> list[Pair]:
        return rules.best_worst(group)

    def loss(self, policy: LogProbs, references: Mapping[str, LogProbs], batch: Batch) -> Loss:
        """Eq. 6."""
        found = losses.simpo(policy, self.beta, self.gamma_over_beta * self.beta)
        return losses.mean(found, batch.weights)
