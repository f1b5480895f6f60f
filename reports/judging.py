"""How the judges behaved: what they said how often, failures by reason, and order."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from harness.records import IterationRecord, RunDetails, RunRecord, Values
from harness.types import WinRate
from reports.style import COLOURS, GREY, Drawn, look, panels, short
from reports.tables import Table, counted, percent
from reports.words import labels

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def values(runs: Sequence[RunRecord], details: Sequence[RunDetails]) -> Drawn | None:
    """Histograms, a row a run: the evaluation judge's verdicts on the last iteration, and what the
    training judge said in it. None where no verdicts are at hand."""
    shown = [
        (index, name, told, run.iterations[-1].iteration)
        for index, (run, name, told) in enumerate(zip(runs, labels(runs), details, strict=True))
        if told.evaluation_values
    ]
    if not shown:
        return None
    columns = 2 if any(told.training_values for _, _, told, _ in shown) else 1
    fig, axes = panels(columns * len(shown), 1.75, columns=columns, sharex=False, sharey=False)
    for place, (index, name, told, last) in enumerate(shown):
        left = axes[columns * place]
        left.set_title(f"{short(name, 22)}, iter. {last}: evaluation", fontsize=10)
        _histogram(
            left, told.evaluation_values.get(last), look(index).colour, "output beats opponent"
        )
        left.set_ylabel("% of verdicts", fontsize=9)
        if columns > 1:
            right = axes[2 * place + 1]
            right.set_title("training judge", fontsize=10)
            _histogram(right, told.training_values.get(last), COLOURS[4], "first candidate wins")
    beside = ", beside the training judge's values for that iteration's candidates"
    alt = (
        "Histograms, a row a run: the evaluation judge's probabilities that the last iteration's "
        f"outputs beat the opponent's{beside if columns > 1 else ''}."
    )
    return fig, alt


def _histogram(ax: Axes, found: Values | None, colour: str, event: str) -> None:
    if found is None:
        ax.text(0.5, 0.5, "judged nothing", ha="center", transform=ax.transAxes)
        ax.set_xticks([])
        ax.set_yticks([])
        return
    step, total = (found.high - found.low) / len(found.counts), sum(found.counts) or 1
    edges = [found.low + step * i for i in range(len(found.counts) + 1)]
    ax.stairs([100 * n / total for n in found.counts], edges, fill=True, color=colour, alpha=0.85)
    ax.set_xlim(found.low, found.high)
    if found.kind == "preference":
        ax.axvline(0.5, color=GREY, linewidth=1, linestyle=(0, (5, 3)))
    ax.set_xlabel("score" if found.kind == "score" else f"P({event})", fontsize=9)


# --- table ------------------------------------------------------------------------------------


def health(run: RunRecord) -> Table:
    """Wins, ties and failures of each iteration's verdicts, and how much the order decides."""
    columns = (
        "iteration",
        "judged",
        "won %",
        "ties %",
        "lost %",
        "failed %",
        "consistent over both orders %",
        "first shown wins %",
        "training ties %",
        "failures by reason: evaluation; training",
    )
    rows = tuple(_row(record) for record in run.iterations)
    trained_by = dict.fromkeys(r.composition.judge for r in run.iterations if r.composition)
    judge = run.iterations[0].result.judge
    note = (
        f"Evaluation judge: {judge}, against the opponent. Failed judgements are never imputed and "
        "never become examples. Consistent: of the matches judged in both orders, those where both "
        "name the same winner; a fair judge's first answer wins 50% (ties count half). – : not "
        "measured."
    )
    own = f"Training judge: {', '.join(trained_by) or 'none yet'}."
    return Table("Judge health by iteration", columns, rows, note, ends_in_words=True, own=own)


def _row(record: IterationRecord) -> tuple[str, ...]:
    rate, bias, made = record.result.win_rate, record.result.order_bias, record.composition
    asked = rate.by_construction is None
    judged, total = rate.n or None, rate.n + rate.n_failed or None

    def share(count: int, of: int | None) -> str:
        return percent(count / of) if of and asked else "–"

    return (
        str(record.iteration),
        f"{rate.n:,}" if asked else "–",
        share(rate.n_wins, judged),
        share(rate.n_draws, judged),
        share(rate.n_losses, judged),
        share(rate.n_failed, total),
        percent(bias.consistency if bias else None),
        percent(bias.first_slot_rate if bias else None),
        percent(made.tie_rate if made else None),
        f"{counted(_failures(record))}; {counted(made.judge_failures) if made else '–'}",
    )


def _failures(record: IterationRecord) -> Mapping[str, int]:
    """Against opponent, start and predecessor together; anchors that coincide were judged once."""
    result, total = record.result, Counter[str]()
    found: list[WinRate] = []
    for rate in (result.win_rate, result.vs_initial, result.vs_previous):
        if rate not in found:
            found.append(rate)
            total.update(rate.failures)
    return total
