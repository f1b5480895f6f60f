"""Where runs stand: told apart from each other, among official rows, beside published figures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from harness.records import RunRecord
from harness.scoring.compare import Comparison, Duel, Tested
from harness.text import control_text, gap_text, p_text, rate_text
from harness.types import LengthControlKind, Result
from leaderboards.board import boards, rows_of
from leaderboards.neighbours import Neighbourhood, neighbours
from leaderboards.papers import NO_INTERVALS, heading, published
from leaderboards.table import neighbour_cells
from reports.costs import making
from reports.tables import Row, Table
from reports.words import common_key, control_kinds, kind_of, labels, number, plural

# --- runs among themselves --------------------------------------------------------------------


def side_by_side(runs: Sequence[RunRecord]) -> Table:
    """Every run's last iteration: win rates, length, the iterate to keep, and what it cost."""
    kinds = control_kinds(runs)
    named = any(run.method != name for run, name in zip(runs, labels(runs), strict=True))
    columns = (
        "run",
        *(("method",) if named else ()),
        "iteration",
        "win rate % [95%]",
        *(f"{kind} % [95%]" for kind in kinds),
        "vs start % [95%]",
        "characters",
        "best iterate",
        "seconds to make",
        "US dollars",
        "against its start",
    )
    rows = []
    for run, name in zip(runs, labels(runs), strict=True):
        last = run.iterations[-1]
        result, best = last.result, run.best
        spent = [cost for record in run.iterations for cost in making(record)]
        rows.append(
            (
                name,
                *((run.method,) if named else ()),
                str(last.iteration),
                rate_text(result.win_rate),
                *(_control_cell(result, kind) for kind in kinds),
                rate_text(result.vs_initial),
                f"{result.lengths.mean:,.0f}",
                "–" if best is None else str(best.iteration),
                number(sum(cost.seconds for cost in spent)),
                number(sum(cost.usd for cost in spent), 2),
                kind_of(result.vs_initial).replace("none", "no verdict"),
            )
        )
    note = (
        "Last iterations. Best iterate: by the training judge on validation prompts, never by the "
        "benchmark. Seconds and dollars: sampling, judging and training of all iterations."
    )
    return Table("Runs side by side", columns, tuple(rows), note, 1 + named, ends_in_words=True)


def _control_cell(result: Result, kind: LengthControlKind) -> str:
    found = result.length_control
    return control_text(found if found and found.kind == kind else None)


def differences(runs: Sequence[RunRecord], comparison: Comparison) -> Table:
    """Every two runs' last iterations, which `comparison` knows by the runs' labels."""
    caption = "Differences between the runs"
    if not comparison.duels:
        return Table(caption, (), (), f"No paired differences: {' '.join(comparison.caveats)}")
    kind = comparison.kind or "length-controlled"
    columns = ("last iterations", "win rate [95%]", "p", f"{kind} [95%]", "p", "verdict")
    key = common_key(runs)
    note = (
        f"Percentage points, paired over {plural(comparison.shared, 'shared prompt')}, against "
        f"{key.opponent}, judge {key.judge}; 95% bootstrap intervals. p: two-sided, Holm-corrected "
        "over all pairs; better: p below 0.05 and an interval without zero, by length control "
        "where there is one. Another seed is another run, which no interval here covers."
    )
    rows = tuple(_duel(duel) for duel in comparison.duels)
    said = " ".join([note, *(f"{caveat}." for caveat in comparison.caveats)])
    return Table(caption, columns, rows, said, ends_in_words=True)


def _duel(duel: Duel) -> Row:
    return (
        f"{duel.a} − {duel.b}",
        *_tested(duel.win_rate),
        *_tested(duel.length_control),
        f"{duel.better} is better" if duel.better else "not told apart",
    )


def _tested(tested: Tested | None) -> tuple[str, str]:
    return (gap_text(tested.difference), p_text(tested.p_holm)) if tested else ("–", "–")


# --- official rows ----------------------------------------------------------------------------


def neighbourhood(runs: Sequence[RunRecord]) -> Neighbourhood | None:
    """The runs' last iterations among AlpacaEval 2.0's official rows; None where they have no
    place there."""
    named = [replace(run, name=label) for run, label in zip(runs, labels(runs), strict=True)]
    board = boards(row for run in named for row in rows_of(run))[common_key(runs)]
    return neighbours(board)


def among_official(runs: Sequence[RunRecord]) -> Table | None:
    """The same as a table."""
    found = neighbourhood(runs)
    if found is None:
        return None
    columns = ("row", "LC %", "win rate %", "characters", "remark")
    rows = tuple(neighbour_cells(row) for row in found.rows)
    return Table(found.title, columns, rows, found.note, ends_in_words=True)


# --- published --------------------------------------------------------------------------------


def published_table(benchmark: str, judge: str, methods: Sequence[str]) -> Table:
    """DNO's own table, and other papers' rows for the methods that were run."""
    shown = [row for row in published() if row.paper == "DNO" or row.method in methods]
    columns = ("method", "iteration", "base model", "LC %", "win rate %", "characters", "source")
    rows = tuple(
        (
            row.method,
            "–" if row.iteration is None else str(row.iteration),
            row.base,
            number(row.lc_win_rate, 2),
            number(row.win_rate, 2),
            number(row.avg_chars, 0),
            row.source,
        )
        for row in shown
    )
    caption = heading(benchmark, judge)
    return Table(caption, columns, rows, NO_INTERVALS, text_columns=3, ends_in_words=True)
