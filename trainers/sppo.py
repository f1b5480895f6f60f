"""Self-play preference optimisation: each answer's log-ratio is drawn to its own win rate."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from random import Random
from typing import ClassVar

from harness.types import Batch, Group, Hyper, LogProbs, Loss, Pair, Plan
from trainers import losses, rules


@dataclass(frozen=True)
class SPPO:
    """K samples of π_t are compared with each other; of the best and the worst each one's
    log-ratio to π_t is drawn to η(P − ½), P its mean preference against the pool. So the chosen
    answer itself becomes more likely, not only its lead.

    Departures: the win rate leaves the answer itself out, as everywhere here; the paper counts it
    at ½, which draws every P to ½ by 1/K. The authors' code uses hard targets of ±½ as an option;
    these are the paper's soft ones.
    """

    eta: float = 1e3  # what 1/β is in DPO
    samples: int = 5

    name: ClassVar[str] = "sppo"
    paper: ClassVar[str] = "Wu et al. 2024, arXiv 2405.00675, Algorithm 1"
    defaults: ClassVar[Hyper] = Hyper(learning_rate=5e-7, lora_learning_rate=5e-5)

    def plan(self, iteration: int, iterations: int) -> Plan:
        return Plan(
            samples=self.samples,
            sampler="previous",
            gold=False,
            judge="compare",
            start="previous",
            references=("previous",),
        )

    def examples(self, group: Group, rng: Random) -> list[Pair]:
        return rules.best_worst(group, by=rules.soft_values)

    def loss(self, policy: LogProbs, references: Mapping[str, LogProbs], batch: Batch) -> Loss:
        """Eq. 4.7: (a − η(P_w − ½))² + (b − η(P_l − ½))², reference π_t."""
        found = losses.sppo(policy, references["previous"], batch.values, self.eta)
        return losses.mean(found, batch.weights)
