"""`harness doctor`: is everything there that a run needs, and under which licences?"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from importlib.resources import files
from typing import Any, Literal

from harness.engines import vllm_installed
from harness.errors import HarnessError
from harness.places import home
from harness.provenance import versions

Health = Literal["ok", "note", "problem"]
DISK_NEEDED = 2e9
TIMEOUT = 5.0
"""Seconds to wait for an endpoint."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at. A `problem` stops something from working, a `note` is worth knowing."""

    what: str
    health: Health
    says: str


def examine(model: str | None, endpoint: str | None) -> list[Finding]:
    """Look at everything; `model` is a model to examine too (by name or folder), `endpoint` a
    MODEL@BASE_URL whose server to ask. Nothing is downloaded, no key is shown."""
    looks: list[Callable[[], Iterator[Finding]]] = [
        _code,
        _places,
        _device,
        _models,
        _data,
        _judges,
    ]
    if model:
        looks.append(lambda: _template(model))
    if endpoint:
        looks.append(lambda: _endpoint(endpoint))
    findings: list[Finding] = []
    for look in looks:
        try:
            findings += look()
        except HarnessError as error:
            findings.append(Finding(look.__name__.strip("_<>"), "problem", str(error)))
    return findings


def _code() -> Iterator[Finding]:
    found = versions()
    said = ", ".join(f"{name} {number}" for name, number in found.items())
    missing = [name for name, number in found.items() if number == "not installed"]
    yield Finding("versions", "problem" if missing else "ok", said)
    yield _vllm()
    for extra in ("ray", "tensorboard", "wandb"):
        try:
            yield Finding(extra, "ok", version(extra))
        except PackageNotFoundError:
            yield Finding(extra, "note", "not installed (optional)")


def _vllm() -> Finding:
    found = vllm_installed.installed()
    if found is None:
        return Finding("vllm", "note", "not installed (optional)")
    said = f"{found.version}, built for {'CPUs' if found.for_cpu else 'GPUs'}"
    if found.too_old:
        oldest = ".".join(map(str, vllm_installed.OLDEST))
        return Finding("vllm", "problem", f"{said}: {oldest} or newer is needed")
    return Finding("vllm", "ok", said)


def _places() -> Iterator[Finding]:
    place = home()
    existing = next(folder for folder in (place, *place.parents) if folder.exists())
    free = shutil.disk_usage(existing).free
    said = f"{place}, {free / 1e9:.0f} GB free"
    if not os.access(existing, os.W_OK):
        yield Finding("HARNESS_HOME", "problem", f"{said}: it cannot be written to")
    else:
        yield Finding("HARNESS_HOME", "ok" if free > DISK_NEEDED else "note", said)


def _device() -> Iterator[Finding]:
    import torch

    if torch.cuda.is_available():
        names = {torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())}
        yield Finding("device", "ok", f"{torch.cuda.device_count()} × {', '.join(sorted(names))}")
    else:
        yield Finding("device", "note", f"no GPU: {torch.get_num_threads()} CPU threads")


def _models() -> Iterator[Finding]:
    from harness.models.store import list_models

    for info in list_models():
        there = f"{info.where} ({info.licence})"
        if info.present:
            yield Finding(f"model {info.name}", "ok", there)
        else:
            yield Finding(f"model {info.name}", "note", f"fetched when needed ({info.licence})")


def _data() -> Iterator[Finding]:
    from harness.data import alpaca_eval
    from harness.scoring import alpaca

    yield Finding(
        "length control",
        "ok",
        f"{len(alpaca.difficulty())} difficulties derived from AlpacaEval's data, "
        f"{alpaca.LICENCE} (no commercial use): used whenever LC is computed",
    )
    try:
        size = len(alpaca_eval.load_prompts(None, fetch=False))
    except HarnessError:
        fetched = "not here: fetched by --benchmark alpaca_eval, or named with --alpaca-dir"
        yield Finding("alpaca_eval prompts", "note", fetched)
    else:
        yield Finding("alpaca_eval prompts", "ok", f"{size} from the hub ({alpaca.LICENCE})")


def _judges() -> Iterator[Finding]:
    from harness import calibrations, registry

    for name in registry.names(registry.JUDGES):
        try:
            judge = registry.make_judge(name)
        except HarnessError as error:  # one that needs a model's name
            yield Finding(f"judge {name}", "note", str(error))
            continue
        yield Finding(f"judge {name}", "ok", calibrations.sentence(judge.identity) + _notice(judge))


def _notice(judge: object) -> str:
    """A judge with a NOTICE beside its code is under other terms than the program."""
    package = type(judge).__module__.rpartition(".")[0]
    if not package or not (files(package) / "NOTICE").is_file():
        return ""
    return f" Under terms of its own: {package.replace('.', '/')}/NOTICE (CC BY-NC 4.0)."


def _template(model: str) -> Iterator[Finding]:
    """The chat template opens once with whatever it opens with, and closes turns."""
    from harness.models.chat import ChatTokenizer, context_length
    from harness.models.store import present, resolve
    from harness.types import Message, Prompt

    if not present(model):
        yield Finding(f"template of {model}", "note", "the model is not here yet: harness models")
        return
    path = resolve(model, lambda _text: None)
    try:
        tokenizer = ChatTokenizer.load(path)
    except HarnessError as error:
        yield Finding(f"template of {model}", "problem", str(error))
        return
    ids = tokenizer.prompt_ids(Prompt("doctor", (Message("user", "Hello"),)))
    said = f"a prompt opens with token {ids[0]}, turns end with token {tokenizer.end_of_turn}, "
    said += f"context {context_length(path)} tokens"
    yield Finding(f"template of {model}", "ok", said)


def _endpoint(text: str) -> Iterator[Finding]:
    """Ask the server for its models; where it tells when one is shut down, say so."""
    import httpx2

    from harness.client.endpoint import Endpoint

    endpoint = Endpoint.of(text)
    key = endpoint.key()
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    name = f"endpoint {endpoint.host}"
    try:
        answer = httpx2.get(f"{endpoint.base_url}/models", headers=headers, timeout=TIMEOUT)
        answer.raise_for_status()
        listed = answer.json()["data"]
        models = {str(model["id"]): model for model in listed}
    except (httpx2.HTTPError, ValueError, KeyError, TypeError) as error:
        reason = str(error).replace(key, "…") if key else str(error)
        yield Finding(name, "problem", f"{type(error).__name__}: {reason.splitlines()[0]}")
        return
    if endpoint.model not in models:
        yield Finding(name, "problem", f"reachable, but it has no model {endpoint.model!r}")
        return
    yield Finding(name, "ok", f"reachable, {len(models)} models, {endpoint.model} is there")
    ends = _shutdown(models[endpoint.model])
    if ends is not None:
        gone = ends <= datetime.now(UTC)
        health: Health = "problem" if gone else "note"
        verb = "was shut down" if gone else "will be shut down"
        yield Finding(f"model {endpoint.model}", health, f"{verb} on {ends.date()}")


SHUTDOWN_FIELDS = ("shutdown_date", "deprecation_date", "deprecated_at", "expires_at")


def _shutdown(model: dict[str, Any]) -> datetime | None:
    """The date that some servers give, as seconds or as a date."""
    for field in SHUTDOWN_FIELDS:
        value = model.get(field)
        if isinstance(value, int | float) and not isinstance(value, bool) and value > 0:
            return datetime.fromtimestamp(value, UTC)
        if isinstance(value, str):
            try:
                found = datetime.fromisoformat(value)
            except ValueError:
                continue
            return found if found.tzinfo else found.replace(tzinfo=UTC)
    return None
