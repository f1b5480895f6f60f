"""What the shell completes. Nothing here loads torch: a key was pressed, and somebody waits."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from pydantic import BaseModel

Complete = Callable[[str], list[str]]


def methods(incomplete: str) -> list[str]:
    """The last of `--method a,b`."""
    from harness import registry

    before, comma, _ = incomplete.rpartition(",")
    taken = set(before.split(","))
    names = [name for name in registry.names(registry.METHODS) if name not in taken]
    return _starting(incomplete, (f"{before}{comma}{name}" for name in names))


def judges(incomplete: str) -> list[str]:
    from harness import registry

    return _starting(incomplete, registry.names(registry.JUDGES))


def presets(incomplete: str) -> list[str]:
    from harness.config import preset_names

    return _starting(incomplete, preset_names())


def models(incomplete: str) -> list[str]:
    from harness.models.store import list_models

    return _starting(incomplete, (info.name for info in list_models()))


def training_prompts(incomplete: str) -> list[str]:
    return _starting(incomplete, ["mini"])


def benchmarks(incomplete: str) -> list[str]:
    return _starting(incomplete, ["mini", "alpaca_eval"])


def games(incomplete: str) -> list[str]:
    from harness.lab.games import NAMES

    return _starting(incomplete, NAMES)


def settings(of: Literal["run", "eval", "gold", "judging"]) -> Complete:
    """Names of `--set NAME=VALUE`."""

    def complete(incomplete: str) -> list[str]:
        from harness import config

        kinds: dict[str, type[BaseModel]] = {
            "run": config.RunConfig,
            "eval": config.EvalConfig,
            "gold": config.GoldConfig,
            "judging": config.AskingConfig,
        }
        words = [f"{name}=" for name in config.field_names(kinds[of])]
        if of == "run":  # the method has an option of its own, and its settings are method.NAME
            words = [word for word in words if word not in ("method=", "settings=")] + ["method."]
        return _starting(incomplete, words)

    return complete


def _starting(incomplete: str, words: Iterable[str]) -> list[str]:
    return [word for word in words if word.startswith(incomplete)]
