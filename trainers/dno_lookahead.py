"""DNO-Lookahead: one training from the start model on all pairs of a whole run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from random import Random
from typing import ClassVar

from harness.types import Batch, Group, Hyper, LogProbs, Loss, Pair, Plan
from trainers import losses, rules


@dataclass(frozen=True)
class DNOLookahead:
    """All iterations but the last are DNO's. The last one makes its pairs as DNO does, then takes
    all pairs of all iterations and trains one epoch from the initial model, which is also the
    reference. In a run of three that is the paper's ablation: the same pairs, learnt at once
    instead of one iteration after another. The last iteration's scores are the method's.

    Departures: DNO's. A longer run makes another iteration the last one, so a run that is extended
    trains its former last iteration again.
    """

    beta: float = 0.1
    samples: int = 5
    # Under a score judge, on the paper's additive 0–6 scale; stretched to that of other judges.
    score_gate: float = 5.0
    gold_margin: float = 2.0
    student_margin: float = 1.0
    # Under a pair judge: win rates inside the pool, 0..1.
    gold_win_rate: float = 0.7
    student_win_rate: float = 0.5
    gold_win_margin: float = 0.3
    student_win_margin: float = 0.15
    # A student's sample with a larger share of repeated n-grams is a negative at once.
    repeated_ngram: int = 4
    repeated_share: float = 0.3
    replay: tuple[float, ...] = (0.30, 0.15)  # before the last iteration

    name: ClassVar[str] = "dno-lookahead"
    paper: ClassVar[str] = "Rosset et al. 2024, arXiv 2404.03715, DNO-Lookahead (Section 4)"
    defaults: ClassVar[Hyper] = Hyper(learning_rate=5e-7, lora_learning_rate=5e-5)

    def plan(self, iteration: int, iterations: int) -> Plan:
        last = iteration == iterations
        return Plan(
            samples=self.samples,
            sampler="previous",
            gold=True,
            judge="score",
            start="initial" if last else "previous",
            references=("initial",) if last else ("previous",),
            replay=(1.0,) * (iterations - 1) if last else self.replay,
        )

    def examples(self, group: Group, rng: Random) -> list[Pair]:
        gate = rules.gate_of(
            group,
            scores=rules.Gate(
                self.score_gate, self.score_gate, self.gold_margin, self.student_margin
            ),
            wins=rules.Gate(
                self.gold_win_rate,
                self.student_win_rate,
                self.gold_win_margin,
                self.student_win_margin,
            ),
        )
        return rules.dno_pairs(group, gate, self.repeated_ngram, self.repeated_share)

    def loss(self, policy: LogProbs, references: Mapping[str, LogProbs], batch: Batch) -> Loss:
        """Algorithm 2, line 6: −log σ(β·d); reference π_t, in the last iteration the initial
        model."""
        (reference,) = references.values()
        return losses.mean(losses.dpo(policy, reference, self.beta), batch.weights)
