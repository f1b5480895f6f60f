"""`--match`: several methods at one cost an iteration, which is the least of what each would spend.

Steps and tokens are known once an iteration's examples are made, so the methods go in step: all
make their examples, then each trains on so many of its own as the cheapest has. Judgements are
known beforehand: a method that asks more a prompt gets fewer prompts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from math import lcm

from harness import codec
from harness.errors import HarnessError
from harness.experiment import Experiment
from harness.plan import judgements
from harness.records import RunRecord
from harness.stages.examples import read_examples
from harness.stages.judging import VERDICTS
from harness.stages.training import drawn
from harness.store import Artifact
from harness.types import Example, Prompt


@dataclass(frozen=True, slots=True)
class Spent:
    """What the iterations of a run took: examples and optimiser steps, tokens of all forward passes
    that were trained on, and judgements of training candidates."""

    examples: int
    steps: int
    tokens: int
    judgements: int


def spent(run: RunRecord) -> Spent:
    trained = [r.training for r in run.iterations if r.training]
    verdicts = [run.path / f"iter-{r.iteration}" / VERDICTS for r in run.iterations]
    return Spent(
        examples=sum(summary.examples for summary in trained),
        steps=sum(len(summary.steps) for summary in trained),
        tokens=sum(summary.tokens for summary in trained),
        judgements=sum(1 for file in verdicts if file.exists() for _ in codec.read_lines(file)),
    )


# --- judgements -------------------------------------------------------------------------------


def with_equal_judgements(experiments: Sequence[Experiment]) -> list[Experiment]:
    """The experiments with so many of each iteration's prompts that none asks for more judgements
    than the one that needs the fewest. Raises HarnessError where one needs none."""
    parts = [list(experiment.partition.parts) for experiment in experiments]
    for t in range(1, len(parts[0]) + 1):
        costs = [[_asked(e, t, prompt) for prompt in e.prompts(t)] for e in experiments]
        for experiment, cost in zip(experiments, costs, strict=True):
            if not sum(cost):
                raise HarnessError(
                    f"--match judgements: '{experiment.method.name}' asks the judge nothing in "
                    f"iteration {t}; leave it out, or match steps or tokens."
                )
        least = min(map(sum, costs))
        for experiment, cost, own in zip(experiments, costs, parts, strict=True):
            own[t - 1] = own[t - 1][: _within(cost, least)]
            if not own[t - 1]:
                raise HarnessError(
                    f"--match judgements: '{experiment.method.name}' needs {cost[0]} for one prompt"
                    f", and another method only {least} for all of iteration {t}; give more "
                    "prompts, or match steps or tokens."
                )
    return [
        replace(experiment, partition=replace(experiment.partition, parts=tuple(own)))
        for experiment, own in zip(experiments, parts, strict=True)
    ]


def _asked(experiment: Experiment, iteration: int, prompt: Prompt) -> int:
    """What a policy says of itself is no judgement of the judge."""
    plan = experiment.plan(iteration)
    return judgements(experiment, plan, prompt) if plan.judged_by == "configured" else 0


# --- steps and tokens -------------------------------------------------------------------------


@dataclass(frozen=True)
class Ready:
    """A method that has made an iteration's examples and would train on them."""

    experiment: Experiment
    iteration: int
    examples: Sequence[Example]

    @property
    def name(self) -> str:
        return self.experiment.method.name

    @property
    def epochs(self) -> int:
        return self.experiment.config.train.epochs or self.experiment.method.defaults.epochs

    @property
    def batch_size(self) -> int:
        return self.experiment.config.train.batch_size or self.experiment.method.defaults.batch_size

    @property
    def steps(self) -> int:
        return self.epochs * -(-len(self.examples) // self.batch_size)

    def costs(self) -> list[int]:
        """Tokens of each example in all epochs, in the order in which they are drawn."""
        from harness.models.chat import ChatTokenizer
        from harness.training.batches import parts_of

        chat = ChatTokenizer.load(self.experiment.start.path)
        prompts = {e.prompt: len(chat.prompt_ids(e.prompt)) for e in self.examples}
        order = drawn(len(self.examples), self.experiment.config.seed, self.iteration)
        return [
            self.epochs
            * sum(
                prompts[example.prompt] + len(chat.completion_ids(completion))
                for completion in parts_of(example)[0]
            )
            for example in (self.examples[index] for index in order)
        ]


def examples_to_take(
    cost: str, experiments: Sequence[Experiment], iteration: int, made: Sequence[Artifact]
) -> list[int | None]:
    """How many of its examples each method may take (None: all), for equal `steps` or `tokens`."""
    ready = [
        Ready(experiment, iteration, read_examples(artifact))
        for experiment, artifact in zip(experiments, made, strict=True)
    ]
    for one in ready:
        if not one.examples:
            raise HarnessError(
                f"--match {cost}: '{one.name}' has no example in iteration {iteration}, so the "
                "others would not train either; leave it out, or loosen its gate."
            )
    counts = _for_steps(ready) if cost == "steps" else _for_tokens(ready)
    return [
        None if count >= len(one.examples) else count
        for one, count in zip(ready, counts, strict=True)
    ]


def _for_steps(ready: Sequence[Ready]) -> list[int]:
    """Whole epochs of equally many steps in all."""
    unit = lcm(*(one.epochs for one in ready))
    steps = min(one.steps for one in ready) // unit * unit
    if not steps:
        told = ", ".join(f"{r.name} {r.epochs} epochs and {r.steps} steps" for r in ready)
        raise HarnessError(
            f"--match steps: iteration {ready[0].iteration} has no number of steps that all can "
            f"make in whole epochs ({told}); set train.epochs for all."
        )
    return [steps // one.epochs * one.batch_size for one in ready]


def _for_tokens(ready: Sequence[Ready]) -> list[int]:
    """As many examples as fit into the fewest tokens."""
    costs = [one.costs() for one in ready]
    least = min(map(sum, costs))
    counts = [_within(cost, least) for cost in costs]
    for one, count in zip(ready, counts, strict=True):
        if not count:
            raise HarnessError(
                f"--match tokens: an example of '{one.name}' in iteration {one.iteration} has more "
                f"than the {least} tokens of another method's iteration; match steps, or give more "
                "prompts."
            )
    return counts


def _within(costs: Sequence[int], most: int) -> int:
    """How many of the first cost no more than `most` together."""
    return sum(1 for total in accumulate(costs) if total <= most)
