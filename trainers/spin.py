"""Self-play fine-tuning: the gold answer always wins, the policy's own always loses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from random import Random
from typing import ClassVar

from harness.types import Batch, Group, Hyper, LogProbs, Loss, Pair, Plan
from trainers import losses, rules


@dataclass(frozen=True)
class SPIN:
    """One sample of π_t a prompt is rejected and the gold answer chosen, without a judge; the
    pairs of the previous round come back. That is DPO with the gold answer chosen, reference π_t.

    Departures: the paper samples all prompts of its 50k in every iteration; here an iteration has
    its own part of the prompts unless the data are reused. A sample equal to the gold answer
    makes no pair.
    """

    beta: float = 0.1  # the paper's λ
    replay: tuple[float, ...] = (1.0,)  # this and the previous round

    name: ClassVar[str] = "spin"
    paper: ClassVar[str] = "Chen et al. 2024, arXiv 2401.01335, Eq. 4.7"
    defaults: ClassVar[Hyper] = Hyper(learning_rate=5e-7, lora_learning_rate=5e-5)

    def plan(self, iteration: int, iterations: int) -> Plan:
        return Plan(
            samples=1,
            sampler="previous",
            gold=True,
            judge="none",
            start="previous",
            references=("previous",),
            replay=self.replay,
        )

    def examples(self, group: Group, rng: Random) -> list[Pair]:
        return rules.gold_wins(group)

    def loss(self, policy: LogProbs, references: Mapping[str, LogProbs], batch: Batch) -> Loss:
        """Eq. 4.7 with the logistic loss: −log σ(λ·d), reference π_t."""
        return losses.mean(losses.dpo(policy, references["previous"], self.beta), batch.weights)
