"""Answers whose worth is known beforehand: what a judge makes of them says how far to trust it."""

from __future__ import annotations

import re
from itertools import cycle

from harness.types import ControlName

NULL = "Thank you for your question; I hope that this answer is helpful to you."
FILLER = (
    "There is, of course, more that could be said about this.",
    "It is worth keeping all of the above in mind.",
    "Every situation is a little different, and details can matter.",
    "I hope that this explanation is clear and useful.",
    "As always, it helps to look at the whole picture.",
    "These points are worth considering with some care.",
    "Please feel free to ask if anything remains open.",
    "In the end, what matters is what is important to you.",
    "Taken together, this gives a good overview of the subject.",
    "With that said, the points made above speak for themselves.",
)
PADDING = 1.5
"""A padded answer is at least this many times as long as it was."""
_SENTENCE_END = re.compile(r"[.!?…][\"'”’)\]]*(?=\s)|\n")
_SPACE = re.compile(r"\s")


def control_text(name: ControlName, own: str) -> str:
    """The text of a control beside a policy's own output."""
    if name == "null":
        return null_answer()
    return padded(own) if name == "padded" else shortened(own)


def null_answer() -> str:
    """A polite sentence that answers nothing, the same to every prompt."""
    return NULL


def padded(text: str) -> str:
    """The text and then as many sentences that add nothing as make it 1.5 times as long."""
    longer = f"{text}\n\n{FILLER[0]}" if text else FILLER[0]
    for sentence in cycle((*FILLER[1:], FILLER[0])):
        if len(longer) >= PADDING * len(text):
            break
        longer += f" {sentence}"
    return longer


def shortened(text: str) -> str:
    """The first half, cut back to the end of a sentence, or of a word where the last sentence that
    ends there would leave less than a quarter of the text."""
    half = text[: (len(text) + 1) // 2]
    # what follows the half decides whether it ends with a whole word
    seen = text[: len(half) + 1]
    ends = [m.end() for m in _SENTENCE_END.finditer(seen) if m.end() <= len(half)]
    if not ends or ends[-1] < len(text) / 4:
        ends = [m.start() for m in _SPACE.finditer(seen)]
    kept = half[: ends[-1]].rstrip() if ends else half
    return kept or half
