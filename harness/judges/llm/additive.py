"""`additive:MODEL`: the 0–5 rubric of self-rewarding (Yuan et al. 2024, arXiv 2401.10020), several
votes averaged. The prompt is that of `harness.rubric`."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

from harness.client.chat import Chat, Question, Respondent
from harness.client.replies import FailureError, Reply
from harness.judges.forecast import CHARS_A_TOKEN, Forecast
from harness.rubric import judge_prompt
from harness.types import Completion, Group, Message, Score, Usage

LOWEST, HIGHEST = 0.0, 5.0
LIMIT = 512
"""Tokens of a reply: one line, or a model's thoughts before it."""
_SCORE = re.compile(r"^\W*Score\b\W*?(-?\d+(?:\.\d+)?)(?![\d.]*\d)", re.M | re.I)


@dataclass(frozen=True)
class Additive:
    """A model's additive 0–5 score of each answer (self-rewarding), the mean of several votes.

    Votes differ by their seed; one that fails fails the score, and those that came in are in the
    cache. The policy itself can be the model (`harness/judges/policy.py`).
    """

    chat: Respondent
    votes: int
    version: ClassVar[str] = "additive-1"
    reference_based: ClassVar[bool] = False
    scale: ClassVar[tuple[float, float]] = (LOWEST, HIGHEST)

    @classmethod
    def of(cls, chat: Chat, votes: int) -> Additive:
        return cls(chat, votes)

    @property
    def identity(self) -> str:
        return f"{self.version}({self.chat.name}, {self.votes} votes)"

    def forecast(self, instruction: int, answers: Sequence[int]) -> Forecast:
        own = len(judge_prompt("", "")) // CHARS_A_TOKEN + instruction
        asked = [Forecast.of(self.votes, own + size, LIMIT, self.chat.price) for size in answers]
        return sum(asked, Forecast())

    def score(self, groups: Sequence[Group]) -> Iterator[Sequence[Score]]:
        answers = self.chat.ask(
            [q for group in groups for c in group.completions for q in self._questions(group, c)]
        )
        for group in groups:
            scores = []
            for _ in group.completions:
                votes = [next(answers) for _ in range(self.votes)]
                usage = sum((vote.usage for vote in votes), Usage())
                error = next((vote.error for vote in votes if vote.error), None)
                mean = None if error else sum(vote.value or 0.0 for vote in votes) / self.votes
                scores.append(Score(mean, self.identity, error, usage))
            yield scores

    def _questions(self, group: Group, completion: Completion) -> Iterator[Question[float]]:
        text = judge_prompt(group.prompt.instruction, completion.text)
        for vote in range(self.votes):
            yield Question(
                messages=(Message("user", text),),
                max_tokens=LIMIT,
                temperature=1.0,
                rule=self.version,
                read=last_score,
                seed=vote,
            )


def last_score(reply: Reply) -> float:
    """The number of the reply's last line that begins with `Score:`."""
    said = _SCORE.findall(reply.whole())
    if not said:
        raise FailureError("unparsable", reply.text)
    value = float(said[-1])
    if not LOWEST <= value <= HIGHEST:
        raise FailureError("out of range", f"Score: {said[-1]}")
    return value
