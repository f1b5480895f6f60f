"""An answer beside another as a row of numbers, in the order that the trees were trained on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.judges.offline.features import Reading, agreement, qualities, read, setting

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
    """An answer to an instruction, read once for all that it is compared with."""

    reading: Reading
    qualities: Row

    @classmethod
    def of(cls, asked: Asked, text: str) -> Answer:
        reading = read(text)
        return cls(reading, _row(qualities(asked.reading, reading)))


def row(asked: Asked, a: Answer, b: Answer) -> Row:
    """[features]: a as it looks beside b. What it says is not symmetric: see `Model`."""
    return np.concatenate(
        [
            asked.setting,
            a.qualities,
            a.qualities - b.qualities,
            b.qualities,
            _row(agreement(a.reading, b.reading)),
            _row(agreement(b.reading, a.reading)),
        ]
    )


def _row(named: dict[str, float]) -> Row:
    return np.fromiter(named.values(), dtype=np.float32, count=len(named))
