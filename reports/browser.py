"""Which prompts a page holds, and the data that its output browser reads."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

from harness.records import Answered
from reports.group import Group
from reports.render import legible

EMBEDDED = 100
"""Prompts in the page: half of them the largest changes, the rest a seeded sample."""
LENGTHS = (6000, 4000, 3000, 2000, 1500, 1000, 700, 500, 300, 200)
"""Characters of a text that are shown, the first that lets the page stay small enough."""


@dataclass(frozen=True, slots=True)
class Shown:
    """A prompt as all runs answered it, in the runs' order (None: that run has none of it)."""

    id: str
    by_run: tuple[Answered | None, ...]
    change: float
    why: str = ""

    @property
    def first(self) -> Answered:
        return next(found for found in self.by_run if found is not None)


@dataclass(frozen=True, slots=True)
class Payload:
    """JSON for the page's script: `characters` of each text at most (None: all of them)."""

    json: str
    prompts: int
    characters: int | None


def prompts_of(group: Group) -> list[Shown]:
    """All prompts that any run answered, in the benchmark's order, with how far the verdict moved
    between a run's first and last iteration, the most of any run."""
    found = [{answered.id: answered for answered in told.prompts} for told in group.details]
    names = dict.fromkeys(name for answered in found for name in answered)
    shown = []
    for name in names:
        by_run = tuple(answered.get(name) for answered in found)
        shown.append(Shown(name, by_run, max(_change(a) for a in by_run if a is not None)))
    return shown


def _change(answered: Answered) -> float:
    first, last = answered.answers[0].p, answered.answers[-1].p
    return abs(last - first) if first is not None and last is not None else 0.0


def chosen(shown: Sequence[Shown], seed: int, count: int = EMBEDDED) -> list[Shown]:
    """`count` of the prompts in their order: half by the largest change, half drawn by the seed."""
    if len(shown) <= count:
        return list(shown)
    ranked = sorted(shown, key=lambda prompt: (-prompt.change, prompt.id))
    why = {prompt.id: "largest change" for prompt in ranked[: count // 2]}
    rest = sorted(prompt.id for prompt in ranked[count // 2 :])
    drawn = Random(f"report:{seed}").sample(rest, count - len(why))
    why |= dict.fromkeys(drawn, "sample")
    return [Shown(p.id, p.by_run, p.change, why[p.id]) for p in shown if p.id in why]


def fitted(group: Group, shown: Sequence[Shown], limit: int) -> Payload:
    """The payload with texts as long as `limit` bytes allow, with fewer prompts if need be."""
    kept = list(shown)
    while True:
        for characters in LENGTHS:
            text = payload(group, kept, characters)
            if len(text.encode()) <= limit or len(kept) <= 1:
                return Payload(text, len(kept), characters)
        kept = kept[: len(kept) // 2]


def payload(group: Group, shown: Sequence[Shown], characters: int | None) -> str:
    """The prompts as JSON that a script element may hold: no `<`, `>` or `&` in it.

    Each text stands once in `texts`; `more` says how many characters of it are not there.
    """
    texts: dict[str, int] = {}
    rows = []
    for prompt in shown:
        first = prompt.first
        opponents = (a.opponent for a in prompt.by_run if a and a.opponent is not None)
        opponent = next(opponents, None)
        rows.append(
            {
                "id": legible(prompt.id),
                "why": prompt.why,
                "prompt": _text(texts, first.instruction),
                "reference": None if opponent is None else _text(texts, opponent),
                "answers": [
                    [run, a.iteration, _text(texts, a.text), _p(a.p), legible(a.error or "")]
                    for run, answered in enumerate(prompt.by_run)
                    for a in (answered.answers if answered else ())
                ],
            }
        )
    cut = {
        index: len(text) - characters
        for text, index in texts.items()
        if characters is not None and len(text) > characters
    }
    data: dict[str, Any] = {
        "runs": [legible(name) for name in group.names],
        "opponent": legible(group.key.opponent),
        "prompts": rows,
        "texts": [legible(text[:characters]) for text in texts],
        "more": cut,
    }
    written = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    for char in "<>&\u2028\u2029":
        written = written.replace(char, f"\\u{ord(char):04x}")
    return written


def _text(texts: dict[str, int], text: str) -> int:
    return texts.setdefault(text, len(texts))


def _p(p: float | None) -> float | None:
    return None if p is None else round(p, 3)
