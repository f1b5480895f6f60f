"""How the LLM judges' prompts are built from other people's texts.

An output that is judged may be written to steer its judge. So texts are put into their slots in one
pass (a placeholder inside a text stays text), stand between tags that occur in none of them, and go
by random ids that their author could not know. The ids follow from the texts themselves: the same
question is always the same, and a text that holds its own id cannot be made.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from hashlib import sha256
from random import Random

ALPHABET = "BCDFGHJKLMNPQRSTVWXZ"
"""No vowels: an id is never a word."""


def fill(template: str, slots: Mapping[str, str]) -> str:
    """The template with each `{name}` of `slots` replaced, in one pass."""
    names = "|".join(map(re.escape, slots))
    return re.sub(rf"\{{({names})\}}", lambda found: slots[found[1]], template)


def seeded(*texts: str) -> Random:
    """A stream of random numbers that follows from the texts alone."""
    return Random(sha256(json.dumps(texts).encode()).digest())


def ids(rng: Random, count: int, texts: Sequence[str]) -> list[str]:
    """`count` different ids of five letters that stand in none of the texts."""
    found: list[str] = []
    while len(found) < count:
        new = "".join(rng.choices(ALPHABET, k=5))
        if new not in found and not any(new in text for text in texts):
            found.append(new)
    return found


def answers_block(named: Sequence[tuple[str, str]]) -> str:
    """Answers under their ids, each between tags of its own."""
    return "\n\n".join(f"<answer {name}>\n{text}\n</answer {name}>" for name, text in named)


def dictionaries(reply: str) -> Iterator[str]:
    """The flat `{…}` of a reply, the last first."""
    yield from reversed(re.findall(r"\{[^{}]*\}", reply))
