"""DNO-Restrictive: only the teacher's answer can win."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from random import Random
from typing import ClassVar

from harness.types import Batch, Group, Hyper, LogProbs, Loss, Pair, Plan
from trainers import losses, rules


@dataclass(frozen=True)
class DNORestrictive:
    """DNO as its paper ran it, with the teacher ≻ student pairs alone: the student's own answers
    are never positives, whatever the judge says, so the student cannot pass its teacher.

    Departures: DNO's, where they are about these pairs: the learning rate, the n-gram rule's
    number, ranks by hard wins under a pair judge.
    """

    beta: float = 0.1
    samples: int = 5
    # Under a score judge, on the paper's additive 0–6 scale; stretched to that of other judges.
    score_gate: float = 5.0
    gold_margin: float = 2.0
    # Under a pair judge: win rates inside the pool, 0..1.
    gold_win_rate: float = 0.7
    gold_win_margin: float = 0.3
    # A student's sample with a larger share of repeated n-grams is a negative at once.
    repeated_ngram: int = 4
    repeated_share: float = 0.3
    replay: tuple[float, ...] = (0.30, 0.15)

    name: ClassVar[str] = "dno-restrictive"
    paper: ClassVar[str] = "Rosset et al. 2024, arXiv 2404.03715, DNO-Restrictive (Section 4)"
    defaults: ClassVar[Hyper] = Hyper(learning_rate=5e-7, lora_learning_rate=5e-5)

    def plan(self, iteration: int, iterations: int) -> Plan:
        return Plan(
            samples=self.samples,
            sampler="previous",
            gold=True,
            judge="score",
            start="previous",
            references=("previous",),
            replay=self.replay,
        )

    def examples(self, group: Group, rng: Random) -> list[Pair]:
        gate = rules.gate_of(
            group,
            scores=rules.Gate(self.score_gate, math.inf, self.gold_margin, 0.0),
            wins=rules.Gate(self.gold_win_rate, math.inf, self.gold_win_margin, 0.0),
        )
        return rules.dno_pairs(group, gate, self.repeated_ngram, self.repeated_share)

    def loss(self, policy: LogProbs, references: Mapping[str, LogProbs], batch: Batch) -> Loss:
        """Algorithm 2, line 6: −log σ(β·d), reference π_t."""
        return losses.mean(losses.dpo(policy, references["previous"], self.beta), batch.weights)
