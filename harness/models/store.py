"""Where models live: built-in ones under HARNESS_HOME, local folders, and the Hugging Face hub."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock

from harness.errors import HarnessError, near_names
from harness.models import smollm2, tiny
from harness.places import home

_HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+")
_HUB_FILES = ["*.safetensors", "*.safetensors.index.json", "*.json", "*.jinja", "*.model"]
_TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model", "tokenizer_config.json")
_PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt")

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class _Builtin:
    """`build` writes the model into an empty folder; `folder` names its version on disk."""

    folder: str
    licence: str
    build: Callable[[Path, Say], None]


_BUILTIN = {
    smollm2.NAME: _Builtin("smollm2-135m", smollm2.LICENCE, smollm2.build),
    tiny.NAME: _Builtin("tiny-1", tiny.LICENCE, tiny.build),
}


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """A built-in model; `size` is in bytes on disk, 0 where it is not `present`."""

    name: str
    where: Path
    present: bool
    size: int
    licence: str


def list_models() -> list[ModelInfo]:
    """The built-in models, by name."""
    infos = []
    for name, builtin in sorted(_BUILTIN.items()):
        where = _where(name)
        size = sum(file.stat().st_size for file in where.rglob("*") if file.is_file())
        infos.append(ModelInfo(name, where, where.is_dir(), size, builtin.licence))
    return infos


def licence(name: str) -> str | None:
    """A built-in model's licence; None of any other, which has its own."""
    return _BUILTIN[name].licence if name in _BUILTIN else None


def pull(name: str, say: Say) -> Path:
    """The folder of a built-in model, made now if missing; `say` gets progress lines.

    The folder appears whole or not at all. HarnessError for an unknown name or a failed download.
    """
    if name not in _BUILTIN:
        raise HarnessError(f"no built-in model '{name}'; {near_names(name, _BUILTIN)}")
    where = _where(name)
    if where.is_dir():
        return where
    try:
        where.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(where.parent / f".{where.name}.lock"):
            if not where.is_dir():  # another process may have made it while we waited
                _install(where, _BUILTIN[name].build, say)
    except OSError as error:
        raise HarnessError(
            f"cannot write {name} to {where} ({error}); free some space there or set HARNESS_HOME "
            "to another folder."
        ) from error
    return where


def resolve(model: str, say: Say) -> Path:
    """The folder of `model`: a built-in name, a local folder or a hub name (`org/name`).

    Fetches what is missing. HarnessError when nothing by that name can be used.
    """
    if model in _BUILTIN:
        return pull(model, say)
    folder = Path(model).expanduser()
    if folder.is_dir():
        problem = _problem(folder)
        if problem:
            raise HarnessError(f"{folder} cannot be used as a model: {problem}")
        return folder.absolute()
    if _HUB_NAME.fullmatch(model) and not model.startswith("."):
        return _from_hub(model, say)
    if "/" in model or os.sep in model:
        raise HarnessError(f"there is no model folder {model}; check the path.")
    raise HarnessError(
        f"unknown model '{model}'; {near_names(model, _BUILTIN)} Or give a local folder, or "
        "'org/name' from the Hugging Face hub."
    )


def present(model: str) -> bool:
    """Whether `resolve` would fetch nothing; what `resolve` refuses counts as present."""
    if model in _BUILTIN:
        return _where(model).is_dir()
    if Path(model).expanduser().is_dir() or not _HUB_NAME.fullmatch(model):
        return True
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        return _problem(_snapshot(model, local=True)) is None
    except LocalEntryNotFoundError:
        return False


def _where(name: str) -> Path:
    return home() / "models" / _BUILTIN[name].folder


def _install(where: Path, build: Callable[[Path, Say], None], say: Say) -> None:
    """Build in a temporary neighbour and rename, so that a crash leaves no half-written model."""
    part = where.with_name(f".{where.name}.part")
    if part.exists():  # of a process that was killed; the lock says that nobody is at work on it
        shutil.rmtree(part)
    part.mkdir()
    try:
        build(part, say)
        for file in part.iterdir():  # safetensors files come out private; a home may be shared
            file.chmod(0o644)
        part.rename(where)
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        raise
    say(f"saved to {where}")


def _problem(folder: Path) -> str | None:
    """Why a folder is no usable model, in a clause that says what to do; None when it is one."""
    if not (folder / "config.json").is_file():
        return "it has no config.json; point to a folder written by save_pretrained."
    if not any(folder.glob("*.safetensors")):
        if any(True for pattern in _PICKLES for _ in folder.glob(pattern)):
            return (
                "its weights are pickles, which can run code when loaded; convert them to "
                "safetensors with save_pretrained first."
            )
        return "it has no *.safetensors weights; point to a folder written by save_pretrained."
    if not any((folder / name).is_file() for name in _TOKENIZER_FILES):
        return "it has no tokenizer; save the tokenizer into the same folder."
    return None


def _from_hub(name: str, say: Say) -> Path:
    """A hub model's snapshot: the local cache's where that is whole, else downloaded."""
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    from harness.models.quiet import hush

    hush()
    try:
        folder = _snapshot(name, local=True)
        if _problem(folder) is None:
            return folder
    except LocalEntryNotFoundError:
        pass
    say(f"{name}: downloading from the Hugging Face hub")
    try:
        folder = _snapshot(name, local=False)
    except (HfHubHTTPError, OSError, ValueError) as error:
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise HarnessError(
            f"'{name}' is no folder here and cannot be fetched from the Hugging Face hub "
            f"({reason}); check the name and the network, log in if it is gated, or use a built-in "
            f"model: {', '.join(sorted(_BUILTIN))}."
        ) from error
    problem = _problem(folder)
    if problem:
        raise HarnessError(f"'{name}' on the Hugging Face hub cannot be used: {problem}")
    return folder


def _snapshot(name: str, *, local: bool) -> Path:
    from huggingface_hub import snapshot_download

    return Path(snapshot_download(name, allow_patterns=_HUB_FILES, local_files_only=local))
