"""Supervised fine-tuning on the best answer of each judged pool."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from random import Random
from typing import ClassVar

from harness.types import Batch, Demo, Group, Hyper, LogProbs, Loss, Plan
from trainers import losses, rules


@dataclass(frozen=True)
class SFTPositives:
    """Imitates what the preference methods prefer: the best of K own samples and the gold answer,
    −mean token log π(y), the negatives left aside. What is gained over this is gained by contrast.

    Departures: the paper's positives are its fixed pairs' chosen answers; here they are those that
    the same judge chooses from the same pools as the other methods have. A pool without a worse
    answer has no positive, and gives nothing.
    """

    samples: int = 5
    gold: bool = True

    name: ClassVar[str] = "sft-positives"
    paper: ClassVar[str] = "Rosset et al. 2024, arXiv 2404.03715, SFT on positives (Section 4)"
    defaults: ClassVar[Hyper] = Hyper(learning_rate=5e-6, lora_learning_rate=1e-4)

    def plan(self, iteration: int, iterations: int) -> Plan:
        return Plan(
            samples=self.samples,
            sampler="previous",
            gold=self.gold,
            judge="score",
            start="previous",
            references=(),
        )

    def examples(self, group: Group, rng: Random) -> list[Demo]:
        return [Demo(pair.prompt, pair.chosen) for pair in rules.best_worst(group)]

    def loss(self, policy: LogProbs, references: Mapping[str, LogProbs], batch: Batch) -> Loss:
        return losses.mean(losses.sft(policy), batch.weights)
