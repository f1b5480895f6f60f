"""A method that plays a game: its own examples and loss, on a policy of one logit an action.

A prompt is one more sight of the same game, a completion's text the number of an action, its
length 1. All else is as with language models: pools are sampled from the plan's policy, judged,
made into examples, and the method's loss is minimised against the plan's references.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random

import numpy as np
import torch
from scipy import optimize
from torch import Tensor

from harness.errors import HarnessError
from harness.judges.adapters import pool_scores
from harness.lab.exact import normalised
from harness.lab.games import Array, Game
from harness.stages.common import pool
from harness.stages.examples import make_examples, replayed
from harness.training.batches import parts_of
from harness.types import (
    Batch,
    Completion,
    Example,
    Group,
    LogProbs,
    Message,
    Method,
    Plan,
    Prompt,
)

ACTIONS = 2048
"""Actions sampled an iteration, in pools of whatever size: enough that what is left between a
policy and the exact update is the bias of the pools, not noise."""


@dataclass
class TabularPlayer:
    """Plays one method's updates one after another.

    `log_start` [n] is the initial policy; `log_reference` [n] what a loss compares with where its
    plan says `initial`; `eta` what the method's loss multiplies log-ratios by; `updates` how many
    there will be.
    """

    game: Game
    method: Method
    log_start: Array
    log_reference: Array
    eta: float
    updates: int
    seed: int
    _own: list[list[Example]] = field(default_factory=list, init=False)  # the latest first

    def update(self, log_policy: Array, iteration: int) -> Array:
        """The log-policy [n] after iteration 1..`updates`; unchanged where the pools gave nothing
        to learn from."""
        plan = self.method.plan(iteration, self.updates)
        new, _ = make_examples(
            self.method, self.seed, iteration, list(self._pools(plan, log_policy, iteration))
        )
        back = replayed(plan, self._own, iteration, self.seed)
        self._own.insert(0, new)
        if not new and not back:
            return log_policy
        start = log_policy if plan.start == "previous" else self.log_start
        references: dict[str, Array] = {
            name: log_policy if name == "previous" else self.log_reference
            for name in plan.references
        }
        return minimise(self.method, [*new, *back], start, references, self.eta)

    def _pools(self, plan: Plan, log_policy: Array, iteration: int) -> Iterator[Group]:
        """Judged pools: the matrix says who beats whom, a score is the win rate in the pool."""
        weights = np.exp(log_policy if plan.sampler == "previous" else self.log_start).tolist()
        for number in range(max(1, ACTIONS // max(1, plan.samples))):
            prompt = Prompt(str(number), (Message("user", "Play."),), gold=str(self.game.gold))
            random = Random(f"lab:{self.seed}:{iteration}:{number}")
            drawn = random.choices(range(self.game.size), weights, k=plan.samples)
            sampled = [Completion(prompt.id, k, str(action)) for k, action in enumerate(drawn)]
            yield self._judged(prompt, pool(prompt, sampled, plan), plan)

    def _judged(self, prompt: Prompt, pool: tuple[Completion, ...], plan: Plan) -> Group:
        if plan.judge == "none":
            return Group(prompt, pool)
        actions = [int(completion.text) for completion in pool]
        rows = self.game.payoff[np.ix_(actions, actions)].tolist()
        preferences = tuple(tuple(row) for row in rows)
        return Group(prompt, pool, pool_scores(preferences, self.game.name), preferences)


def minimise(
    method: Method,
    examples: Sequence[Example],
    log_start: Array,
    references: Mapping[str, Array],
    eta: float,
) -> Array:
    """The log-policy [n] that minimises a method's loss over all examples at once, from
    `log_start`: L-BFGS in float64, the same on every machine up to rounding.

    It steps in η times the logits, which is what a loss sees, so that every η is equally hard.
    Where the least loss lies at infinity (a preference that no example contradicts) it ends where
    the gradient is below 1e-9, some 20/η nats away.
    """
    actions, batch = _encoded(examples)
    start = torch.tensor(log_start)
    fixed = {
        name: _log_probs(torch.tensor(log_policy), actions)
        for name, log_policy in references.items()
    }

    def value_and_gradient(steps: Array) -> tuple[float, Array]:
        free = torch.tensor(steps, requires_grad=True)
        policy = _log_probs(torch.log_softmax(start + free / eta, dim=0), actions)
        loss = method.loss(policy, fixed, batch).mean
        (gradient,) = torch.autograd.grad(loss, free)
        return loss.item(), gradient.numpy()

    # no tolerance on the loss itself: near the optimum it changes by its square
    exact = {"gtol": 1e-9, "ftol": 0.0, "maxiter": 500}
    search = optimize.minimize(
        value_and_gradient, np.zeros_like(log_start), jac=True, method="L-BFGS-B", options=exact
    )
    found = normalised(log_start + search.x / eta)
    if not np.isfinite(found).all():
        raise HarnessError(
            f"The loss of '{method.name}' has no finite minimum that could be found in this game; "
            "try another --eta."
        )
    return found


def _encoded(examples: Sequence[Example]) -> tuple[Tensor, Batch]:
    """The action of each row, [k·n] in the order of `LogProbs`, and what the loss sees beside."""
    parts = [parts_of(example) for example in examples]
    actions = [[_action(completion) for completion in side] for side, _, _ in parts]
    values = torch.tensor([values for _, values, _ in parts], dtype=torch.float64)
    desirable = torch.tensor([desirable for _, _, desirable in parts])
    weights = torch.tensor([example.weight for example in examples], dtype=torch.float64)
    batch = Batch(weights, values.T.flatten(), desirable.T.flatten())
    return torch.tensor(actions).T.flatten(), batch


def _action(completion: Completion) -> int:
    try:
        return int(completion.text)
    except ValueError:
        raise HarnessError(
            f"An example's text is '{completion.text[:40]}', which is no action of the game; only "
            "methods that train on what was sampled, or on the gold answer, can play."
        ) from None


def _log_probs(log_policy: Tensor, actions: Tensor) -> LogProbs:
    """The rows' log-probs. Every prompt is the same game, so an answer to another prompt is an
    answer to this one."""
    sums = log_policy[actions]
    return LogProbs(sums, torch.ones_like(actions), mismatched=sums.detach())
