"""A folder of results, a run's or an evaluation's: what was asked for, its lock, its stages."""

from __future__ import annotations

import errno
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from filelock import FileLock, Timeout
from pydantic import ValidationError

from harness import codec
from harness.config import EvalConfig, RunConfig, changed_field
from harness.errors import HarnessError
from harness.provenance import versions
from harness.store import Artifact, Stage, Store, link

LOCK = ".lock"
C = TypeVar("C", RunConfig, EvalConfig)


@dataclass(frozen=True)
class Kind(Generic[C]):
    """What a folder is of. Its settings, `config`, stand in `file`; `otherwise` says what to do
    where others stand there already."""

    noun: str
    file: str
    config: type[C]
    otherwise: str


RUN = Kind(
    "run",
    "run.json",
    RunConfig,
    "start anew from what is equal with --fork DIR, or name another folder with --out",
)
EVALUATION = Kind("evaluation", "eval.json", EvalConfig, "name another folder with --out")


@dataclass(frozen=True)
class Asked(Generic[C]):
    """What a folder's settings file says: what was asked for, what of, and by which code."""

    config: C
    facts: Mapping[str, Any]
    versions: Mapping[str, str]


@dataclass(frozen=True)
class Folder(Generic[C]):
    """`path` holds the settings and shows the stages; their artefacts lie in `path/../.store`."""

    kind: Kind[C]
    path: Path
    store: Store

    @classmethod
    def at(cls, kind: Kind[C], path: Path, forked_from: Path | None = None) -> Folder[C]:
        path = path.resolve()
        if forked_from and not (forked_from / kind.file).exists():
            raise HarnessError(
                f"{forked_from} holds no {kind.noun} to fork from; name it with --out."
            )
        others = [forked_from.resolve().parent / ".store"] if forked_from else []
        return cls(kind, path, Store(path.parent / ".store", versions(), others))

    def earlier_config(self) -> C | None:
        """What an earlier start asked for, or None in a new folder."""
        if not (self.path / self.kind.file).exists():
            if self.path.exists() and not all(map(self._is_ours, self.path.iterdir())):
                raise HarnessError(
                    f"{self.path} is not empty and holds no {self.kind.noun}; name another folder "
                    "with --out."
                )
            return None
        return read_asked(self.kind, self.path).config

    def check(self, config: C) -> None:
        """Refuse what would change a finished stage of an earlier start."""
        earlier = self.earlier_config()
        changed = changed_field(earlier, config) if earlier else None
        if changed:
            name, before, after = changed
            name = name.replace("settings", "method", 1) if name.startswith("settings") else name
            raise HarnessError(
                f"{self.path} was started with {name} = {before}, now it is {after}; "
                f"{self.kind.otherwise}."
            )

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the folder for this process. Raises HarnessError where another one has it."""
        self.path.mkdir(parents=True, exist_ok=True)
        lock = FileLock(self.path / LOCK)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            raise HarnessError(
                f"Another process is working on {self.path}; wait for it, stop it, or name "
                "another folder with --out."
            ) from None
        try:
            yield
        finally:
            lock.release()

    def begin(self, config: C, facts: Mapping[str, Any]) -> None:
        """Write what is asked for, and by which code; what says so already stays as it is."""
        path = self.path / self.kind.file
        data = {
            "config": config.model_dump(mode="json"),
            "facts": dict(facts),
            "versions": dict(self.store.versions),
        }
        if path.exists():
            earlier = _read(self.kind, self.path)
            # the command may be typed in many ways that ask for the same
            earlier["facts"]["command"] = data["facts"]["command"]
            if earlier == data:
                return
        codec.write_json(path, data)

    def ensure(self, stage: Stage, inside: str = "") -> tuple[Artifact, bool]:
        """A stage's artefact, shown in the folder (or one inside it), and whether it was computed
        now."""
        artifact, computed = self.store.ensure(stage)
        link(artifact, self.path / inside)
        return artifact, computed

    def _is_ours(self, file: Path) -> bool:
        """What a start leaves that was stopped before it could write its settings."""
        return file.name == LOCK or file.name.startswith(f".{self.kind.file}.")


def read_asked(kind: Kind[C], path: Path) -> Asked[C]:
    """A folder's settings. Raises HarnessError where it holds none."""
    if not (path / kind.file).exists():
        raise HarnessError(f"{path} holds no {kind.noun} (no {kind.file}); name another folder.")
    data = _read(kind, path)
    try:
        config = kind.config.model_validate(data["config"])
        return Asked(config, data["facts"], data["versions"])
    except (KeyError, TypeError, ValidationError) as error:
        told = " ".join(str(error).split())
        raise HarnessError(
            f"{path / kind.file} holds no {kind.noun}'s settings ({told[:200]}); name another "
            "folder."
        ) from None


def _read(kind: Kind[C], path: Path) -> codec.Json:
    cure = "restore it, or start in another folder with --out: finished stages are found again"
    return codec.read_json(path / kind.file, f"The {kind.noun}'s settings", cure)


@contextmanager
def disk_errors(folder: Path) -> Iterator[None]:
    """A full disk is a sentence; finished stages stay, and the same command goes on from them."""
    try:
        yield
    except Exception as error:
        full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
        # safetensors reports its own error class, with the system's words in it
        if not full and "No space left on device" not in str(error):
            raise
        raise HarnessError(
            f"The disk is full while working on {folder}: free some space and run the same "
            "command again; finished stages are kept."
        ) from error
