"""What a run's numbers say, in words; a verdict is derived from an interval alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from harness.errors import HarnessError
from harness.records import RunRecord
from harness.scoring.compare import Comparison
from harness.types import Difference, LengthControl, LengthControlKind, Result, WinRate
from leaderboards.board import BoardKey

Kind = Literal["better", "worse", "unclear", "none"]

SMALL_PRESETS = ("quickstart", "tiny")
FEW = 10
"""Below this many prompts a bootstrap interval is itself unreliable, and the verdict says so."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """One run's outcome: `kind` decides the colour, `sentence` says it, `more` is its context."""

    kind: Kind
    sentence: str
    more: tuple[str, ...] = ()


def labels(runs: Sequence[RunRecord]) -> list[str]:
    """A name for each run, numbered where two share one."""
    counts = Counter(run.name for run in runs)
    return [
        run.name if counts[run.name] == 1 else f"{run.name} ({number})"
        for number, run in enumerate(runs, start=1)
    ]


def key_of(run: RunRecord) -> BoardKey:
    """The one board that a run's iterations are on."""
    if not run.iterations:
        raise HarnessError(f"The run {run.name} holds no scored iteration yet: resume it first.")
    keys = {_key(record.result) for record in run.iterations}
    if len(keys) > 1:
        raise HarnessError(
            f"The iterations of {run.name} were scored on different benchmarks or by different "
            "judges, and such numbers make no curve: run it again with one setting."
        )
    return keys.pop()


def _key(result: Result) -> BoardKey:
    return BoardKey(result.benchmark, result.decoding, result.judge, result.opponent)


def common_key(runs: Sequence[RunRecord]) -> BoardKey:
    """The board that all runs share; runs of different boards are refused."""
    if not runs:
        raise HarnessError("A report needs at least one run: name a run folder.")
    first = key_of(runs[0])
    for run in runs[1:]:
        for field, ours, theirs in zip(BoardKey._fields, first, key_of(run), strict=True):
            if ours != theirs:
                raise HarnessError(
                    f"{runs[0].name} and {run.name} differ in {field} ({ours} and {theirs}), so "
                    "their numbers are not comparable and are shown apart: write one report each."
                )
    return first


def same_anchor(runs: Sequence[RunRecord]) -> bool:
    """Whether the opponent is each run's own start, so that both win rates are one."""
    return all(
        record.result.win_rate == record.result.vs_initial
        for run in runs
        for record in run.iterations
    )


def control_kinds(runs: Sequence[RunRecord]) -> list[LengthControlKind]:
    """The kinds of length control that the runs' iterations have; LC and length-adjusted are not
    comparable and never share a column."""
    controls = [record.result.length_control for run in runs for record in run.iterations]
    return sorted({control.kind for control in controls if control})


# --- numbers ----------------------------------------------------------------------------------


def number(value: float | None, digits: int = 1) -> str:
    """`1,234.5`; an en dash where there is nothing."""
    return "–" if value is None else f"{value:,.{digits}f}"


def interval(found: WinRate | LengthControl | Difference) -> str:
    """`52.0 to 70.1`."""
    return "–" if found.ci95 is None else f"{found.ci95[0]:.1f} to {found.ci95[1]:.1f}"


def rate_words(rate: WinRate) -> str:
    """`61.2% (95% interval 52.0 to 70.1, 32 prompts)`, or why there is no such number."""
    if rate.by_construction is not None:
        return f"{number(rate.value, 0)}% by construction ({rate.by_construction})"
    if rate.value is None:
        return f"unknown (none of {rate.n_failed} judgements succeeded)"
    if rate.ci95 is None:
        return f"unknown (too few prompts for an interval: {rate.n})"
    return f"{rate.value:.1f}% (95% interval {interval(rate)}, {plural(rate.n, 'prompt')})"


def plural(count: int, word: str) -> str:
    return f"{count:,} {word}" if count == 1 else f"{count:,} {word}s"


def listed(words: Sequence[str]) -> str:
    """`a, b and c`."""
    *first, last = words
    return f"{', '.join(first)} and {last}" if first else last


