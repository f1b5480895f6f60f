"""The policy's own digits as its score of an answer.

A small model rarely writes a score, so the score is the expected value of its next-token
distribution over the digits 0–5 after `Score: `.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

from harness.rubric import SCORE_PREFIX, judge_prompt
from harness.types import Group, Message, Prompt, Score

DIGITS = ("0", "1", "2", "3", "4", "5")
LEAST_MASS = 1e-4
"""Below this probability of any digit the expected value would be a guess: a failure."""


class NextToken(Protocol):
    def next_token_probs(
        self, prompts: Sequence[Prompt], continuation: str, candidates: Sequence[str]
    ) -> list[tuple[float, ...]]: ...


class SelfJudge:
    """Scores 0..5 by a policy's own digits; `identity` names the policy by its digest. `engine`
    loads it, once something is asked."""

    reference_based = False
    scale = (0.0, 5.0)

    def __init__(self, engine: Callable[[], NextToken], policy_digest: str) -> None:
        self._engine = engine
        self.identity = f"self-1:{policy_digest[:12]}"

    def score(self, groups: Sequence[Group]) -> Iterator[Sequence[Score]]:
        for group in groups:
            prompts = [
                Prompt(
                    f"{group.prompt.id}/{index}",
                    (Message("user", judge_prompt(group.prompt.instruction, completion.text)),),
                )
                for index, completion in enumerate(group.completions)
            ]
            probabilities = self._engine().next_token_probs(prompts, SCORE_PREFIX, DIGITS)
            yield [self._expected(row) for row in probabilities]

    def _expected(self, probabilities: tuple[float, ...]) -> Score:
        mass = sum(probabilities)
        if mass < LEAST_MASS:
            return Score(None, self.identity, "the policy gives no digit after 'Score: '")
        value = sum(digit * p for digit, p in enumerate(probabilities)) / mass
        return Score(value, self.identity)
