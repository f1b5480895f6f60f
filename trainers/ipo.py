"""Identity preference optimisation: the difference of log-ratios is drawn to a fixed target."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from random import Random
from typing import ClassVar

from harness.types import Batch, Group, Hyper, LogProbs, Loss, Pair, Plan, PolicyRef
from trainers import losses, rules


@dataclass(frozen=True)
class IPO:
    """(d − 1/(2τ))² on the best against the worst answer: unlike DPO it stops, however sure the
    judge is.

    `sampler` says whose answers: the initial model's, which with the gold answer make fixed data
    (the data's own pair where it has one), or `previous` for on-policy pairs. `reference` is set
    apart. Log-probs are sums over tokens as in the paper; `averaged` divides them by the answers'
    lengths, as the authors later advised and most code does.
    """

    tau: float = 0.1
    averaged: bool = False
    samples: int = 4
    sampler: PolicyRef = "initial"
    reference: PolicyRef = "initial"

    name: ClassVar[str] = "ipo"
    paper: ClassVar[str] = "Azar et al. 2023, arXiv 2310.12036, Eq. 17"
    defaults: ClassVar[Hyper] = Hyper(learning_rate=5e-7, lora_learning_rate=5e-5)

    def plan(self, iteration: int, iterations: int) -> Plan:
        return Plan(
            samples=self.samples,
            sampler=self.sampler,
            gold=self.sampler == "initial",
            judge="score",
            start="previous",
            references=(self.reference,),
        )

    def examples(self, group: Group, rng: Random) -> list[Pair]:
        return rules.best_worst(group)

    def loss(self, policy: LogProbs, references: Mapping[str, LogProbs], batch: Batch) -> Loss:
        """Eq. 17, reference as set."""
        found = losses.ipo(policy, references[self.reference], self.tau, self.averaged)
        return losses.mean(found, batch.weights)
