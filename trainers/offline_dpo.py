"""Offline DPO: fixed pairs, the initial model as reference."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from random import Random
from typing import ClassVar

from harness.types import Batch, Group, Hyper, LogProbs, Loss, Pair, Plan
from trainers import losses, rules


@dataclass(frozen=True)
class OfflineDPO:
    """−log σ(β·d) against the initial model (arXiv 2305.18290, Eq. 7), on pairs that do not depend
    on the policy being trained.

    Where the data has a rejected answer of its own, its group holds gold and rejected with scores
    1 and 0, and the pair is those two. Elsewhere the *initial* policy's samples and the gold
    answer are judged, best against worst: the same rule reads both. Iteration t goes on from the
    previous weights with part t of the prompts; the reference stays the initial model.
    """

    beta: float = 0.1
    samples: int = 4
    gold: bool = True

    name: ClassVar[str] = "offline-dpo"
    paper: ClassVar[str] = "Rafailov et al. 2023, arXiv 2305.18290, Eq. 7"
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
        """Eq. 7, reference the initial model."""
        return losses.mean(losses.dpo(policy, references["initial"], self.beta), batch.weights)
