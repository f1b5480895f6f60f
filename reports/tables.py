"""The tables of a report, as plain text cells."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from harness.records import Composition, IterationRecord, RunRecord, Spread
from harness.types import WinRate
from reports.words import number

Row = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Table:
    """A caption, column heads, rows of cells (the first names its row) and a note below.

    Without rows `note` says why there are none.
    """

    caption: str
    columns: Row
    rows: tuple[Row, ...]
    note: str = ""
    text_columns: int = 1


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{100 * share:.1f}"


def _spread(value: Spread | None) -> str:
    return "–" if value is None else f"{value.mean:,.0f} ± {value.sd:,.0f}"


# --- scores -----------------------------------------------------------------------------------


def scores(run: RunRecord) -> Table:
    """Every iteration's win rates, each with its error and interval."""
    columns = (
        "iteration",
        "win rate % [95%]",
        "SE",
        "vs initial % [95%]",
        "SE",
        "vs previous % [95%]",
        "SE",
        "prompts",
        "failed",
        "characters",
        "% at limit",
    )
    rows = tuple(_score_row(record) for record in run.iterations)
    result = run.iterations[0].result
    note = (
        f"Win rate: against {result.opponent}. Judge: {result.judge}. In brackets 95% bootstrap "
        "intervals over prompts; SE: standard error. Prompts and failed judgements are those of "
        "the win rate against the opponent."
    )
    return Table("Scores by iteration", columns, rows, note)


def _score_row(record: IterationRecord) -> Row:
    result = record.result
    rates = (result.win_rate, result.vs_initial, result.vs_previous)
    return (
        str(record.iteration),
        *(cell for rate in rates for cell in _rate_cells(rate)),
        str(result.win_rate.n),
        str(result.win_rate.n_failed),
        f"{result.lengths.mean:,.0f}",
        _percent(result.lengths.limit_share),
    )


def _rate_cells(rate: WinRate) -> Row:
    if rate.by_construction is not None:
        return (f"{number(rate.value, 0)} by construction", "–")
    if rate.value is None or rate.ci95 is None:
        return ("–", "–")  # a number without its interval is not shown
    return (f"{rate.value:.1f} [{rate.ci95[0]:.1f}, {rate.ci95[1]:.1f}]", number(rate.se))


# --- data -------------------------------------------------------------------------------------

_PAIR_TYPES = ("teacher>student", "student>teacher", "student>student")


def data_dynamics(run: RunRecord) -> Table:
    """The columns of DNO's Table 2, then what else the pairs say."""
    found = [(r.iteration, r.composition) for r in run.iterations if r.composition is not None]
    caption = "Data dynamics by iteration"
    if not found:
        return Table(caption, (), (), "No training data is recorded for this run.")
    kinds = {kind for _, c in found for kind in (*c.pairs, *c.trained)}
    standard = bool(kinds & set(_PAIR_TYPES))
    types = (*(_PAIR_TYPES if standard else ()), *sorted(kinds - set(_PAIR_TYPES)))
    columns = (
        "iteration",
        "inputs",
        "student length",
        "best student vs teacher %",
        "mean student wins",
        "mean student score",
        "mean teacher score",
        *(kind.replace(">", " ≻ ") for kind in types),
        "trained",
        "replayed",
        "tie rate %",
        "length–score r",
        "chosen length",
        "rejected length",
        "samples at limit %",
    )
    note = (
        f"Judge: {found[0][1].judge}. Lengths in characters, mean ± sd. Types count new examples "
        "before the cap; “trained” is after it. – : not measurable in this run."
    )
    return Table(caption, columns, tuple(_data_row(i, c, types) for i, c in found), note)


def _data_row(iteration: int, c: Composition, types: Sequence[str]) -> Row:
    return (
        str(iteration),
        f"{c.inputs:,}",
        _spread(c.student_length),
        _percent(c.best_student_vs_teacher),
        number(c.student_wins, 2),
        number(c.student_score, 2),
        number(c.teacher_score, 2),
        *(f"{c.pairs.get(kind, 0):,}" for kind in types),
        f"{sum(c.trained.values()):,}",
        f"{c.replayed:,}",
        _percent(c.tie_rate),
        number(c.length_score_correlation, 2),
        _spread(c.chosen_length),
        _spread(c.rejected_length),
        _percent(c.sampled_limit_share),
    )


# --- training ---------------------------------------------------------------------------------


DIAGNOSTICS = {
    "logps": "log-prob",
    "token_logps": "log-prob a token",
    "logps_chosen": "log-prob chosen",
    "logps_rejected": "log-prob rejected",
    "logratio_chosen": "log-ratio chosen",
    "logratio_rejected": "log-ratio rejected",
    "chosen_falls": "share with falling chosen log-ratio",
    "accuracy": "share ranked right",
}
"""Words for the diagnostics that most methods log; any other name is shown as it is."""


def training(run: RunRecord) -> Table:
    """Loss from the first step to the last, and the method's own diagnostics when it was done."""
    found = [(r.iteration, r.training) for r in run.iterations if r.training is not None]
    caption = "Training dynamics by iteration"
    if not found:
        return Table(caption, (), (), "No training is recorded for this run.")
    keys = tuple(dict.fromkeys(key for _, summary in found for key in summary.after))
    columns = (
        "iteration",
        "examples",
        "steps",
        "tokens",
        "first step's loss",
        "last step's loss",
        "largest gradient norm",
        *(f"{DIAGNOSTICS.get(key, key.replace('_', ' '))}, after" for key in keys),
    )
    rows = tuple(
        (
            str(iteration),
            f"{s.examples:,}",
            f"{len(s.steps):,}",
            f"{s.tokens:,}",
            number(s.steps[0].loss if s.steps else None, 4),
            number(s.steps[-1].loss if s.steps else None, 4),
            number(max((step.grad_norm for step in s.steps), default=None), 2),
            *(number(s.after.get(key), 3) for key in keys),
        )
        for iteration, s in found
    )
    note = (
        "“After”: means over all the iteration's examples under the finished policy. Log-probs are "
        "sums over a completion's tokens, in nats. Chosen log-probs that fall while the margin "
        "grows mean that probability moves to answers nobody compared."
    )
    return Table(caption, columns, rows, note)


def drift(run: RunRecord) -> Table:
    """KL to the previous policy."""
    caption = "KL to the previous policy"
    found = [(r.iteration, r.drift) for r in run.iterations if r.drift is not None]
    if not found:
        return Table(caption, (), (), "No KL is recorded for this run.")
    columns = ("iteration", "KL (nats)", "SE", "KL a token", "prompts", "samples", "token limit")
    rows = tuple(
        (
            str(iteration),
            number(d.kl, 3),
            number(d.se, 3),
            number(d.kl_per_token, 4),
            str(d.prompts),
            str(d.samples),
            str(d.max_new_tokens),
        )
        for iteration, d in found
    )
    note = (
        "Nats a completion, sampled from each policy at temperature 1 on validation prompts; SE is "
        "over prompts."
    )
    return Table(caption, columns, rows, note)
