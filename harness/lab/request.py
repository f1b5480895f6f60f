"""What `harness lab` is asked, and its answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.errors import HarnessError, near_names
from harness.lab.games import make_game, read_game, read_policy, uniform
from harness.lab.play import (
    Reference,
    Setup,
    make_player,
    own_tau,
    play_exact,
    play_method,
    play_reward,
    self_judging,
)
from harness.lab.settings import parse
from harness.progress import Reporter
from harness.records import GameRun
from harness.registry import METHODS, find, method_fields, names

ALL = "all"


@dataclass(frozen=True, slots=True)
class Request:
    """As typed; see the command's help. `game` None is rps, unless there is a `payoff` file."""

    method: str
    game: str | None
    payoff: Path | None
    start: str | None
    eta: float
    tau: float | None
    iterations: int
    exact: bool
    reference: Reference
    pool: int
    seed: int
    sets: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Played:
    """The runs, and why some methods are not among them."""

    runs: tuple[GameRun, ...]
    left_out: Mapping[str, str] = field(default_factory=dict)


def play(request: Request, reporter: Reporter) -> Played:
    """Play one method, all that can, or an exact update. HarnessError for a mistake."""
    setup = _setup(request)
    if request.exact:
        with reporter.track("exact update", setup.iterations) as advance:
            return Played((play_exact(setup, advance, _tau(request, setup)),))
    if request.method != ALL:
        with reporter.track(request.method, setup.iterations) as advance:
            return Played((play_method(setup, advance, request.method),))
    return _play_all(setup, reporter)


def _play_all(setup: Setup, reporter: Reporter) -> Played:
    """Every method that takes a judge, after the exact updates and a reward's."""
    methods = names(METHODS)
    readers = [n for n in methods if self_judging(make_player(n, setup), setup.iterations)]
    able = [name for name in methods if name not in readers]
    with reporter.track("all methods", (len(able) + 3) * setup.iterations) as advance:
        runs = (
            play_exact(setup, advance, 0.0),
            play_exact(setup, advance, setup.eta / 10 if setup.tau is None else setup.tau),
            play_reward(setup, advance),
            *(play_method(setup, advance, name) for name in able),
        )
    return Played(runs, dict.fromkeys(readers, "the policy judges itself"))


def _tau(request: Request, setup: Setup) -> float:
    """As given, else the named method's own, else none."""
    if setup.tau is not None:
        return setup.tau
    return 0.0 if request.method == ALL else own_tau(make_player(request.method, setup), setup)


def _setup(request: Request) -> Setup:
    settings = parse(request.sets)
    _check_known(request, settings)
    if request.game and request.payoff:
        raise HarnessError("--game and --payoff each name a game; choose one.")
    game = (
        read_game(request.payoff)
        if request.payoff
        else make_game(request.game or "rps", request.seed)
    )
    return Setup(
        game,
        read_policy(request.start, game.size) if request.start else uniform(game.size),
        request.eta,
        request.tau,
        request.iterations,
        request.reference,
        request.pool,
        request.seed,
        settings,
    )


def _check_known(request: Request, settings: Mapping[str, Any]) -> None:
    """Each setting is one of the method's, or of one of all."""
    if settings and request.exact:
        raise HarnessError("--set is for a method's settings, and --exact plays none; drop one.")
    players = names(METHODS) if request.method == ALL else [request.method]
    known = set[str]().union(*(method_fields(find(METHODS, name)) for name in players))
    for name in settings:
        if name not in known:
            who = "No method" if request.method == ALL else f"The method '{request.method}'"
            no = "has" if request.method == ALL else "has no"
            raise HarnessError(f"{who} {no} setting '{name}': {near_names(name, known)}")
