"""What runs cost: a table by stage, time by stage, and win rate against cost."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import accumulate
from typing import TYPE_CHECKING, NamedTuple

from harness.records import IterationRecord, RunRecord, StageCost
from reports.style import (
    NEAR_EVEN,
    Drawn,
    Label,
    even_line,
    figure,
    look,
    short,
    side_labels,
    subtitle,
)
from reports.tables import Table
from reports.words import labels, number, same_anchor

if TYPE_CHECKING:
    from matplotlib.axes import Axes

EVALUATION = frozenset({"outputs", "validation", "drift", "scores"})
"""Stages that measure a policy and do not make it."""
TOTAL = "total"


def costs(run: RunRecord) -> Table:
    """What each stage cost over all iterations, and the total."""
    caption = "Costs by stage, all iterations"
    totals = by_stage(run)
    if not totals:
        return Table(caption, (), (), "No costs are recorded for this run.")
    for cost in list(totals.values()):
        _add(totals, TOTAL, cost)
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


def by_stage(run: RunRecord) -> dict[str, StageCost]:
    """The costs of all scored iterations by stage, in the order of the stages."""
    totals: dict[str, StageCost] = {}
    for record in sorted(run.iterations, key=lambda record: -len(record.costs)):
        for cost in record.costs:
            _add(totals, cost.stage, cost)
    return totals


def _add(totals: dict[str, StageCost], stage: str, cost: StageCost) -> None:
    old = totals.get(stage, StageCost(stage, 0.0, 0, 0, 0.0))
    totals[stage] = StageCost(
        stage,
        old.seconds + cost.seconds,
        old.prompt_tokens + cost.prompt_tokens,
        old.completion_tokens + cost.completion_tokens,
        old.usd + cost.usd,
    )


# --- figures ----------------------------------------------------------------------------------


def time_by_stage(runs: Sequence[RunRecord]) -> Drawn | None:
    """Bars of seconds by stage, a bar a run, and of dollars where any were spent."""
    found = [by_stage(run) for run in runs]
    stages = list(dict.fromkeys(stage for totals in found for stage in totals))
    if not stages:
        return None
    unit = time_unit(max(c.seconds for totals in found for c in totals.values()))
    measures: list[tuple[str, Callable[[StageCost], float], list[str]]] = [
        (unit.name, lambda c: c.seconds / unit.seconds, stages)
    ]
    paid = [s for s in stages if any(totals[s].usd for totals in found if s in totals)]
    if paid:
        measures.append(("US dollars", lambda c: c.usd, paid))
    ratios = [1 + len(of) * (0.2 + 0.14 * len(runs)) for _, _, of in measures]
    fig, axes = figure(sum(ratios), rows=len(measures), ratios=ratios, sharex=False)
    for ax, (words, measure, of) in zip(axes, measures, strict=True):
        _stage_bars(ax, of, found, labels(runs), measure)
        ax.set_xlabel(f"{words}, all iterations")
    axes[0].set_title("Cost by stage, as first computed")
    told = "; ".join(
        f"{name}: {sum(cost.seconds for cost in totals.values()):,.0f} seconds in all"
        for name, totals in zip(labels(runs), found, strict=True)
    )
    return fig, f"Bars of {' and '.join(words for words, _, _ in measures)} by stage. {told}."


class TimeUnit(NamedTuple):
    name: str
    seconds: float


def time_unit(most: float) -> TimeUnit:
    """The unit in which this many seconds are read easily."""
    if most >= 2 * 3600:
        return TimeUnit("hours", 3600.0)
    return TimeUnit("minutes", 60.0) if most >= 300 else TimeUnit("seconds", 1.0)


def _stage_bars(
    ax: Axes,
    stages: Sequence[str],
    found: Sequence[dict[str, StageCost]],
    names: Sequence[str],
    measure: Callable[[StageCost], float],
) -> None:
    thick = 0.84 / len(found)
    named = max(range(len(stages)), key=lambda at: _spent(found[0], stages[at], measure))
    for index, totals in enumerate(found):
        shift = (index - (len(found) - 1) / 2) * thick
        places = [at + shift for at in range(len(stages))]
        spent = [_spent(totals, stage, measure) for stage in stages]
        ax.barh(places, spent, 0.9 * thick, color=look(index).colour)
        if len(found) > 1:  # each run is named once, at the stage that cost the first one most
            ax.annotate(
                short(names[index], 26),
                (spent[named], places[named]),
                (4, 0),
                textcoords="offset points",
                va="center",
                fontsize=8.5,
            )
    ax.set_yticks(range(len(stages)), stages)
    ax.set_ylim(len(stages) - 0.45, -0.55)
    ax.margins(x=0.25 if len(found) > 1 else 0.05)
    ax.set_xlim(left=0)
    ax.grid(axis="y", visible=False)
    ax.grid(axis="x", visible=True)


def _spent(
    totals: dict[str, StageCost], stage: str, measure: Callable[[StageCost], float]
) -> float:
    return measure(totals[stage]) if stage in totals else 0.0


def win_rate_against_cost(runs: Sequence[RunRecord]) -> Drawn | None:
    """Each run's win rate over what making the policy had cost by then; evaluation is not in it."""
    trained = [run for run in runs if len(run.iterations) > 1]
    if not trained:
        return None
    spent_usd = any(cost.usd for run in runs for r in run.iterations for cost in making(r))
    most = max(sum(c.seconds for r in run.iterations for c in making(r)) for run in runs)
    scale = TimeUnit("US dollars", 1.0) if spent_usd else time_unit(most)
    unit = scale.name
    fig, (ax,) = figure(4.2)
    ends = []
    for index, (run, label) in enumerate(zip(runs, labels(runs), strict=True)):
        seen = look(index)
        each = [
            sum(c.usd if spent_usd else c.seconds for c in making(r)) / scale.seconds
            for r in run.iterations
        ]
        points = [
            (x, rate.value, rate.ci95, record.iteration)
            for x, record in zip(accumulate(each), run.iterations, strict=True)
            if (rate := record.result.win_rate).value is not None and rate.ci95 is not None
        ]
        if not points:
            continue
        for x, y, (low, high), iteration in points:
            bars = [[y - low], [high - y]]
            ax.errorbar(x, y, bars, fmt=seen.marker, color=seen.colour, elinewidth=1.2, alpha=0.9)
            if iteration:
                ax.annotate(
                    str(iteration), (x, y), (4, 4), textcoords="offset points", fontsize=8.5
                )
        ax.plot(
            [p[0] for p in points], [p[1] for p in points], color=seen.colour, alpha=0.6, lw=1.4
        )
        ends.append(Label(points[-1][1], label, seen.colour, seen.glyph))
    if not ends:
        return None
    if ax.dataLim.y1 >= NEAR_EVEN:
        even_line(ax)
    against = "the start" if same_anchor(runs) else short(runs[0].iterations[0].result.opponent, 26)
    ax.set_xlabel(f"{unit} to make the policy (sampling, judging, training)")
    ax.set_ylabel(f"win rate vs {against} (%), 95%")
    subtitle(ax, "Win rate against cost", "numbers: iterations")
    side_labels(ax, ends)
    alt = (
        f"Scatter chart with a path for each run: win rate in percent with 95% intervals over the "
        f"{unit} that sampling, judging and training had cost by each iteration."
    )
    return fig, alt


def making(record: IterationRecord) -> list[StageCost]:
    """The costs of the stages that make a policy."""
    return [cost for cost in record.costs if cost.stage not in EVALUATION]
