"""A pair judge that asks another one in both orders, so that position cannot decide."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from harness.judges.forecast import Forecast, forecast
from harness.types import Match, PairJudge, Verdict


@dataclass(frozen=True)
class BothOrders:
    """p = the mean over both orders; a failure of either is one, with its reason. The other order's
    answer stays in the cache where the judge is a paid one, and is not paid again."""

    judge: PairJudge

    @property
    def identity(self) -> str:
        return f"both-orders-1({self.judge.identity})"

    @property
    def reference_based(self) -> bool:
        return self.judge.reference_based

    def forecast(self, instruction: int, answers: Sequence[int]) -> Forecast:
        once = forecast(self.judge, instruction, answers)
        return once + once

    def compare(self, matches: Sequence[Match]) -> Iterator[Verdict]:
        both = [
            (match, replace(match, id=f"{match.id}/ba", a=match.b, b=match.a)) for match in matches
        ]
        verdicts = self.judge.compare([match for pair in both for match in pair])
        for match in matches:
            yield self._joined(match, next(verdicts), next(verdicts))

    def _joined(self, match: Match, ab: Verdict, ba: Verdict) -> Verdict:
        usage = ab.usage + ba.usage
        if ab.p is None or ba.p is None:
            error = ab.error if ab.p is None else ba.error
            return Verdict(match.id, None, self.identity, error, "both", usage)
        a_there, a_back = ab.p, 1 - ba.p
        # whose answer stood first is the judge's to say: AlpacaEval draws it
        by_order = (a_there, a_back) if ab.order == "ab" else (a_back, a_there)
        p = (a_there + a_back) / 2
        return Verdict(match.id, p, self.identity, None, "both", usage, by_order)
