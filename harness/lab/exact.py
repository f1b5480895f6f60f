"""What is exact in a game: gaps, win rates, divergences, and the updates that methods approximate.

Policies are arrays of log-probs [n], so that no action is lost however rarely it is played.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np

from harness.lab.games import Array, Game

Update: TypeAlias = Callable[[Array, int], Array]
"""The log-policy π_{t+1} from π_t and t, which is 1 for the start policy π_1."""


def normalised(logits: Array) -> Array:
    """Log-softmax."""
    return np.asarray(logits - np.logaddexp.reduce(logits))


def duality_gap(game: Game, policy: Array) -> float:
    """max(P·π) − min(π·P), 0..1, of probabilities: what the best responses of both players win
    against π together. 0 at a Nash equilibrium and nowhere else."""
    return float((game.payoff @ policy).max() - (policy @ game.payoff).min())


def kl(log_new: Array, log_old: Array) -> float:
    """KL(new ‖ old) in nats, at least 0 (rounding can fall below it)."""
    return max(float(np.exp(log_new) @ (log_new - log_old)), 0.0)


# --- updates ----------------------------------------------------------------------------------


def nash_update(game: Game, eta: float, tau: float, log_reference: Array) -> Update:
    """π_{t+1} ∝ π_t^{1−τ/η}·ref^{τ/η}·exp(P·π_t/η), arXiv 2404.03715, Algorithm 1 (τ = 0) and
    Appendix A; 0 ≤ τ ≤ η. Without τ it converges on average, with it in the last iterate."""
    pull = tau / eta

    def update(log_policy: Array, _: int) -> Array:
        worth = game.payoff @ np.exp(log_policy)
        return normalised((1 - pull) * log_policy + pull * log_reference + worth / eta)

    return update


def reward_update(game: Game, eta: float) -> Update:
    """π_{t+1} ∝ π_t·exp(r/η) with the Bradley–Terry rewards of the game: reward maximisation."""
    rewards = bradley_terry_rewards(game)

    def update(log_policy: Array, _: int) -> Array:
        return normalised(log_policy + rewards / eta)

    return update


def bradley_terry_rewards(game: Game) -> Array:
    """The rewards r [n], mean 0, that fit σ(r_i − r_j) to P(i ≻ j) best, equal weight on every
    pair, by Newton's method.

    Where some preferences are certain the best rewards are infinite; steps of at most 1 then end
    at differences that no decision can tell from it.
    """
    rewards = np.zeros(game.size)
    for _ in range(100):
        fitted = 1 / (1 + np.exp(rewards[None, :] - rewards[:, None]))
        gradient = (game.payoff - fitted).sum(axis=1)
        if abs(gradient).max() < 1e-12:
            break
        spread = fitted * (1 - fitted)
        np.fill_diagonal(spread, 0)
        curvature = np.diag(spread.sum(axis=1)) - spread
        step = np.linalg.lstsq(curvature, gradient, rcond=None)[0]
        rewards += step / max(1.0, abs(step).max())
    return np.asarray(rewards - rewards.mean())
