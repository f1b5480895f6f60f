"""What a judge sees and says."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

from harness.types.prompts import Completion, Prompt


@dataclass(frozen=True, slots=True)
class Usage:
    """What a step cost."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    usd: float = 0.0
    seconds: float = 0.0

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            self.prompt_tokens + other.prompt_tokens,
            self.completion_tokens + other.completion_tokens,
            self.usd + other.usd,
            self.seconds + other.seconds,
        )


@dataclass(frozen=True, slots=True)
class Match:
    """Two answers to one prompt, to be compared."""

    id: str
    prompt: Prompt
    a: Completion
    b: Completion


@dataclass(frozen=True, slots=True)
class Verdict:
    """`p` is the probability that a beats b; None when the judge failed, and `error` says why.

    `order` says which answer the judge saw first. `by_order` is p with a first and p with b first,
    where both were asked for.
    """

    match_id: str
    p: float | None
    judge: str
    error: str | None = None
    order: Literal["ab", "ba", "both"] = "ab"
    usage: Usage = Usage()
    by_order: tuple[float, float] | None = None


@dataclass(frozen=True, slots=True)
class Score:
    """An absolute score of one completion; None when the judge failed, and `error` says why."""

    value: float | None
    judge: str
    error: str | None = None
    usage: Usage = Usage()


@dataclass(frozen=True, slots=True)
class Group:
    """All that is known of one prompt's candidates.

    `scores` has one entry a completion (a pair judge's are win rates inside the pool, 0..1);
    `scale` is the lowest and the highest that a score can be, None where nobody said;
    `preferences[i][j]` is the probability that completion i beats completion j, the diagonal ½,
    None where that judgement failed or was not asked for.
    """

    prompt: Prompt
    completions: tuple[Completion, ...]
    scores: tuple[Score, ...] | None = None
    preferences: tuple[tuple[float | None, ...], ...] | None = None
    scale: tuple[float, float] | None = None


@runtime_checkable
class PairJudge(Protocol):
    """Compares two answers. One verdict a match, in order; a failure is a verdict without p.

    `reference_based`: the verdict leans on the prompt's gold answer, so that answer must not be
    an opponent that this judge ranks.
    """

    @property
    def identity(self) -> str: ...
    @property
    def reference_based(self) -> bool: ...

    def compare(self, matches: Sequence[Match]) -> Iterator[Verdict]: ...


@runtime_checkable
class ScoreJudge(Protocol):
    """Scores each candidate of a group absolutely. One sequence of scores a group, in order.

    `scale` is (lowest, highest) score.
    """

    @property
    def identity(self) -> str: ...
    @property
    def reference_based(self) -> bool: ...
    @property
    def scale(self) -> tuple[float, float]: ...

    def score(self, groups: Sequence[Group]) -> Iterator[Sequence[Score]]: ...
