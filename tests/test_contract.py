"""`check_method` says which promise a method breaks."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from random import Random
from typing import Any, cast

import pytest
import torch

from harness.errors import HarnessError
from harness.testing import check_method
from harness.types import Batch, Demo, Example, Group, LogProbs, Loss, Method, Pair, Plan, Score
from trainers import losses, rules
from trainers.iterative_dpo import IterativeDPO

PLAN = Plan(samples=4, sampler="previous", gold=False, judge="compare")
SCORED = replace(PLAN, judge="score")
Losses = losses.Losses


def broken(**parts: Any) -> Method:
    """Iterative DPO with other parts."""
    return cast(Method, dataclass(frozen=True)(type("Broken", (IterativeDPO,), parts))())


def planned(**changes: Any) -> Method:
    return broken(plan=lambda self, iteration, iterations: replace(PLAN, **changes))


def making(examples: Callable[[Group], Iterable[Any]], plan: Plan = PLAN) -> Method:
    return broken(
        plan=lambda self, iteration, iterations: plan,
        examples=lambda self, group, rng: examples(group),
    )


def losing(loss: Callable[[Losses, Batch], object]) -> Method:
    """A method whose loss is made from DPO's."""

    def of(
        self: object, policy: LogProbs, references: Mapping[str, LogProbs], batch: Batch
    ) -> object:
        return loss(losses.dpo(policy, references["previous"], 0.1), batch)

    return broken(loss=of)


def changed(group: Group, change: Callable[[Pair], Example]) -> list[Example]:
    return [change(pair) for pair in rules.best_worst(group)]


def swapped(pair: Pair) -> Pair:
    return replace(pair, chosen=pair.rejected, rejected=pair.chosen)


def invented(pair: Pair) -> Pair:
    return replace(pair, chosen=replace(pair.chosen, text="Something else."))


def failures_are_zero(group: Group) -> list[Pair]:
    scores = tuple(Score(score.value or 0.0, "") for score in group.scores or ())
    return rules.best_worst(replace(group, scores=scores, preferences=None))


def first_wins(group: Group) -> list[Pair]:
    return [Pair(group.prompt, *group.completions[:2], 1.0, 0.0)]


def any_two(group: Group) -> list[Pair]:
    found = rules.usable(group)
    return [rules.pair(group, found[0], found[1])] if len(found) > 1 else []


def of_two_kinds(group: Group) -> list[Example]:
    pairs = rules.best_worst(group)
    return [*pairs, *[Demo(pair.prompt, pair.chosen) for pair in pairs]]


def other_reference(
    self: object, policy: LogProbs, references: Mapping[str, LogProbs], batch: Batch
) -> Loss:
    return losses.mean(losses.dpo(policy, references["initial"], 0.1), batch.weights)


def no_reference(
    self: object, policy: LogProbs, references: Mapping[str, LogProbs], batch: Batch
) -> Loss:
    return losses.mean(losses.simpo(policy, 2.0, 1.0), batch.weights)


def with_diagnostic(values: Callable[[Losses], torch.Tensor]) -> Method:
    def loss(found: Losses, batch: Batch) -> Loss:
        return losses.mean(Losses(found.values, {"mine": values(found)}), batch.weights)

    return losing(loss)


@dataclass
class Thawed:
    name = IterativeDPO.name
    paper = IterativeDPO.paper
    defaults = IterativeDPO.defaults
    plan = IterativeDPO.plan
    examples = IterativeDPO.examples
    loss = IterativeDPO.loss


BROKEN: dict[str, Method] = {
    "it is not frozen": cast(Method, Thawed()),
    "'paper' is no text": broken(paper=""),
    "plan() fails in iteration 1 of 1 (ZeroDivisionError": broken(plan=lambda self, t, n: t // 0),
    "plan() gives no Plan": broken(plan=lambda self, t, n: None),
    "plan() gives two answers": broken(
        plan=lambda self, t, n: replace(PLAN, samples=1 + random.randrange(10**9))
    ),
    "is wrong in 'sampler'": planned(sampler="newest"),
    "has lists for tuples": planned(references=["previous"]),
    "has 0 samples of the sampler 'previous'": planned(samples=0),
    "judges without a sampler": planned(samples=0, sampler="none"),
    "replays (1.5,)": planned(replay=(1.5,)),
    "examples() answers differently": broken(
        examples=lambda self, group, rng: [
            replace(pair, weight=random.random()) for pair in rules.best_worst(group)
        ]
    ),
    "examples() fails in iteration 1 of 1 under a judge that compares, where the pool has one "
    "candidate only (TypeError": making(first_wins),
    "a pair is of two equal texts": making(any_two, SCORED),
    "not among the group's completions": making(lambda group: changed(group, invented)),
    "whose judgement failed": making(failures_are_zero, SCORED),
    "the answer that the judge finds worse": making(lambda group: changed(group, swapped)),
    "no Demo, Pair or Labelled": making(lambda group: [group.prompt]),
    "a value that is not finite": making(
        lambda group: changed(group, lambda pair: replace(pair, chosen_value=float("nan")))
    ),
    "of several kinds: ['Demo', 'Pair']": making(of_two_kinds),
    "examples() gives none": making(lambda group: []),
    "loss() fails in iteration 1 of 1 with the references ('previous',) (KeyError: 'initial'": (
        broken(loss=other_reference)
    ),
    "but loss() reads []": broken(loss=no_reference),
    "depends on how a step is cut": losing(
        lambda found, batch: Loss((batch.weights * found.values).sum(), {})
    ),
    "divide by the number of examples": losing(
        lambda found, batch: Loss((batch.weights * found.values).sum() / batch.weights.sum(), {})
    ),
    "is not batch.weights times": losing(lambda found, batch: Loss(found.values.mean(), {})),
    "does not depend on the policy's log-probs": losing(
        lambda found, batch: losses.mean(Losses(found.values.detach(), {}), batch.weights)
    ),
    "has no gradient": losing(
        lambda found, batch: losses.mean(Losses(0 * found.values, {}), batch.weights)
    ),
    "no finite scalar": losing(lambda found, batch: Loss(found.values / 0, {})),
    "is 0.5, no finite scalar": losing(lambda found, batch: Loss(cast(Any, 0.5), {})),
    "loss() gives no Loss": losing(lambda found, batch: found.values.mean()),
    "is not one detached value an example": with_diagnostic(lambda found: found.values),
    "'mine' of iteration 1 of 1 is not finite": with_diagnostic(
        lambda found: found.values.detach() / 0
    ),
}


@pytest.mark.parametrize("sentence", BROKEN)
def test_a_broken_promise_is_named(sentence: str) -> None:
    with pytest.raises(AssertionError) as told:
        check_method(BROKEN[sentence])
    assert sentence in str(told.value)
    assert str(told.value).startswith(f"The method {type(BROKEN[sentence]).__name__}: ")


def test_a_method_that_keeps_its_promises_passes_with_other_settings_too() -> None:
    check_method(IterativeDPO())
    check_method(IterativeDPO(beta=0.5, samples=2, reference="initial"))
    check_method("iterative-dpo")


def test_what_is_no_method_is_a_harness_error() -> None:
    with pytest.raises(HarnessError, match="No method 'iterativ-dpo': did you mean"):
        check_method("iterativ-dpo")
    with pytest.raises(HarnessError, match="must be a \\(frozen\\) dataclass"):
        check_method(cast(Method, Random()))
