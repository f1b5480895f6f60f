"""Who plays a game, and what is written down of each policy."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from harness.errors import HarnessError
from harness.lab.exact import Update, duality_gap, kl, nash_update, reward_update
from harness.lab.games import Array, Game, uniform
from harness.lab.settings import SHARE, configured
from harness.records import GameIteration, GameRun
from harness.registry import METHODS, find, method_fields, settings_of
from harness.types import Method

Reference = Literal["uniform", "start"]


@dataclass(frozen=True, eq=False, slots=True)
class Setup:
    """What all players of a game share.

    `start` [n] is the first policy, all above 0; `eta` > 0 multiplies log-ratios; `tau` (None:
    each player's own) draws to `reference`, 0 ≤ tau ≤ eta; `iterations` counts policies, the
    start included; `pool` actions a pool; `settings` are for the methods that have them.
    """

    game: Game
    start: Array
    eta: float
    tau: float | None
    iterations: int
    reference: Reference
    pool: int
    seed: int
    settings: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not 0 < self.eta < np.inf:
            raise HarnessError(f"--eta {self.eta:g}: η multiplies log-ratios; give one above 0.")
        if self.tau is not None and not 0 <= self.tau <= self.eta:
            raise HarnessError(
                f"--tau {self.tau:g}: τ/η is the reference's share; give τ from 0 to η "
                f"({self.eta:g})."
            )

    @property
    def log_start(self) -> Array:
        return np.log(self.start)

    @property
    def log_reference(self) -> Array:
        return self.log_start if self.reference == "start" else np.log(uniform(self.game.size))


Advance = Callable[[int], None]


def play_exact(setup: Setup, advance: Advance, tau: float) -> GameRun:
    """The exact update of self-play, regularised where τ > 0."""
    update = nash_update(setup.game, setup.eta, tau, setup.log_reference)
    name = "exact, regularised" if tau else "exact"
    return _record(setup, name, tau, None, update, advance)


def play_reward(setup: Setup, advance: Advance) -> GameRun:
    """The exact update of reward maximisation, Bradley–Terry rewards fitted to the game."""
    update = reward_update(setup.game, setup.eta)
    return _record(setup, "Bradley–Terry fit", 0.0, None, update, advance)


def play_method(setup: Setup, advance: Advance, name: str) -> GameRun:
    """A method on its own loss, from sampled pools. HarnessError where `self_judging`."""
    from harness.lab.tabular import TabularPlayer  # torch, which the exact updates do without

    method = make_player(name, setup)
    if self_judging(method, setup.iterations):
        raise HarnessError(
            f"The method '{method.name}' has the policy judge itself, and a policy of this game "
            "cannot read; choose a method that takes a judge."
        )
    player = TabularPlayer(
        setup.game,
        method,
        setup.log_start,
        setup.log_reference,
        setup.eta,
        setup.iterations - 1,
        setup.seed,
    )
    own = ", ".join(f"{key}={value}" for key, value in _own(name, setup).items())
    label = f"{method.name} ({own})" if own else method.name
    return _record(setup, label, own_tau(method, setup), setup.pool, player.update, advance)


def make_player(name: str, setup: Setup) -> Method:
    return configured(name, setup.eta, setup.tau, setup.pool, _own(name, setup))


def _own(name: str, setup: Setup) -> dict[str, Any]:
    """Those of the settings that a method has."""
    known = method_fields(find(METHODS, name))
    return {key: value for key, value in setup.settings.items() if key in known}


def self_judging(method: Method, iterations: int) -> bool:
    """Whether the policy is its own judge; not always at first, so two iterations are looked at."""
    last = max(2, iterations - 1)
    return any(method.plan(t, last).judged_by == "self" for t in range(1, last + 1))


def own_tau(method: Method, setup: Setup) -> float:
    """τ of a method with a mixed reference, 0 of others."""
    return float(settings_of(method).get(SHARE, 0.0)) * setup.eta


# --- what is written down ---------------------------------------------------------------------


def _record(
    setup: Setup, player: str, tau: float, pool: int | None, update: Update, advance: Advance
) -> GameRun:
    return GameRun(
        player=player,
        game=setup.game.name,
        payoff=tuple(tuple(row) for row in setup.game.payoff.tolist()),
        eta=setup.eta,
        tau=tau,
        reference=setup.reference,
        pool=pool,
        seed=setup.seed,
        iterations=_iterations(setup, update, advance),
    )


def _iterations(setup: Setup, update: Update, advance: Advance) -> tuple[GameIteration, ...]:
    """The policies π_1 (the start) … π_T, each with what is to be known of it."""
    game, log_policy, total = setup.game, setup.log_start, np.zeros(setup.game.size)
    found: list[GameIteration] = []
    for t in range(1, setup.iterations + 1):
        win_rate, distance, bound = None, None, None
        if t > 1:
            log_previous, log_policy = log_policy, update(log_policy, t - 1)
            win_rate, distance, bound = _moved(game, log_policy, log_previous, setup.eta)
        policy = np.exp(log_policy)
        total += policy
        found.append(
            GameIteration(
                iteration=t,
                gap_last=duality_gap(game, policy),
                gap_average=duality_gap(game, total / t),
                win_rate_vs_previous=win_rate,
                kl_to_previous=distance,
                improvement_bound=bound,
                policy=tuple(policy.tolist()),
            )
        )
        advance(1)
    return tuple(found)


def _moved(
    game: Game, log_policy: Array, log_previous: Array, eta: float
) -> tuple[float, float, float]:
    """Win rate against the predecessor, KL to it, and what an exact update's win rate is at
    least: ½ + η·KL (arXiv 2404.03715, monotonic improvement)."""
    win_rate = float(np.exp(log_policy) @ game.payoff @ np.exp(log_previous))
    distance = kl(log_policy, log_previous)
    return win_rate, distance, 0.5 + eta * distance
