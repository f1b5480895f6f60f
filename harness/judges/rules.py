"""Judges by a simple rule, for tests and as controls: they say nothing about quality."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

from harness.types import Group, Match, Score, Verdict


@dataclass(frozen=True)
class Longer:
    """Prefers the longer answer (characters), softly: p = len_a / (len_a + len_b)."""

    identity: ClassVar[str] = "longer-1"
    reference_based: ClassVar[bool] = False

    def compare(self, matches: Sequence[Match]) -> Iterator[Verdict]:
        for match in matches:
            a, b = len(match.a.text), len(match.b.text)
            yield Verdict(match.id, a / (a + b) if a + b else 0.5, self.identity)


@dataclass(frozen=True)
class Shorter:
    """Prefers the shorter answer."""

    identity: ClassVar[str] = "shorter-1"
    reference_based: ClassVar[bool] = False

    def compare(self, matches: Sequence[Match]) -> Iterator[Verdict]:
        for match in matches:
            a, b = len(match.a.text), len(match.b.text)
            yield Verdict(match.id, b / (a + b) if a + b else 0.5, self.identity)


@dataclass(frozen=True)
class Hashed:
    """A score judge: 0..6 from a hash of prompt and answer; arbitrary, but always the same."""

    identity: ClassVar[str] = "hashed-1"
    reference_based: ClassVar[bool] = False
    scale: ClassVar[tuple[float, float]] = (0.0, 6.0)

    def score(self, groups: Sequence[Group]) -> Iterator[Sequence[Score]]:
        for group in groups:
            yield [
                Score(_digest(f"{group.prompt.id}\0{completion.text}") % 7, self.identity)
                for completion in group.completions
            ]


def _digest(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()[:4], "big")
