"""Prompts and what is said to them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

Source = Literal["initial", "policy", "gold", "dataset"]
FinishReason = Literal["stop", "length"]


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a conversation; role is `system`, `user` or `assistant`."""

    role: str
    content: str


@dataclass(frozen=True, slots=True)
class Prompt:
    """A conversation that awaits an answer.

    `gold` is a strong (the teacher's) answer, `rejected` a weaker one of the data set's own, where
    the data has them; `source` names the data set.
    """

    id: str
    messages: tuple[Message, ...]
    gold: str | None = None
    rejected: str | None = None
    source: str = ""

    @property
    def instruction(self) -> str:
        """The last user turn: what AlpacaEval's format calls the instruction."""
        return next((m.content for m in reversed(self.messages) if m.role == "user"), "")


@dataclass(frozen=True, slots=True)
class Completion:
    """One answer to a prompt.

    `token_ids` are the ids as they were sampled, the end-of-turn token included; empty where the
    text was not sampled here (gold, data sets), and then training tokenises `text`.
    `finish_reason` is `length` where the token limit cut it.
    """

    prompt_id: str
    sample: int
    text: str
    token_ids: tuple[int, ...] = ()
    finish_reason: FinishReason = "stop"
    source: Source = "policy"


@dataclass(frozen=True, slots=True)
class SampleSpec:
    """How to sample: `samples` completions a prompt; temperature 0 is greedy; top_p in (0, 1].

    The stream of random numbers of a completion depends on (seed, prompt id, sample number) only.
    """

    samples: int
    temperature: float
    top_p: float
    max_new_tokens: int
    seed: int
    source: Source = "policy"


class Sampler(Protocol):
    """Yields `spec.samples` completions a prompt, in the order in which they finish."""

    def sample(self, prompts: Sequence[Prompt], spec: SampleSpec) -> Iterator[Completion]: ...
