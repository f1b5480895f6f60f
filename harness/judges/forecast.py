"""What judgements will cost, before they are asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from harness.client.account import Price
from harness.judges.adapters import Judge, ScoreAsPair

CHARS_A_TOKEN = 4
"""English prose has a little more: a forecast is a bound."""


def tokens(text: str | None) -> int:
    """About so many in a text."""
    return len(text or "") // CHARS_A_TOKEN


@dataclass(frozen=True, slots=True)
class Forecast:
    """What judgements will cost at most; `usd` is None where no price is known."""

    calls: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    usd: float | None = 0.0

    @classmethod
    def of(
        cls, calls: int, prompt_tokens: int, completion_tokens: int, price: Price | None
    ) -> Forecast:
        """`calls` equal ones of so many tokens each."""
        prompt, completion = calls * prompt_tokens, calls * completion_tokens
        return cls(calls, prompt, completion, price.of(prompt, completion) if price else None)

    @property
    def tokens(self) -> int:
        return self.prompt_tokens + self.completion_tokens

    def __add__(self, other: Forecast) -> Forecast:
        known = self.usd is not None and other.usd is not None
        return Forecast(
            self.calls + other.calls,
            self.prompt_tokens + other.prompt_tokens,
            self.completion_tokens + other.completion_tokens,
            (self.usd or 0.0) + (other.usd or 0.0) if known else None,
        )


@runtime_checkable
class Forecasts(Protocol):
    """A judge that knows what it costs: one match (two answers) or one pool, sizes in tokens."""

    def forecast(self, instruction: int, answers: Sequence[int]) -> Forecast: ...


def forecast(judge: Judge, instruction: int, answers: Sequence[int]) -> Forecast:
    """Of one match or pool; nothing for a judge that asks no model."""
    if isinstance(judge, ScoreAsPair):
        judge = judge.judge
    return judge.forecast(instruction, answers) if isinstance(judge, Forecasts) else Forecast()
