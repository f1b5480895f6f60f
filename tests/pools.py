"""Groups as tests of rules write them down."""

from __future__ import annotations

from collections.abc import Sequence

from harness.types import Completion, Group, Message, Pair, Prompt, Score, Source
from trainers import rules

PROMPT = Prompt("p", (Message("user", "Name a river."),), gold="The Danube.")
LOOP = "and so on and on " * 20
SCORE_GATE, PAIR_GATE = rules.Gate(5, 5, 2, 1), rules.Gate(0.7, 0.5, 0.3, 0.15)
Matrix = tuple[tuple[float | None, ...], ...]


def completions(texts: Sequence[str], gold: int | None = None) -> tuple[Completion, ...]:
    source: dict[bool, Source] = {True: "gold", False: "policy"}
    return tuple(Completion("p", i, t, source=source[i == gold]) for i, t in enumerate(texts))


def scored(
    values: Sequence[float | None], texts: Sequence[str] | None = None, gold: int | None = None
) -> Group:
    pool = completions(texts or [f"answer {i}" for i in range(len(values))], gold)
    return Group(PROMPT, pool, scores=tuple(Score(value, "judge") for value in values))


def compared(
    upper: Sequence[Sequence[float | None]],
    texts: Sequence[str] | None = None,
    gold: int | None = None,
) -> Group:
    """A group from the upper triangle of its matrix, row by row."""
    size = len(upper) + 1
    rows: list[list[float | None]] = [[0.5] * size for _ in range(size)]
    for i, row in enumerate(upper):
        for j, p in enumerate(row, start=i + 1):
            rows[i][j], rows[j][i] = p, None if p is None else 1 - p
    pool = completions(texts or [f"answer {i}" for i in range(size)], gold)
    return Group(PROMPT, pool, preferences=tuple(tuple(row) for row in rows))


def samples(pairs: Sequence[Pair]) -> list[tuple[int, int]]:
    return sorted((pair.chosen.sample, pair.rejected.sample) for pair in pairs)


def dno(group: Group) -> list[Pair]:
    return rules.dno_pairs(group, gate(group), ngram=4, repeated_share=0.3)


def gate(group: Group) -> rules.Gate:
    return PAIR_GATE if group.preferences is not None else SCORE_GATE
