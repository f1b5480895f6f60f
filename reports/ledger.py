"""What a run lost and what it cost: tables beside the scores."""

from __future__ import annotations

from collections.abc import Mapping

from harness.records import IterationRecord, RunRecord, StageCost
from reports.tables import Table
from reports.words import number


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name}: {count:,}" for name, count in counts.items() if count) or "none"


# --- losses of data --------------------------------------------------------------------------


def losses_of_data(run: RunRecord) -> Table:
    """Prompts that gave no example, and judgements that failed, by reason."""
    caption = "What gave no example, and which judgements failed"
    rows = tuple(
        (
            str(record.iteration),
            "–" if record.composition is None else _counts(record.composition.unused_prompts),
            "–" if record.composition is None else _counts(record.composition.judge_failures),
            _counts(_eval_failures(record)),
        )
        for record in run.iterations
    )
    columns = ("iteration", "prompts without example", "training judge", "evaluation judge")
    note = (
        "Failed judgements are never imputed and never become examples. Evaluation judge: against "
        "opponent, start and previous policy together."
    )
    return Table(caption, columns, rows, note, text_columns=4)


def _eval_failures(record: IterationRecord) -> dict[str, int]:
    total: dict[str, int] = {}
    result = record.result
    for rate in (result.win_rate, result.vs_initial, result.vs_previous):
        for reason, count in rate.failures.items():
            total[reason] = total.get(reason, 0) + count
    return total


# --- costs ------------------------------------------------------------------------------------


def costs(run: RunRecord) -> Table:
    """What each stage cost over all iterations, and the total."""
    caption = "Costs by stage, all iterations"
    totals: dict[str, StageCost] = {}
    for record in run.iterations:
        for cost in record.costs:
            _add(totals, cost.stage, cost)
    if not totals:
        return Table(caption, (), (), "No costs are recorded for this run.")
    for cost in list(totals.values()):
        _add(totals, "total", cost)
    columns = ("stage", "seconds", "prompt tokens", "completion tokens", "US dollars")
    rows = tuple(
        (
            cost.stage,
            number(cost.seconds),
            f"{cost.prompt_tokens:,}",
            f"{cost.completion_tokens:,}",
            number(cost.usd, 2),
        )
        for cost in totals.values()
    )
    note = "As first computed: a stage that was reused cost this when it was made, not again."
    return Table(caption, columns, rows, note)


def _add(totals: dict[str, StageCost], stage: str, cost: StageCost) -> None:
    old = totals.get(stage, StageCost(stage, 0.0, 0, 0, 0.0))
    totals[stage] = StageCost(
        stage,
        old.seconds + cost.seconds,
        old.prompt_tokens + cost.prompt_tokens,
        old.completion_tokens + cost.completion_tokens,
        old.usd + cost.usd,
    )
