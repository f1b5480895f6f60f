"""How a command asks a judge about texts that it is given: no run, no stages."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from harness import registry
from harness.access import Access
from harness.config import AskingConfig
from harness.errors import HarnessError
from harness.judges.adapters import Judge, as_pair_judge
from harness.judges.forecast import Forecast, forecast, tokens
from harness.progress import Reporter
from harness.stages.judging import MATCHES, verdicts
from harness.types import Completion, Match, Message, PairJudge, Prompt, Verdict


@dataclass(frozen=True)
class Asker:
    """A judge, and what the user sees of its work; `made` is the judge as its author wrote it."""

    judge: PairJudge
    made: Judge
    access: Access
    reporter: Reporter

    @classmethod
    def of(cls, config: AskingConfig, reporter: Reporter, *, otherwise: str) -> Asker:
        """Check everything about a judge. One that leans on a gold answer is refused: `otherwise`
        says where that answer is, if anywhere, among the texts."""
        access = Access.by(config.judging)
        made = registry.make_judge(config.judge, access)
        judge = as_pair_judge(made)
        if judge.reference_based:
            raise HarnessError(
                f"The judge '{config.judge}' scores by a gold answer, and {otherwise}; name "
                "another --judge."
            )
        access.check_keys()
        return cls(judge, made, access, reporter)

    def ask(self, matches: Sequence[Match], ledger: Path, label: str) -> list[Verdict]:
        """One verdict a match, in order; what calls cost is forecast, entered in the ledger as they
        come, and said. Raises BudgetSpentError: what was answered by then is in the cache, so the
        same command goes on."""
        said: dict[str, Verdict] = {}
        say = self.reporter.say
        with self.access.kept_in(ledger, say):
            most = self._forecast(matches)
            self.access.say_forecast(most.calls, most.usd, say)
            with self.reporter.track(label, len(matches)) as advance:
                for at in range(0, len(matches), MATCHES):
                    for verdict in verdicts(self.judge, matches[at : at + MATCHES]):
                        said[verdict.match_id] = verdict
                        advance(1)
        return [said[match.id] for match in matches]

    def _forecast(self, matches: Sequence[Match]) -> Forecast:
        asked = (match for match in matches if match.a.text != match.b.text)
        return sum(
            (
                forecast(
                    self.judge, tokens(m.prompt.instruction), [tokens(m.a.text), tokens(m.b.text)]
                )
                for m in asked
            ),
            Forecast(),
        )


def bare_match(name: str, instruction: str, a: str, b: str, gold: str | None = None) -> Match:
    """Two texts to one instruction, from files that say no more; `gold` is the strong one of the
    two, where one is known to be."""
    prompt = Prompt(instruction, (Message("user", instruction),), gold)
    return Match(name, prompt, Completion(instruction, 0, a), Completion(instruction, 1, b))