# --- verdicts ---------------------------------------------------------------------------------


def kind_of(rate: WinRate) -> Kind:
    """Better or worse only where the whole interval lies on one side of 50%."""
    if rate.by_construction is not None or rate.value is None or rate.ci95 is None:
        return "none"
    low, high = rate.ci95
    if low > 50:
        return "better"
    return "worse" if high < 50 else "unclear"


_OUTCOME = {
    "better": "better than the start beyond noise at this size",
    "worse": "worse than the start beyond noise at this size",
    "unclear": "not distinguishable from the start at this size",
}


def verdict(run: RunRecord, label: str | None = None) -> Verdict:
    """What the last iteration's win rate against the run's own start says."""
    last = run.iterations[-1]
    rate, judge = last.result.vs_initial, last.result.judge
    name = label or run.method
    if last.iteration == 0:
        return Verdict(
            "none",
            f"{name} has not been trained yet: only its start (iteration 0) is scored, and a "
            "policy against itself is 50% by construction. There is no verdict.",
            (_against_opponent(run),),
        )
    after = f"After {plural(last.iteration, 'iteration')}, {name}'s win rate against its start"
    kind = kind_of(rate)
    if rate.by_construction is not None:
        sentence = f"{after} is {rate_words(rate)}: not a measurement, so there is no verdict."
    elif rate.value is None:
        sentence = f"{after} is {rate_words(rate)}, judge {judge}: there is no verdict."
    elif rate.ci95 is None:
        sentence = f"{after} has no interval ({plural(rate.n, 'prompt')} judged): no verdict."
    else:
        sentence = (
            f"{after} is {rate.value:.1f}% (95% interval {interval(rate)}, "
            f"{plural(rate.n, 'prompt')}, judge {judge}): {_OUTCOME[kind]}."
        )
    more = [_against_opponent(run), _length_words(run)]
    if rate.n_failed:
        more.append(f"{plural(rate.n_failed, 'judgement')} failed and count in no number above.")
    if kind != "none" and rate.n < FEW:
        more.append(f"An interval over {plural(rate.n, 'prompt')} is itself unreliable.")
    return Verdict(kind, sentence, tuple(more))


_SUMMARY = {
    "better": "Better than the start beyond noise",
    "unclear": "Not distinguishable from the start",
    "worse": "Worse than the start beyond noise",
    "none": "Without a verdict",
}


def headline(runs: Sequence[RunRecord], comparison: Comparison | None) -> tuple[str, ...]:
    """What several runs say together; nothing for one alone."""
    if len(runs) < 2:
        return ()
    names: dict[Kind, list[str]] = {}
    for run, name in zip(runs, labels(runs), strict=True):
        names.setdefault(verdict(run, name).kind, []).append(name)
    parts = [f"{_SUMMARY[k]}: {', '.join(names[k])}." for k in _SUMMARY if k in names]
    tried = len(runs) - len(names.get("none", ()))
    if tried > 1 and ("better" in names or "worse" in names):
        parts.append(  # the union bound, since runs that share their start are not independent
            f"By chance alone, at least one of {tried} such verdicts says better or worse in up to "
            f"{min(100, 5 * tried)}% of cases."
        )
    summary = " ".join(parts)
    if comparison is None or not comparison.duels:
        return (summary,)
    told = [
        f"{duel.better} is better than {duel.b if duel.better == duel.a else duel.a}"
        for duel in comparison.duels
        if duel.better
    ]
    apart = "; ".join(told) if told else "no two of the runs are told apart"
    pairs = f"By paired differences over {plural(comparison.shared, 'shared prompt')}: {apart}."
    return (summary, pairs)


def _against_opponent(run: RunRecord) -> str:
    first, last = run.iterations[0], run.iterations[-1]
    words = (
        f"Against the fixed opponent {first.result.opponent}, iteration {first.iteration}: "
        f"{_opponent_words(first.result)}"
    )
    if same_anchor([run]):
        words = f"The opponent of the win rate is that same start: {first.result.opponent}"
        if last.result.length_control:
            words += f"; iteration {last.iteration}: {_opponent_words(last.result)}"
    elif last.iteration != first.iteration:
        words += f"; iteration {last.iteration}: {_opponent_words(last.result)}"
    return f"{words}."


