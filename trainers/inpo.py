"""Iterative Nash policy optimisation: a squared loss against two references at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from random import Random
from typing import ClassVar

from harness.types import Batch, Group, Hyper, LogProbs, Loss, Pair, Plan
from trainers import losses, rules


@dataclass(frozen=True)
class INPO:
    """K samples of π_t are compared with each other, best against worst is the prompt's pair, and
    its log-ratio to a mixture of π_t and the initial model is drawn to 1/(2η). Online mirror
    descent in the game regularised towards the initial model.

    Departures: the paper compares by a tournament; here the best and the worst are those of the
    mean of hard wins inside the pool.
    """

    eta: float = 0.005  # multiplies the log-ratio, as DPO's β does
    tau_over_eta: float = 1 / 3  # the initial model's share
    samples: int = 8

    name: ClassVar[str] = "inpo"
    paper: ClassVar[str] = "Zhang et al. 2024, arXiv 2407.00617, Algorithm 1"
    defaults: ClassVar[Hyper] = Hyper(learning_rate=5e-7, lora_learning_rate=5e-5)

    def plan(self, iteration: int, iterations: int) -> Plan:
        return Plan(
            samples=self.samples,
            sampler="previous",
            gold=False,
            judge="compare",
            start="previous",
            references=("previous", "initial"),
        )

    def examples(self, group: Group, rng: Random) -> list[Pair]:
        return rules.best_worst(group)

    def loss(self, policy: LogProbs, references: Mapping[str, LogProbs], batch: Batch) -> Loss:
        """The loss of Algorithm 1 (its equation's number is not confirmed), references π_t and the
        initial model."""
        found = losses.inpo(
            policy, references["previous"], references["initial"], self.eta, self.tau_over_eta
        )
        return losses.mean(found, batch.weights)
