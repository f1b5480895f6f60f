"""The one error a user sees: a sentence that says what happened, where, and what to do next."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from enum import IntEnum
from typing import ClassVar


class ExitCode(IntEnum):
    """How a command ends, beside 128 + the number of the signal that stopped it."""

    OK = 0
    FAILED = 1
    USAGE = 2
    BUDGET = 3
    BUG = 70


class HarnessError(Exception):
    """A user's mistake or an outside failure. The command prints the sentence and ends with
    `exit_code`."""

    exit_code: ClassVar[ExitCode] = ExitCode.FAILED


def near_names(name: str, known: Iterable[str]) -> str:
    """`did you mean 'x'?` where a known name is near, else the list of known names."""
    names = sorted(known)
    close = get_close_matches(name, names, n=2, cutoff=0.5)
    if close:
        return "did you mean " + " or ".join(f"'{c}'" for c in close) + "?"
    return "known: " + ", ".join(names) + "."
