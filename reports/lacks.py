"""What a report lacks, in words: runs that stopped half-way, and what nobody measured."""

from __future__ import annotations

from collections.abc import Sequence

from harness.records import RunRecord
from leaderboards.official import BASELINE
from leaderboards.papers import OFFICIAL_JUDGE
from reports.group import Group
from reports.words import control_kinds, listed, plural

STAGES = ("samples", "verdicts", "examples", "train", "outputs", "validation", "drift", "scores")


def lacks(group: Group) -> tuple[str, ...]:
    """One sentence for each thing that is missing."""
    found = [_unfinished(run, name) for run, name in zip(group.runs, group.names, strict=True)]
    found += [_short(run, name) for run, name in zip(group.runs, group.names, strict=True)]
    found += [_leaderboard(group), *_judge(group)]
    if not control_kinds(group.runs) and any(len(run.iterations) > 1 for run in group.runs):
        found.append("No win rate is controlled for length.")
    if not any(told.prompts for told in group.details):
        found.append("No outputs are at hand, so none can be read here.")
    return tuple(filter(None, found))


def unscored(runs: Sequence[RunRecord]) -> tuple[str, ...]:
    """The same of runs that have no scores at all."""
    return tuple(
        f"{run.name} has no scored iteration yet{_begun(run)}, so it is in no figure or table. "
        f"{_resume(run)}"
        for run in runs
    )


def _unfinished(run: RunRecord, name: str) -> str:
    if not run.missing:
        return ""
    scored = len(run.iterations)
    return (
        f"{name} is not finished: of iterations 0 to {run.config.iterations}, "
        f"{scored} {'is' if scored == 1 else 'are'} scored{_begun(run)}. {_resume(run)}"
    )


def _begun(run: RunRecord) -> str:
    if not run.begun:
        return ""
    missing = [stage for stage in STAGES if stage not in run.begun]
    return (
        f", and iteration {len(run.iterations)} has {listed(run.begun)} but not yet "
        f"{listed(missing)}"
    )


def _resume(run: RunRecord) -> str:
    command = run.provenance.get("command")
    return f"The same command goes on from there: {command}" if command else "Resume it."


def _short(run: RunRecord, name: str) -> str:
    if len(run.iterations) != 2:
        return ""
    return f"{name} has one iteration beside its start: two points show a change and no trend."


def _leaderboard(group: Group) -> str:
    key = group.key
    if not key.benchmark.startswith("alpaca_eval"):
        return (
            f"No AlpacaEval 2.0 data: on {key.benchmark} a run has no LC and no place among the "
            "official rows, and no published line is drawn (--benchmark alpaca_eval has all)."
        )
    if BASELINE not in key.opponent:
        return (
            f"The opponent is {key.opponent} and not AlpacaEval's GPT-4-Turbo: no published line "
            "is comparable."
        )
    if OFFICIAL_JUDGE not in key.judge:
        return (
            f"The judge is {key.judge} and not AlpacaEval's own: published lines are not drawn, "
            "and a place among official rows is an estimate."
        )
    return ""


def _judge(group: Group) -> list[str]:
    records = [record for run in group.runs for record in run.iterations]
    asked = [record for record in records if record.result.win_rate.by_construction is None]
    found = []
    if asked and not any(record.result.order_bias for record in asked):
        found.append(
            "The evaluation judge was asked in one order only: how far the order decides is not "
            "known (--set judging.both_orders=true)."
        )
    bare = [r for r in records if r.controls is None]
    if bare:
        found.append(f"{plural(len(bare), 'scoring')} of {len(records)} are without controls.")
    return found
