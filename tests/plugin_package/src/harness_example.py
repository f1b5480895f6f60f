"""Best against worst of the policy's own samples, under the DPO loss."""

from collections.abc import Mapping
from dataclasses import dataclass
from random import Random
from typing import ClassVar

from harness.types import Batch, Group, Hyper, LogProbs, Loss, Pair, Plan
from trainers import losses, rules


@dataclass(frozen=True)
class ExampleMethod:
    """Say what the method does, and where it departs from its paper."""

    # Settings: the fields, and only they. From outside: --set method.beta=0.05
    beta: float = 0.1
    samples: int = 4

    name: ClassVar[str] = "example"
    # Where it comes from: the paper and its equation. Reports show it.
    paper: ClassVar[str] = "Rafailov et al. 2023, arXiv 2305.18290, Eq. 7"
    # Training's numbers, where neither a preset nor a user says others.
    defaults: ClassVar[Hyper] = Hyper(learning_rate=5e-7, lora_learning_rate=5e-5)

    def plan(self, iteration: int, iterations: int) -> Plan:
        """What one iteration does: who is sampled, whether a judge compares or scores, whether
        the gold answer joins, which policies the loss is measured against."""
        return Plan(
            samples=self.samples,
            sampler="previous",
            gold=False,
            judge="compare",
            references=("previous",),
        )

    def examples(self, group: Group, rng: Random) -> list[Pair]:
        """One prompt's judged answers in, examples out: pairs, demos or labelled answers.

        A failed judgement is None; skip that answer. Take every random choice from `rng`.
        """
        return rules.best_worst(group)

    def loss(
        self,
        policy: LogProbs,
        references: Mapping[str, LogProbs],
        batch: Batch,
    ) -> Loss:
        """Summed log-probs in, a scalar out: the chosen answers' first, then the rejected ones'.

        `losses.mean` divides by the number of examples, and not by the sum of their weights.
        """
        found = losses.dpo(policy, references["previous"], self.beta)
        return losses.mean(found, batch.weights)
