"""A method with a mistake: what several processes load by its file, as they do a user's."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from harness.types import Batch, LogProbs, Loss
from trainers.sft import SFT


@dataclass(frozen=True)
class Breaks(SFT):
    """Not a number for the answer of two tokens, or an error for any."""

    crash: bool = False

    def loss(self, policy: LogProbs, references: Mapping[str, LogProbs], batch: Batch) -> Loss:
        if self.crash:
            raise RuntimeError("a method's own mistake")
        loss = super().loss(policy, references, batch)
        return loss._replace(
            mean=loss.mean * math.nan if (policy.lengths == 2).any() else loss.mean
        )
