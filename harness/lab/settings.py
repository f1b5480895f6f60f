"""A method with the lab's settings: η, which multiplies log-ratios, τ, and the size of a pool."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from harness.config import parse_sets
from harness.errors import HarnessError
from harness.registry import METHODS, find, make_method, method_fields
from harness.types import Batch, LogProbs, Method

SCALES = ("beta", "eta", "tau")
"""What methods call the setting that scales their log-ratios; the first one that a method has."""
SHARE, POOL = "tau_over_eta", "samples"
"""The initial policy's share in a mixed reference; the completions a prompt."""
OPTIONS = {**dict.fromkeys(SCALES, "--eta"), SHARE: "--tau", POOL: "--pool"}


def configured(
    name: str, eta: float, tau: float | None, pool: int, settings: Mapping[str, Any]
) -> Method:
    """A method whose loss multiplies log-ratios by `eta`; one with a mixed reference draws to the
    initial policy by `tau` (None: its own τ/η). `eta`, `tau` and `pool` are left out where a method
    lacks them; what is in `settings` it must have."""
    plugin = find(METHODS, name)
    known = method_fields(plugin)
    wanted = {POOL: pool, SHARE: None if tau is None else tau / eta}
    given = {key: value for key, value in wanted.items() if key in known and value is not None}
    given |= settings
    scale = next((scale for scale in SCALES if scale in known), None)
    if scale is None:
        return make_method(plugin, given)
    method = make_method(plugin, {**given, scale: eta})
    return make_method(plugin, {**given, scale: 1 / eta}) if _divides(method, eta) else method


def parse(sets: Sequence[str]) -> Mapping[str, Any]:
    """`method.x=value` texts as settings by name. Raises HarnessError on any other."""
    values = parse_sets(sets)
    settings: dict[str, Any] = values.pop("settings", {})
    if values:
        raise HarnessError(
            f"--set {next(iter(values))}: the lab has no such setting; write --set method.x=value."
        )
    for name in settings:
        if option := OPTIONS.get(name):
            raise HarnessError(f"--set method.{name}: in the lab that is what {option} sets.")
    return settings


def _divides(method: Method, eta: float) -> bool:
    """Whether a method's setting divides log-ratios where others multiply them (η is 1/β in one
    paper and β in another). A pair loss tells by its `margin`, the scaled log-ratio: here that of
    a log-ratio of 1."""
    pair = LogProbs(torch.tensor([1.0, 0.0]), torch.ones(2))
    same = LogProbs(torch.zeros(2), torch.ones(2))
    batch = Batch(torch.ones(1), torch.tensor([1.0, 0.0]), torch.tensor([True, False]))
    plan = method.plan(1, 1)
    margin = method.loss(pair, dict.fromkeys(plan.references, same), batch).diagnostics.get(
        "margin"
    )
    return margin is not None and abs(margin.item() - 1 / eta) < abs(margin.item() - eta)