def _opponent_words(result: Result) -> str:
    control = result.length_control
    if control is None or control.ci95 is None:
        return rate_words(result.win_rate)
    return (
        f"{rate_words(result.win_rate)}, {control.kind} {control.value:.1f}% "
        f"(95% interval {interval(control)})"
    )


def _length_words(run: RunRecord) -> str:
    first, last = run.iterations[0].result.lengths, run.iterations[-1].result.lengths
    times = f" (×{last.mean / first.mean:.2f})" if first.mean else ""
    controlled = " and ".join(control_kinds([run]))
    which = f"win rates other than {controlled}" if controlled else "these win rates"
    return (
        f"Mean output length went from {first.mean:,.0f} to {last.mean:,.0f} characters{times}; "
        f"{which} are not controlled for length."
    )


# --- caveats ----------------------------------------------------------------------------------


def caveats(runs: Sequence[RunRecord]) -> tuple[str, ...]:
    """What a reader must know before the numbers."""
    found: dict[str, None] = {}
    for run, label in zip(runs, labels(runs), strict=True):
        held = len({overlap.benchmark_id for overlap in run.contamination})
        if held:
            found[
                f"{label}: the training data hold {plural(held, 'instruction')} of the benchmark "
                "(--allow-contamination), so its win rates may be inflated. The pairs are in the "
                "run's contamination.json."
            ] = None
    for run in runs:
        rate = run.iterations[-1].result.vs_initial
        if run.config.preset in SMALL_PRESETS:
            prompts = plural(rate.n + rate.n_failed, "evaluation prompt")
            found[
                f"This run proves the machinery; with {prompts} it can't rank methods: "
                f"use --preset laptop. (Preset here: {run.config.preset}.)"
            ] = None
    return tuple(found)


def notes(runs: Sequence[RunRecord]) -> tuple[str, ...]:
    """What the numbers are not: same judge twice, 50% by construction, several runs."""
    found: dict[str, None] = {}
    for run in runs:
        if same_judge(run):
            found[
                f"The judge that chose the training data ({run.iterations[0].result.judge}) also "
                "judges the outputs. A gain may be the judge's own taste: confirm it with another "
                "judge (--eval-judge)."
            ] = None
    constructed: dict[str, list[str]] = {}
    for run, label in zip(runs, labels(runs), strict=True):
        for said in _constructions(run):
            constructed.setdefault(said, []).append(label)
    for said, names in constructed.items():
        found[f"{', '.join(names)}: {said}" if len(runs) > 1 else said] = None
    if len(runs) > 1:
        found[
            "Each interval belongs to one run: whether two differ is in the table of paired "
            "differences. Each run is one seed."
        ] = None
    return tuple(found)


def same_judge(run: RunRecord) -> bool:
    """Whether one judge chose the training data and scored the outputs."""
    trained_by = {r.composition.judge for r in run.iterations if r.composition is not None}
    if trained_by:
        return run.iterations[0].result.judge in trained_by
    return run.config.judge.train == run.config.eval_judge


def _constructions(run: RunRecord) -> list[str]:
    """One sentence for each reason for which iterations are 50% without measurement."""
    found: dict[tuple[str, str], list[str]] = {}
    once = same_anchor([run])
    for record in run.iterations:
        opponent = (f"the opponent {record.result.opponent}", record.result.win_rate)
        start = ("the run's own start", record.result.vs_initial)
        for against, rate in (start,) if once else (opponent, start):
            if rate.by_construction is not None:
                found.setdefault((against, rate.by_construction), []).append(str(record.iteration))
    return [
        f"Iteration {', '.join(iterations)} against {against} is 50% by construction, not "
        f"by measurement: {reason}."
        for (against, reason), iterations in found.items()
    ]
