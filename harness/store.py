"""Content-addressed stages: fingerprint, append-only JSONL parts, manifest last, lock.

An experiment is a chain of stages. `Store.ensure(stage)` returns the artefact of a stage, from
disk where its fingerprint is known, else by running it. A stage that crashed goes on from the rows
it had written. Layout: `ROOT/FINGERPRINT/{files, manifest.json}`.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import socket
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from filelock import FileLock
from pydantic import ValidationError

from harness import codec
from harness.codec import Json
from harness.errors import HarnessError
from harness.types import Usage

MANIFEST = "manifest.json"
SPENT = "spent.part"
"""Ledger of a stage's usage; unlike rows it outlives the stage, which may be opened again."""
LARGE = 64 * 1024 * 1024
"""Files above this many bytes (weights) are checked by size, not by digest, on reuse."""


@dataclass(frozen=True, slots=True)
class FileEntry:
    sha256: str
    bytes: int


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a finished stage says of itself. Seconds, host and usage vary from run to run and are
    kept out of the fingerprint and of the digest."""

    stage: str
    version: int
    fingerprint: str
    params: Mapping[str, Any]
    inputs: Mapping[str, str]
    seed: int
    files: Mapping[str, FileEntry]
    failed: int
    usage: Usage
    seconds: float
    host: str
    finished: str
    versions: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Artifact:
    """A finished stage's files."""

    path: Path
    manifest: Manifest

    @property
    def digest(self) -> str:
        """sha256 of the contents of all files."""
        return self.digest_of("")

    def digest_of(self, prefix: str) -> str:
        """sha256 of the contents of the files whose name starts with `prefix`."""
        entries = sorted(
            (name, entry.sha256)
            for name, entry in self.manifest.files.items()
            if name.startswith(prefix)
        )
        return sha256_text(json.dumps(entries))


@dataclass(frozen=True)
class Stage:
    """A step of an experiment: what it depends on, and how to do it.

    Neither the run's nor the method's name is part of it: methods that share a step share its
    artefact. `inputs` are content digests by role.
    """

    name: str
    version: int
    params: Mapping[str, Json]
    inputs: Mapping[str, str]
    seed: int
    work: Callable[[Workspace], None]
    label: str = ""

    @property
    def fingerprint(self) -> str:
        identity = {
            "stage": self.name,
            "version": self.version,
            "params": self.params,
            "inputs": self.inputs,
            "seed": self.seed,
        }
        return sha256_text(json.dumps(identity, sort_keys=True, ensure_ascii=False))


