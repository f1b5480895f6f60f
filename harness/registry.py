"""One lazy registry over entry points: methods and judges by name, or as `file.py:Class`.

Built-in plugins are reached through the same entry points as anybody else's.
"""

from __future__ import annotations

import importlib.util
import math
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, is_dataclass
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any, cast

from pydantic import TypeAdapter, ValidationError

from harness.access import Access, ModelJudge
from harness.config import JudgingConfig
from harness.errors import HarnessError, near_names
from harness.judges.adapters import Judge
from harness.judges.both_orders import BothOrders
from harness.store import sha256_file
from harness.types import Method, PairJudge, ScoreJudge

METHODS = "harness.methods"
JUDGES = "harness.judges"


@dataclass(frozen=True)
class Plugin:
    """A class that a name stands for. `origin` says where it came from, `revision` which version
    of it (a distribution's version, or a file's digest)."""

    name: str
    cls: type
    origin: str
    revision: str


def names(group: str) -> list[str]:
    return sorted(entry.name for entry in entry_points(group=group))


def find(group: str, spec: str) -> Plugin:
    """The plugin of a name, or of `file.py:Class`. Raises HarnessError with near names."""
    path, colon, cls = spec.rpartition(":")
    if colon and path.endswith(".py"):
        return _from_file(Path(path).expanduser(), cls)
    for entry in entry_points(group=group):
        if entry.name == spec:
            return _from_entry(entry)
    if spec.endswith(".py"):
        raise HarnessError(f"{spec}: which class in it? Write it as file.py:Class.")
    what = group.removeprefix("harness.").removesuffix("s")
    raise HarnessError(f"No {what} '{spec}': {near_names(spec, names(group))}")


def _from_entry(entry: EntryPoint) -> Plugin:
    dist = entry.dist
    origin = f"{dist.name} {dist.version}" if dist else entry.value
    try:
        cls = entry.load()
    except Exception as error:
        raise HarnessError(
            f"The plugin '{entry.name}' of {origin} does not load "
            f"({type(error).__name__}: {error}); reinstall or remove that package."
        ) from error
    return Plugin(entry.name, cls, f"{origin} ({entry.value})", dist.version if dist else "")


def _from_file(path: Path, cls: str) -> Plugin:
    if not path.is_file():
        raise HarnessError(f"{path}: no such file; write it as file.py:Class.")
    name = f"harness_plugin_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise HarnessError(f"{path}: not a Python file.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        raise HarnessError(
            f"{path} does not load ({type(error).__name__}: {error}); correct it and try again."
        ) from error
    found = vars(module).get(cls)
    if not isinstance(found, type):
        classes = [
            key
            for key, value in vars(module).items()
            if isinstance(value, type) and value.__module__ == name
        ]
        hint = near_names(cls, classes) if classes else "it defines none."
        raise HarnessError(f"{path} has no class '{cls}': {hint}")
    return Plugin(found.__dict__.get("name", cls), found, str(path), sha256_file(path)[:12])


def method_fields(plugin: Plugin) -> set[str]:
    """The settings that a method has."""
    if not is_dataclass(plugin.cls):
        raise HarnessError(
            f"The method {plugin.cls.__name__} in {plugin.origin} must be a (frozen) dataclass; "
            "see docs/adding-a-method.md."
        )
    return {field.name for field in fields(plugin.cls)}


def make_method(plugin: Plugin, settings: Mapping[str, Any]) -> Method:
    """A method with its settings checked against its fields' types."""
    known = method_fields(plugin)
    for name in settings:
        if name not in known:
            raise HarnessError(
                f"The method '{plugin.name}' has no setting '{name}': {near_names(name, known)}"
            )
    missing = [
        part
        for part in ("name", "paper", "defaults", "plan", "examples", "loss")
        if not any(part in vars(base) for base in plugin.cls.__mro__)
    ]
    if missing:
        raise HarnessError(
            f"{plugin.cls.__name__} in {plugin.origin} is no method: it lacks "
            f"{', '.join(missing)}; see docs/adding-a-method.md."
        )
    _check_finite(settings)
    try:
        return cast(Method, TypeAdapter(plugin.cls).validate_python(dict(settings)))
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        if first["type"] == "missing":
            raise HarnessError(
                f"The method '{plugin.name}' needs a value for '{field}'; give it one with "
                f"--set method.{field}=… or a default in {plugin.cls.__name__}."
            ) from None
        raise HarnessError(
            f"Setting 'method.{field}': {first['msg']}, got {first['input']!r}."
        ) from None


def _check_finite(settings: Mapping[str, Any]) -> None:
    for name, value in settings.items():
        for number in value if isinstance(value, list | tuple) else [value]:
            if isinstance(number, float) and not math.isfinite(number):
                raise HarnessError(
                    f"Setting 'method.{name}': it should be a finite number, got {number}."
                )


def settings_of(method: Method) -> dict[str, Any]:
    """A method's settings as JSON has them. The protocol cannot say that methods are dataclasses;
    `make_method` has checked it."""
    settings = asdict(method)  # type: ignore[call-overload]
    return {key: list(v) if isinstance(v, tuple) else v for key, v in settings.items()}


def _judge_parts(spec: str) -> tuple[str, str]:
    """(name or file.py:Class, model): `NAME:MODEL@BASE_URL` names a model, the others none."""
    if spec.rpartition(":")[0].endswith(".py"):
        return spec, ""
    name, _, model = spec.partition(":")
    return name, model


def judge_revision(spec: str) -> str:
    """A file's digest where a judge comes from a file; a named judge's identity is enough."""
    name, _ = _judge_parts(spec)
    return find(JUDGES, name).revision if ":" in name else ""


def make_judge(spec: str, access: Access | None = None) -> Judge:
    """A judge by name, `NAME:MODEL`, `NAME:MODEL@BASE_URL` or `file.py:Class`; `access` is shared
    by judges that ask models."""
    name, model = _judge_parts(spec)
    plugin = find(JUDGES, name)
    access = access or Access.by(JudgingConfig())
    try:
        judge = _made(plugin, name, model, access)
    except HarnessError:
        raise
    except Exception as error:
        raise HarnessError(
            f"The judge {plugin.cls.__name__} in {plugin.origin} cannot be made "
            f"({type(error).__name__}: {error}); it is called without arguments, or has 'of(chat, "
            "votes)' where it asks a model."
        ) from error
    if not isinstance(judge, PairJudge | ScoreJudge):
        raise HarnessError(
            f"{plugin.cls.__name__} in {plugin.origin} is no judge: it needs 'identity', "
            "'reference_based' and 'compare' (or 'scale' and 'score')."
        )
    if access.settings.both_orders and isinstance(judge, PairJudge):
        return judge if isinstance(judge, BothOrders) else BothOrders(judge)
    return judge


def _made(plugin: Plugin, name: str, model: str, access: Access) -> object:
    if issubclass(plugin.cls, ModelJudge):
        if not model:
            raise HarnessError(
                f"The judge '{name}' asks a model; write it as {name}:MODEL, or "
                f"{name}:MODEL@http://HOST:PORT/v1 for a server other than OpenAI's."
            )
        return plugin.cls.of(access.chat(model), access.settings.votes)
    if model:
        raise HarnessError(f"The judge '{name}' asks no model; name it without ':{model}'.")
    return plugin.cls()
