"""Supervised fine-tuning on the teacher's answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from random import Random
from typing import ClassVar

from harness.types import Batch, Demo, Group, Hyper, LogProbs, Loss, Plan
from trainers import losses, rules


@dataclass(frozen=True)
class SFT:
    """Imitates the gold answer of each prompt: −mean token log π(y), the prompt masked.

    Nothing is sampled and nothing judged; a prompt without gold answer gives nothing. Iteration t
    goes on from the previous weights with part t of the prompts.
    """

    name: ClassVar[str] = "sft"
    paper: ClassVar[str] = "Ouyang et al. 2022, arXiv 2203.02155, step 1"
    defaults: ClassVar[Hyper] = Hyper(learning_rate=5e-6, lora_learning_rate=1e-4)

    def plan(self, iteration: int, iterations: int) -> Plan:
        return Plan(
            samples=0, sampler="none", gold=True, judge="none", start="previous", references=()
        )

    def examples(self, group: Group, rng: Random) -> list[Demo]:
        gold = rules.gold_completion(group)
        return [] if gold is None else [Demo(group.prompt, gold)]

    def loss(
        self,
        policy: LogProbs,
        references: Mapping[str, LogProbs],
        batch: Batch,
    ) -> Loss:
        return losses.mean(losses.sft(policy), batch.weights)
