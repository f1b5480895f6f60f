"""Preference games: P[i][j] is the probability that action i is preferred to action j.

So P + Pᵀ = 1, and the diagonal is ½. The row player's value against a policy π is P·π.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.codec import read_json
from harness.errors import HarnessError, near_names

Array = NDArray[np.float64]
"""A policy is an array [n] of probabilities, its logarithm one of log-probs; a payoff is [n, n]."""

TOLERANCE = 1e-9
"""How far decimal fractions in a file may miss P + Pᵀ = 1."""


@dataclass(frozen=True, eq=False, slots=True)
class Game:
    """`payoff` [n, n] holds P(row ≻ column), n ≥ 2."""

    name: str
    payoff: Array

    @property
    def size(self) -> int:
        return len(self.payoff)

    @property
    def gold(self) -> int:
        """The action that stands for the teacher's answer: the best response to the uniform
        policy, the first one where several are."""
        worth = self.payoff.mean(axis=1)
        return int(np.flatnonzero(worth > worth.max() - TOLERANCE)[0])


def uniform(size: int) -> Array:
    return np.full(size, 1 / size)


# --- games by name ----------------------------------------------------------------------------


def rock_paper_scissors() -> Array:
    """Each action beats the next one in 9 of 10 cases, and the last the first."""
    return np.array([[0.5, 0.9, 0.1], [0.1, 0.5, 0.9], [0.9, 0.1, 0.5]])


def bradley_terry(size: int) -> Array:
    """σ(r_i − r_j) with rewards r from 1 down to −1 in equal steps: the one kind of game that a
    reward explains, and whose equilibrium is its best action."""
    rewards = np.linspace(1, -1, size)
    return 1 / (1 + np.exp(rewards[None, :] - rewards[:, None]))


def random_skew(size: int, seed: int) -> Array:
    """½ + S/2, S skew-symmetric with entries uniform in (−1, 1)."""
    draws = np.random.default_rng(seed).uniform(-1, 1, (size, size))
    upper = np.triu(draws, k=1)
    return np.asarray(0.5 + (upper - upper.T) / 2)


def annotators(size: int) -> Array:
    """Condorcet's cycle: as many groups of annotators as actions, equally large. Each is certain
    of its ranking, and each ranking is the last one rotated by one place, so the majority prefers
    every action to the next one and the last one to the first."""
    rankings = [[(group + place) % size for place in range(size)] for group in range(size)]
    above = [
        [[ranking.index(i) < ranking.index(j) for j in range(size)] for i in range(size)]
        for ranking in rankings
    ]
    return np.asarray(np.mean(above, axis=0) + np.eye(size) / 2)


NAMES = ("rps", "bradley-terry", "random", "annotators")


def make_game(spec: str, seed: int) -> Game:
    """A game by NAME or NAME:ACTIONS (2..100; 3 where none are given); `rps` has three."""
    name, _, number = spec.partition(":")
    if name not in NAMES:
        raise HarnessError(f"No game '{name}': {near_names(name, NAMES)}")
    if number and not (number.isdecimal() and 2 <= int(number) <= 100):
        raise HarnessError(f"--game {spec}: write the actions as {name}:N, N from 2 to 100.")
    size = int(number or 3)
    match name:
        case "bradley-terry":
            return Game(spec, bradley_terry(size))
        case "random":
            return Game(spec, random_skew(size, seed))
        case "annotators":
            return Game(spec, annotators(size))
    if size != 3:
        raise HarnessError(f"--game {spec}: rock, paper and scissors are three; write --game rps.")
    return Game(spec, rock_paper_scissors())


# --- games from files -------------------------------------------------------------------------


def read_game(path: Path) -> Game:
    """A game from a JSON file: a list of rows of numbers, P(row ≻ column)."""
    rows = read_json(path, "The payoff file", cure="write a list of rows of numbers")
    if not _is_square(rows):
        raise HarnessError(
            f"{path}: a payoff is a square list of rows of numbers, at least two by two, such as "
            f"{json.dumps([[0.5, 0.8], [0.2, 0.5]])}."
        )
    payoff = np.array(rows, dtype=float)
    if not ((payoff >= 0) & (payoff <= 1)).all():
        raise HarnessError(f"{path}: a payoff's entries are probabilities, from 0 to 1.")
    if (abs(np.diag(payoff) - 0.5) > TOLERANCE).any():
        raise HarnessError(f"{path}: a payoff's diagonal is 0.5, an action against itself.")
    wrong = np.argwhere(abs(payoff + payoff.T - 1) > TOLERANCE)
    if len(wrong):
        i, j = wrong[0]
        raise HarnessError(
            f"{path}: P + Pᵀ must be 1, but row {i + 1} column {j + 1} has {payoff[i, j]:g} and "
            f"row {j + 1} column {i + 1} has {payoff[j, i]:g}."
        )
    return Game(path.name, payoff)


def _is_square(rows: Any) -> bool:
    return (
        isinstance(rows, list)
        and len(rows) >= 2
        and all(isinstance(row, list) and len(row) == len(rows) for row in rows)
        and all(type(entry) in (int, float) for row in rows for entry in row)
    )


def read_policy(text: str, size: int) -> Array:
    """A start policy as typed: `0.8,0.1,0.1`, one probability above 0 an action."""
    try:
        policy = np.array([float(part) for part in text.split(",")])
    except ValueError:
        policy = np.zeros(0)
    if len(policy) != size or not (policy > 0).all() or not math.isclose(policy.sum(), 1):
        raise HarnessError(
            f"--start {text}: write {size} probabilities above 0 that sum to 1, with commas "
            "(a softmax policy gives every action some)."
        )
    return policy
