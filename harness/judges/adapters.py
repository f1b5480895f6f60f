"""One judge as the other kind, so that every method runs with every judge.

A score judge compares by σ((s_a − s_b)/T), T a sixth of its scale (1 on 0–6); a pair judge
scores by the win rate inside the pool.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from harness.types import Group, Match, PairJudge, Score, ScoreJudge, Verdict

Judge = PairJudge | ScoreJudge


def preference(a: float, b: float, scale: tuple[float, float]) -> float:
    """The probability that a beats b, from two scores on `scale`; equal scores ½."""
    temperature = (scale[1] - scale[0]) / 6
    return 1 / (1 + math.exp(-(a - b) / temperature))


@dataclass(frozen=True)
class ScoreAsPair:
    """A score judge that compares: each match is scored as a pool of two."""

    judge: ScoreJudge

    @property
    def identity(self) -> str:
        return self.judge.identity

    @property
    def reference_based(self) -> bool:
        return self.judge.reference_based

    def compare(self, matches: Sequence[Match]) -> Iterator[Verdict]:
        groups = [Group(match.prompt, (match.a, match.b)) for match in matches]
        for match, (a, b) in zip(matches, self.judge.score(groups), strict=True):
            usage = a.usage + b.usage
            if a.value is None or b.value is None:
                yield Verdict(match.id, None, self.identity, a.error or b.error, usage=usage)
            else:
                p = preference(a.value, b.value, self.judge.scale)
                yield Verdict(match.id, p, self.identity, usage=usage)


def as_pair_judge(judge: Judge) -> PairJudge:
    return judge if isinstance(judge, PairJudge) else ScoreAsPair(judge)


def pool_matches(group: Group) -> list[tuple[int, int, Match]]:
    """Every two candidates of a pool once, first against later."""
    prompt, pool = group.prompt, group.completions
    return [
        (i, j, Match(f"{prompt.id}/{i}-{j}", prompt, pool[i], pool[j]))
        for i in range(len(pool))
        for j in range(i + 1, len(pool))
    ]


def matrix(size: int, verdicts: dict[tuple[int, int], float | None]) -> Matrix:
    """The pairwise matrix from verdicts on (i, j), i < j; the other half is 1 − p."""
    rows: list[list[float | None]] = [[None] * size for _ in range(size)]
    for i in range(size):
        rows[i][i] = 0.5
    for (i, j), p in verdicts.items():
        rows[i][j] = p
        rows[j][i] = None if p is None else 1 - p
    return tuple(tuple(row) for row in rows)


Matrix = tuple[tuple[float | None, ...], ...]


def pool_scores(preferences: Matrix, judge: str) -> tuple[Score, ...]:
    """Each candidate's mean of hard wins against the others (ties ½); a failed judgement of a
    candidate fails its score."""
    scores = []
    for i, row in enumerate(preferences):
        against = [p for j, p in enumerate(row) if j != i]
        if not against:
            scores.append(Score(None, judge, "no other candidate to compare with"))
        elif any(p is None for p in against):
            scores.append(Score(None, judge, "a comparison in the pool failed"))
        else:
            wins = [hard_win(p) for p in against if p is not None]
            scores.append(Score(sum(wins) / len(wins), judge))
    return tuple(scores)


def hard_win(p: float) -> float:
    """1 where a wins, 0 where b does, ½ for a tie (to within rounding)."""
    if abs(p - 0.5) < 1e-9:
        return 0.5
    return 1.0 if p > 0.5 else 0.0