def sha256_text(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def sha256_file(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class Rows:
    """Append-only rows of one JSONL file, each under a key; flushed as they come.

    After a crash the rows of the earlier attempt are here again. Rows for which `retry` is true
    (failed judgements) do not count as done, so that they are asked for again.
    """

    def __init__(
        self, path: Path, key: Callable[[Json], str], retry: Callable[[Json], bool]
    ) -> None:
        self._path = path
        self._part = path.with_name(path.name + ".part")
        self._key = key
        self._retry = retry
        self._rows: dict[str, Json] = {}
        # a finished stage that is opened again for its failed rows has its file, and where that
        # attempt crashed, newer rows beside it
        for earlier in (path, self._part):
            if earlier.exists():
                self._replay(earlier)
        self._out = self._part.open("a", encoding="utf-8", newline="\n")

    def _replay(self, path: Path) -> None:
        raw = path.read_bytes()
        whole = raw.rfind(b"\n") + 1
        if whole != len(raw):  # a torn last line is dropped, never parsed
            with path.open("r+b") as file:
                file.truncate(whole)
        for number, text in enumerate(raw[:whole].splitlines(), start=1):
            try:
                row = json.loads(text)
            except ValueError:
                raise HarnessError(
                    f"{path}, line {number} is corrupt: delete the folder {path.parent} to compute "
                    "that stage again."
                ) from None
            self._rows[self._key(row)] = row

    def done(self, key: str) -> bool:
        return key in self._rows and not self._retry(self._rows[key])

    @property
    def failed(self) -> int:
        return sum(1 for row in self._rows.values() if self._retry(row))

    def append(self, row: Json) -> None:
        """Keep a row; of two with one key the later stands."""
        self._out.write(codec.line(row))
        self._out.flush()
        self._rows[self._key(row)] = row

    def all(self) -> list[Json]:
        """The rows sorted by key."""
        return [self._rows[key] for key in sorted(self._rows)]

    def finish(self) -> None:
        self._out.close()
        codec.write_atomic(self._path, "".join(codec.line(row) for row in self.all()))

    def close(self) -> None:
        self._out.close()

    def drop_part(self) -> None:
        self._part.unlink(missing_ok=True)


@dataclass
class Workspace:
    """Where a running stage puts its files, and where it takes from what it works with."""

    path: Path
    store: Store
    _rows: list[Rows] = field(default_factory=list)

    def rows(
        self,
        name: str,
        key: Callable[[Json], str],
        retry: Callable[[Json], bool] = lambda _row: False,
    ) -> Rows:
        rows = Rows(self.path / name, key, retry)
        self._rows.append(rows)
        return rows

    def write_json(self, name: str, data: Json) -> None:
        codec.write_json(self.path / name, data)

    def ensure(self, stage: Stage) -> Artifact:
        """What this stage works with and other stages may as well: computed if it is not there.
        It stays in the store and is no part of a run's folder."""
        return self.store.ensure(stage)[0]

    def directory(self, name: str) -> Path:
        """An absent folder for the stage to create; what a crash left of it is removed."""
        folder = self.path / name
        if folder.exists():
            shutil.rmtree(folder)
        return folder

    def spend(self, usage: Usage) -> None:
        """Keep what a step cost; a crash or a failed judgement does not give it back."""
        if usage == Usage():
            return
        with (self.path / SPENT).open("a", encoding="utf-8") as ledger:
            ledger.write(codec.line(codec.dump(usage)))

    def spent(self) -> Usage:
        """What this stage has cost so far, earlier attempts included."""
        ledger = self.path / SPENT
        whole = ledger.read_text("utf-8").rpartition("\n")[0] if ledger.exists() else ""
        entries = (codec.load(Usage, json.loads(entry)) for entry in whole.splitlines())
        return sum(entries, Usage())


class Store:
    """Artefacts by fingerprint under `root`; `others` are stores that finished ones are taken
    from (a fork of a run that lives elsewhere)."""

    def __init__(
        self, root: Path, versions: Mapping[str, str], others: Iterable[Path] = ()
    ) -> None:
        self.root = root
        self.versions = versions
        self.others = tuple(others)

    def find(self, stage: Stage) -> Artifact | None:
        """The finished artefact of a stage where it lies, or None; changes nothing.

        Raises HarnessError where it is damaged.
        """
        for root in (self.root, *self.others):
            folder = root / stage.fingerprint
            if (folder / MANIFEST).exists():
                artifact = Artifact(folder, read_manifest(folder / MANIFEST))
                _verify(artifact)
                return artifact
        return None

    def ensure(self, stage: Stage) -> tuple[Artifact, bool]:
        """The artefact of a stage, and whether it was computed now.

        A finished stage with failed rows is opened again and asks for these only.
        """
        folder = self.root / stage.fingerprint
        found = self.find(stage)
        if found is not None and found.manifest.failed == 0 and found.path == folder:
            return found, False
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(self.root / f"{stage.fingerprint}.lock"):
            found = self.find(stage)  # another run may have computed it while this one waited
            if found is not None and found.path != folder:
                _link_tree(found, folder)
                found = Artifact(folder, found.manifest)
            if found is not None and found.manifest.failed == 0:
                return found, False
            return self._run(stage, folder), True

    def _run(self, stage: Stage, folder: Path) -> Artifact:
        started = time.monotonic()
        space = Workspace(folder, self)
        # of an earlier attempt with failed rows: it would be a lie while this one writes
        (folder / MANIFEST).unlink(missing_ok=True)
        try:
            stage.work(space)
            for rows in space._rows:
                rows.finish()
        finally:
            for rows in space._rows:
                rows.close()
        manifest = Manifest(
            stage=stage.name,
            version=stage.version,
            fingerprint=stage.fingerprint,
            params=stage.params,
            inputs=stage.inputs,
            seed=stage.seed,
            files=_entries(folder),
            failed=sum(rows.failed for rows in space._rows),
            usage=space.spent(),
            seconds=round(time.monotonic() - started, 3),
            host=socket.gethostname(),
            finished=datetime.now(UTC).isoformat(timespec="seconds"),
            versions=self.versions,
        )
        codec.write_json(folder / MANIFEST, codec.dump(manifest))
        for rows in space._rows:
            rows.drop_part()
        return Artifact(folder, manifest)


def read_manifest(path: Path) -> Manifest:
    data = codec.read_json(path, "The manifest")
    try:
        return codec.load(Manifest, data)
    except ValidationError as error:
        field_name = ".".join(str(part) for part in error.errors()[0]["loc"])
        raise HarnessError(
            f"The manifest {path} is corrupt (field '{field_name}'): delete the folder "
            f"{path.parent} to compute that stage again."
        ) from None


def _entries(folder: Path) -> dict[str, FileEntry]:
    """Digest and size of each file of a stage."""
    return {
        file.relative_to(folder).as_posix(): FileEntry(sha256_file(file), file.stat().st_size)
        for file in sorted(folder.rglob("*"))
        if file.is_file() and file.name != MANIFEST and file.suffix not in {".part", ".tmp"}
    }


def _verify(artifact: Artifact) -> None:
    for name, entry in artifact.manifest.files.items():
        file = artifact.path / name
        if not file.exists():
            problem = "is missing"
        elif file.stat().st_size != entry.bytes:
            problem = "has another size than its manifest says"
        elif entry.bytes <= LARGE and sha256_file(file) != entry.sha256:
            problem = "has other contents than its manifest says"
        else:
            continue
        raise HarnessError(
            f"{file} {problem}: delete the folder {artifact.path} to compute stage "
            f"'{artifact.manifest.stage}' again."
        )


def link(artifact: Artifact, folder: Path) -> None:
    """Show an artefact in a run's folder, by hard links (copies where those are impossible), so
    that the folder can be moved or copied and stays whole."""
    for name in artifact.manifest.files:
        _link_file(artifact.path / name, folder / name)
    _link_file(artifact.path / MANIFEST, folder / f"{artifact.manifest.stage}.{MANIFEST}")


def _link_tree(source: Artifact, target: Path) -> None:
    for name in source.manifest.files:
        _link_file(source.path / name, target / name)
    _link_file(source.path / MANIFEST, target / MANIFEST)  # last: it makes the copy count


def _link_file(source: Path, target: Path) -> None:
    if target.exists() and target.samefile(source):
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    temp = target.with_name(f".{target.name}.tmp")
    temp.unlink(missing_ok=True)
    try:
        os.link(source, temp)
    except OSError:
        shutil.copy2(source, temp)
    os.replace(temp, target)
