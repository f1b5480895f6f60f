"""Answers that were paid for, by all that decides them; one SQLite file under HARNESS_HOME."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from harness.codec import Json
from harness.errors import HarnessError

FILE = "judge-cache.sqlite"
_TABLES = """
CREATE TABLE IF NOT EXISTS answers (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS versions (
    host TEXT, model TEXT, version TEXT NOT NULL, PRIMARY KEY (host, model)) WITHOUT ROWID;
"""


class Cache:
    """Used from one thread. Several processes may share the file.

    The key holds the model's version as its server last reported it: once a server reports
    another, what the old version said is not found any more.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._versions: dict[tuple[str, str], str] = {}
        with self._errors():
            path.parent.mkdir(parents=True, exist_ok=True)
            self._db = sqlite3.connect(path, timeout=60, isolation_level=None)
            # survives a killed process at one write a call; a lost machine may lose the last ones
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("PRAGMA synchronous=NORMAL")
            self._db.executescript(_TABLES)
            for host, model, version in self._db.execute("SELECT * FROM versions"):
                self._versions[host, model] = version

    def key(self, host: str, model: str, rule: str, sent: bytes) -> str:
        """sha256 of all that decides an answer; `rule` is the protocol with its version, which
        says how the reply is read."""
        version = self._versions.get((host, model), "")
        parts = [host, model, version, rule, sent.decode("ascii")]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()

    def get(self, key: str) -> Json:
        """The answer, or None."""
        with self._errors():
            row = self._db.execute("SELECT value FROM answers WHERE key = ?", (key,)).fetchone()
        return json.loads(row[0]) if row else None

    def put(self, key: str, value: Json) -> None:
        with self._errors():
            self._db.execute("INSERT OR REPLACE INTO answers VALUES (?, ?)", (key, _line(value)))

    def note_version(self, host: str, model: str, version: str) -> None:
        """Keep what the server calls the model that it serves."""
        if self._versions.get((host, model), "") != version:
            self._versions[host, model] = version
            with self._errors():
                row = (host, model, version)
                self._db.execute("INSERT OR REPLACE INTO versions VALUES (?, ?, ?)", row)

    def close(self) -> None:
        self._db.close()

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise HarnessError(
                f"The judges' cache {self._path} cannot be used ({error}); make room or delete "
                "it, and run the same command again."
            ) from None


def _line(value: Json) -> str:
    return json.dumps(value, allow_nan=False)
