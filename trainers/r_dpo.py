"""Length-regularised DPO: a chosen answer that is longer must earn less."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from random import Random
from typing import ClassVar

from harness.types import Batch, Group, Hyper, LogProbs, Loss, Pair, Plan
from trainers import losses, rules


@dataclass(frozen=True)
class RDPO:
    """−log σ(β·d + α(|w| − |l|)) against the initial model, lengths in tokens, on fixed pairs: the
    data's own, else best against worst of the initial model's samples and the gold answer. The
    plus sign penalises length.

    Departures: none in the loss. Iteration t goes on from the previous weights with part t of the
    prompts; the reference stays the initial model.
    """

    beta: float = 0.1
    alpha: float = 0.05
    samples: int = 4
    gold: bool = True

    name: ClassVar[str] = "r-dpo"
    paper: ClassVar[str] = "Park et al. 2024, arXiv 2403.19159"
    defaults: ClassVar[Hyper] = Hyper(learning_rate=5e-7, lora_learning_rate=5e-5)

    def plan(self, iteration: int, iterations: int) -> Plan:
        return Plan(
            samples=self.samples,
            sampler="initial",
            gold=self.gold,
            judge="score",
            start="previous",
            references=("initial",),
        )

    def examples(self, group: Group, rng: Random) -> list[Pair]:
        return rules.best_worst(group)

    def loss(self, policy: LogProbs, references: Mapping[str, LogProbs], batch: Batch) -> Loss:
        """The regularised objective (its equation's number is not confirmed), reference the
        initial model."""
        found = losses.r_dpo(policy, references["initial"], self.beta, self.alpha)
        return losses.mean(found, batch.weights)
