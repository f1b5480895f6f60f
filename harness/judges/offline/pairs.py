"""Two answers to one instruction as rows of numbers, in the order that the model was trained on."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from harness.judges.offline.features import (
    ABSENT,
    Reading,
    agreement,
    qualities,
    read,
    setting,
)

TERMS = 1 << 17
"""Words and word pairs are told apart by 17 bits of a hash."""
AGREEMENTS = len(agreement(read(""), read("")))

Row = NDArray[np.float32]


@dataclass(frozen=True)
class Asked:
    """An instruction, read once for all answers to it."""

    reading: Reading
    setting: Row

    @classmethod
    def of(cls, instruction: str) -> Asked:
        reading = read(instruction)
        return cls(reading, _row(setting(reading)))


@dataclass(frozen=True)
class Answer:
    """An answer to an instruction; `terms`: see there."""

    reading: Reading
    qualities: Row
    terms: NDArray[np.int64]

    @classmethod
    def of(cls, asked: Asked, text: str) -> Answer:
        reading = read(text)
        return cls(reading, _row(qualities(asked.reading, reading)), terms(reading.words))


def both_orders(asked: Asked, a: Answer, b: Answer, reference: Reading | None) -> Row:
    """[2, features]: a seen beside b, and b beside a.

    `reference` is a good answer that neither of the two is; None where there is none.
    """
    of_b, of_a = _row(agreement(a.reading, b.reading)), _row(agreement(b.reading, a.reading))
    if reference is None:
        a_reference = b_reference = np.full(AGREEMENTS, ABSENT, np.float32)
        gap = a_reference
    else:
        a_reference = _row(agreement(a.reading, reference))
        b_reference = _row(agreement(b.reading, reference))
        gap = a_reference - b_reference
    difference = a.qualities - b.qualities
    mirrored = gap if reference is None else -gap
    return np.stack(
        [
            np.concatenate([asked.setting, a.qualities, difference, of_b, of_a, a_reference, gap]),
            np.concatenate(
                [asked.setting, b.qualities, -difference, of_a, of_b, b_reference, mirrored]
            ),
        ]
    )


def terms(words: tuple[str, ...]) -> NDArray[np.int64]:
    """Hashes (below `TERMS`) of the words and word pairs of a text, sorted, each once."""
    single = np.array([_hash(word) for word in words], dtype=np.int64)
    double = single[:-1] * 1_000_003 + single[1:]
    return np.unique(np.concatenate([single, double ^ (double >> 20)]) % TERMS)


@lru_cache(maxsize=1 << 16)
def _hash(word: str) -> int:
    return zlib.crc32(word.encode("utf-8", "replace"))


def _row(named: dict[str, float]) -> Row:
    return np.fromiter(named.values(), dtype=np.float32, count=len(named))
