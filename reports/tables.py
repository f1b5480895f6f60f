"""The tables of a report, as plain text cells."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from harness.records import Composition, IterationRecord, RunRecord, Spread
from harness.text import control_text, rate_text
from harness.types import LengthControlKind
from leaderboards.table import ADJUSTED
from reports.words import control_kinds, number

Row = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Table:
    """A caption, column heads, rows of cells (the first names its row) and a note below; `own` is
    a note that is of this run alone.

    Without rows `note` says why there are none. The first `text_columns` hold words, and so does
    the last where `ends_in_words`.
    """

    caption: str
    columns: Row
    rows: tuple[Row, ...]
    note: str = ""
    text_columns: int = 1
    ends_in_words: bool = False
    own: str = ""


def merged(names: Sequence[str], tables: Sequence[Table]) -> Table:
    """The runs' tables as one, with the run's name before each row; that of a run alone as it is.

    Columns that a run lacks stay empty, and a note that several share is said once.
    """
    if len(tables) == 1:
        return tables[0]
    filled = [table for table in tables if table.rows]
    words = {c for t in filled for c in t.columns[1 : t.text_columns]}
    last = next((t.columns[-1] for t in filled if t.ends_in_words), None)
    seen = dict.fromkeys(column for table in filled for column in table.columns if column != last)
    columns = (*(c for c in seen if c in words), *(c for c in seen if c not in words))
    columns = (*columns, *([last] if last else []))
    rows = []
    for name, table in zip(names, tables, strict=True):
        for row in table.rows:
            cells = dict(zip(table.columns, row, strict=True))
            rows.append((name, *(cells.get(column, "–") for column in columns)))
    notes = dict.fromkeys(table.note for table in filled or tables)
    said: dict[str, list[str]] = {}
    for name, table in zip(names, tables, strict=True):
        if table.own:
            said.setdefault(table.own, []).append(name)
    own = [f"{', '.join(which)}: {words}" for words, which in said.items()]
    return Table(
        tables[0].caption,
        ("run", *columns) if rows else (),
        tuple(rows),
        " ".join([*notes, *own]),
        text_columns=1 + len(words),
        ends_in_words=last is not None,
    )


def percent(share: float | None) -> str:
    """A share (0..1) with one digit; an en dash where there is nothing."""
    return "–" if share is None else f"{100 * share:.1f}"


def counted(counts: Mapping[str, int]) -> str:
    """`reason: 3, other: 1`, or `none`."""
    return ", ".join(f"{name}: {count:,}" for name, count in counts.items() if count) or "none"


def _spread(value: Spread | None) -> str:
    return "–" if value is None else f"{value.mean:,.0f} ± {value.sd:,.0f}"


# --- scores -----------------------------------------------------------------------------------


def scores(run: RunRecord) -> Table:
    """Every iteration's win rate, raw and at equal lengths beside the length; then the win rates
    against the run's own earlier policies."""
    kinds = control_kinds([run])
    columns = (
        "iteration",
        "win rate % [95%]",
        "SE",
        *(f"{kind} % [95%]" for kind in kinds),
        "characters",
        "% at limit",
        "vs initial % [95%]",
        "vs previous % [95%]",
        "prompts",
        "failed",
    )
    rows = tuple(_score_row(record, kinds) for record in run.iterations)
    result = run.iterations[0].result
    note = (
        f"Win rate: against {result.opponent}. Judge: {result.judge}. In brackets 95% bootstrap "
        "intervals over prompts. SE (standard error), prompts and failed judgements are those of "
        "the win rate against the opponent."
    )
    note = " ".join([note, *(_CONTROLLED[kind] for kind in kinds)])
    return Table("Scores by iteration", columns, rows, note, own=_control_notes(run))


_CONTROLLED = {
    "LC": "LC: that win rate at equal lengths, as AlpacaEval 2.0 controls it; where it lies below "
    "the raw one, a part of that is length.",
    "length-adjusted": ADJUSTED,
}


def _control_notes(run: RunRecord) -> str:
    caveats: dict[str, list[str]] = {}
    for record in run.iterations:
        control = record.result.length_control
        for caveat in control.caveats if control else ():
            caveats.setdefault(caveat, []).append(str(record.iteration))
    return " ".join(f"Iteration {', '.join(of)}: {caveat}." for caveat, of in caveats.items())


def _score_row(record: IterationRecord, kinds: Sequence[LengthControlKind]) -> Row:
    result, control = record.result, record.result.length_control
    rate = result.win_rate
    return (
        str(record.iteration),
        rate_text(rate),
        number(rate.se if rate.ci95 is not None and rate.by_construction is None else None),
        *(control_text(control if control and control.kind == kind else None) for kind in kinds),
        f"{result.lengths.mean:,.0f}",
        percent(result.lengths.limit_share),
        rate_text(result.vs_initial),
        rate_text(result.vs_previous),
        str(rate.n),
        str(rate.n_failed),
    )


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
        "prompts without example",
    )
    note = (
        "Lengths in characters, mean ± sd. Types count new examples before the cap; “trained” is "
        "after it. – : not measurable in this run."
    )
    rows = tuple(_data_row(i, c, types) for i, c in found)
    own = f"Judge: {found[0][1].judge}."
    return Table(caption, columns, rows, note, ends_in_words=True, own=own)


def _data_row(iteration: int, c: Composition, types: Sequence[str]) -> Row:
    return (
        str(iteration),
        f"{c.inputs:,}",
        _spread(c.student_length),
        percent(c.best_student_vs_teacher),
        number(c.student_wins, 2),
        number(c.student_score, 2),
        number(c.teacher_score, 2),
        *(f"{c.pairs.get(kind, 0):,}" for kind in types),
        f"{sum(c.trained.values()):,}",
        f"{c.replayed:,}",
        percent(c.tie_rate),
        number(c.length_score_correlation, 2),
        _spread(c.chosen_length),
        _spread(c.rejected_length),
        percent(c.sampled_limit_share),
        counted(c.unused_prompts),
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


# --- digests ----------------------------------------------------------------------------------


def digests(run: RunRecord) -> Table:
    """sha256 of what each stage of each iteration wrote, and the code that computed it."""
    stages = tuple(dict.fromkeys(s for record in run.iterations for s in record.digests))
    rows = tuple(
        (
            str(record.iteration),
            *(record.digests.get(stage, "")[:12] or "–" for stage in stages),
            ", ".join(record.revisions),
        )
        for record in run.iterations
    )
    note = "The first 12 digits of the sha256 over each stage's files; the policy is in train."
    return Table("Digests by stage", ("iteration", *stages, "code"), rows, note, ends_in_words=True)
