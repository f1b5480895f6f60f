"""Regularised Direct Nash Optimization: the regression is drawn towards the initial model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from random import Random
from typing import ClassVar

from harness.types import Batch, Group, Hyper, LogProbs, Loss, Pair, Plan
from trainers import losses, rules


@dataclass(frozen=True)
class DNORegularised:
    """DNO's regression on soft win rates (Algorithm 1) with the reference log-prob
    (1 − τ/η)·log π_t + (τ/η)·log π_ref, π_ref the initial model (Appendix A, Option I). For the
    exact update the last iterate converges; without the second term it circles outward.

    Departures: as in the unregularised form, the expectation over π_t is taken over the prompt's
    own pool. The paper ran no experiment with it and gives no τ; τ/η is 0.1 here.
    """

    eta: float = 0.1  # multiplies the log-ratio, as DPO's β does
    tau_over_eta: float = 0.1  # the initial model's share in the reference
    samples: int = 5

    name: ClassVar[str] = "dno-regularised"
    paper: ClassVar[str] = "Rosset et al. 2024, arXiv 2404.03715, Appendix A, Option I"
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
        return rules.all_pairs(group, margin=0, by=rules.soft_values)

    def loss(self, policy: LogProbs, references: Mapping[str, LogProbs], batch: Batch) -> Loss:
        """Eq. 8 against Appendix A's reference."""
        mixed = losses.mixture(references["previous"], references["initial"], self.tau_over_eta)
        return losses.mean(losses.dno(policy, mixed, batch.values, self.eta), batch.weights)
