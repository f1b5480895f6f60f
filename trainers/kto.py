"""Kahneman–Tversky optimisation: single answers, desirable or not, instead of pairs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from random import Random
from typing import ClassVar

from harness.types import Batch, Group, Hyper, Labelled, LogProbs, Loss, Plan
from trainers import losses, rules


@dataclass(frozen=True)
class KTO:
    """Answers above their pool's mean are desirable, those below it are not. A desirable one is
    to rise above z, the others to fall below it; z estimates KL(π ‖ initial) from answers paired
    with other prompts of the same training data.

    Departures: the paper takes labels as given; here they come from the judge, on samples of the
    initial model and the gold answer (the data's own pair where it has one). z is the mean over
    the optimiser step, whatever the size of a forward pass.
    """

    beta: float = 0.1
    desirable_weight: float = 1.0
    undesirable_weight: float = 1.0
    samples: int = 4
    gold: bool = True

    name: ClassVar[str] = "kto"
    paper: ClassVar[str] = "Ethayarajh et al. 2024, arXiv 2402.01306, Eq. 8"
    defaults: ClassVar[Hyper] = Hyper(learning_rate=5e-7, lora_learning_rate=5e-5)

    def plan(self, iteration: int, iterations: int) -> Plan:
        return Plan(
            samples=self.samples,
            sampler="initial",
            gold=self.gold,
            judge="score",
            start="previous",
            references=("initial",),
            mismatched=True,
        )

    def examples(self, group: Group, rng: Random) -> list[Labelled]:
        return rules.labelled(group)

    def loss(self, policy: LogProbs, references: Mapping[str, LogProbs], batch: Batch) -> Loss:
        """Eq. 8, reference the initial model."""
        found = losses.kto(
            policy,
            references["initial"],
            batch.desirable,
            self.beta,
            self.desirable_weight,
            self.undesirable_weight,
        )
        return losses.mean(found, batch.weights)
