"""Scores and comparisons as tables for the terminal, dictionaries for --json, Markdown and CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from harness.codec import dump
from harness.compare import Compared
from harness.data.annotations import Annotations
from harness.scoring import alpaca
from harness.scoring.compare import Duel
from harness.scoring.summary import Summary
from harness.text import printable, with_interval
from harness.types import Difference, LengthControl, WinRate

if TYPE_CHECKING:
    from rich.table import Table
    from rich.text import Text

INTERVALS = (
    "In brackets: 95% bootstrap intervals over instructions (1,000 resamples, length control "
    "refitted in each)."
)
DERIVED = (
    f"LC uses numbers derived from AlpacaEval's data ({alpaca.LICENCE}: no commercial use; "
    "harness/scoring/alpaca_eval_2/NOTICE)."
)


# --- score ------------------------------------------------------------------------------------


def summary_dict(annotations: Annotations, summary: Summary, seed: int) -> dict[str, Any]:
    """What `harness score --json` prints; AlpacaEval's own names where it has them."""
    rate, control = summary.win_rate, summary.length_control
    lc = control if control and control.kind == "LC" else None
    adjusted = control if control and control.kind != "LC" else None
    return {
        "model": annotations.model,
        "baseline": annotations.baseline,
        "judge": annotations.judge,
        "instructions": "alpaca_eval-2.0" if summary.is_alpaca else "other",
        "n_total": rate.n,
        "win_rate": rate.value,
        "win_rate_ci95": _pair(rate.ci95),
        "standard_error": rate.se,
        "n_wins": rate.n_wins,
        "n_wins_base": rate.n_losses,
        "n_draws": rate.n_draws,
        "discrete_win_rate": summary.discrete_win_rate,
        "avg_length": summary.avg_length,
        "length_controlled_winrate": lc.value if lc else None,
        "lc_ci95": _pair(lc.ci95) if lc else None,
        "lc_spread": lc.spread if lc else None,
        "lc_fit": _fit(lc) if lc else None,
        "length_adjusted_winrate": adjusted.value if adjusted else None,
        "length_adjusted_ci95": _pair(adjusted.ci95) if adjusted else None,
        "length_adjusted_fit": _fit(adjusted) if adjusted else None,
        "n_failed": rate.n_failed,
        "failures": dict(rate.failures),
        "n_missing": summary.n_missing,
        "caveats": list(summary.caveats),
        "seed": seed,
        "rule": control.rule if control else None,
        "data_licence": DERIVED if lc else None,
    }


def summary_tables(annotations: Annotations, summary: Summary) -> list[Table]:
    from rich.table import Table

    rate, control = summary.win_rate, summary.length_control
    title = (
        f"{annotations.model or annotations.path.name} against "
        f"{annotations.baseline or 'an unnamed baseline'}, judge "
        f"{annotations.judge or 'not named in the file'}"
    )
    notes = [INTERVALS, *([DERIVED] if control and control.kind == "LC" else [])]
    notes += [f"Note: {caveat}." for caveat in summary.caveats]
    table = Table(
        title=text(title),
        caption=text("\n".join(notes)),
        show_header=False,
        title_justify="left",
        caption_justify="left",
    )
    name = control.kind if control else "length-controlled"
    rows = [
        ("win rate", rate_cell(rate)),
        (f"{name} win rate", control_cell(control)),
        ("discrete win rate", _number(summary.discrete_win_rate)),
        ("wins, losses, draws", f"{rate.n_wins}, {rate.n_losses}, {rate.n_draws}"),
        ("standard error of the win rate", _number(rate.se)),
        ("average length", f"{_number(summary.avg_length, 0)} characters"),
        ("judged, failed", f"{rate.n}, {rate.n_failed}"),
    ]
    if control:
        phi = "" if control.phi is None else f"φ {control.phi:.3f}, "
        fitted = f"θ {control.theta:.3f}, {phi}ψ {control.psi:.3f}, C {control.c:.4g}"
        rows.append(("length model", f"{fitted} ({control.rule})"))
    for row in rows:
        table.add_row(*map(text, row))
    return [table]


# --- compare ----------------------------------------------------------------------------------


def comparison_dict(compared: Compared, seed: int) -> dict[str, Any]:
    comparison = compared.comparison
    return {
        "judge": compared.judge,
        "baseline": compared.baseline,
        "shared_instructions": comparison.shared,
        "length_control": comparison.kind,
        "standings": [
            {
                "name": name,
                "win_rate": dump(summary.win_rate),
                "length_control": dump(summary.length_control) if summary.length_control else None,
                "avg_length": summary.avg_length,
            }
            for name, summary in comparison.standings
        ],
        "comparisons": [{**dump(duel), "better": duel.better} for duel in comparison.duels],
        "caveats": list(comparison.caveats),
        "seed": seed,
        "data_licence": DERIVED if comparison.kind == "LC" else None,
    }


def comparison_tables(compared: Compared) -> list[Table]:
    from rich.table import Table

    comparison = compared.comparison
    notes = [INTERVALS, *(f"Note: {caveat}." for caveat in comparison.caveats)]
    if comparison.kind == "LC":
        notes.insert(1, DERIVED)
    tables = []
    for title, caption, (columns, *rows) in (
        (_title(compared), "", _standings(compared)),
        ("Differences in percentage points", "\n".join(notes), _duels(compared)),
    ):
        table = Table(
            title=text(title),
            caption=text(caption),
            title_justify="left",
            caption_justify="left",
        )
        for at, column in enumerate(columns):
            table.add_column(column, justify="left" if at == 0 else "right")
        for row in rows:
            table.add_row(*map(text, row))
        tables.append(table)
    return tables


def comparison_markdown(compared: Compared) -> str:
    """Both tables for a README or an issue."""
    parts = [
        _title(compared),
        _markdown(_standings(compared)),
        _markdown(_duels(compared)),
        "\n".join([INTERVALS, *compared.comparison.caveats]),
    ]
    return "\n\n".join(parts)


def comparison_csv(compared: Compared) -> str:
    """One line a pair, numbers in full."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    kind = (compared.comparison.kind or "length_control").replace("-", "_").lower()
    gap = ("", "_low", "_high", "_p", "_p_holm")
    names = [f"{name}{part}" for name in ("win_rate", kind) for part in gap]
    head = ("head_to_head", "head_to_head_low", "head_to_head_high")
    writer.writerow(["judge", "baseline", "shared", "a", "b", *names, *head, "better"])
    for duel in compared.comparison.duels:
        h = duel.head_to_head
        writer.writerow(
            [
                *map(_inert, (compared.judge, compared.baseline)),
                compared.comparison.shared,
                *map(_inert, (duel.a, duel.b)),
                *_gap_numbers(duel.win_rate, duel.win_rate_holm),
                *_gap_numbers(duel.length_control, duel.length_control_holm),
                *((h.value, *h.ci95) if h and h.ci95 else ("", "", "")),
                _inert(duel.better or ""),
            ]
        )
    return out.getvalue()


def _title(compared: Compared) -> str:
    return (
        f"{compared.comparison.shared} shared instructions, judge {compared.judge}, baseline "
        f"{compared.baseline}"
    )


def _standings(compared: Compared) -> list[tuple[str, ...]]:
    kind = compared.comparison.kind or "length-controlled"
    columns = ("", "win rate [95%]", f"{kind} win rate [95%]", "characters")
    return [
        columns,
        *(
            (
                name,
                rate_cell(summary.win_rate),
                control_cell(summary.length_control),
                _number(summary.avg_length, 0),
            )
            for name, summary in compared.comparison.standings
        ),
    ]


def _duels(compared: Compared) -> list[tuple[str, ...]]:
    comparison = compared.comparison
    kind = comparison.kind or "length-controlled"
    asked = any(duel.head_to_head for duel in comparison.duels)
    corrected = " (Holm)" if len(comparison.duels) > 1 else ""
    columns = ("pair", "Δ win rate [95%]", f"p{corrected}", f"Δ {kind} [95%]", f"p{corrected}")
    rows = [(*columns, *(("head to head [95%]",) if asked else ()), "verdict")]
    return [*rows, *(_duel(duel, asked) for duel in comparison.duels)]


def _duel(duel: Duel, asked: bool) -> tuple[str, ...]:
    cells = (
        f"{duel.a} − {duel.b}",
        gap_cell(duel.win_rate),
        _p_cell(duel.win_rate_holm),
        gap_cell(duel.length_control),
        _p_cell(duel.length_control_holm),
    )
    heads = (rate_cell(duel.head_to_head),) if duel.head_to_head else ("–",)
    verdict = f"{duel.better} is better" if duel.better else "not told apart"
    return (*cells, *(heads if asked else ()), verdict)


# --- cells ------------------------------------------------------------------------------------


def rate_cell(rate: WinRate) -> str:
    """`61.2 [52.0, 70.1]`, or why there is no number."""
    if rate.by_construction:
        return f"{_number(rate.value, 0)} by construction"
    if rate.value is None or rate.ci95 is None:
        return f"– ({rate.n} judged)"
    return with_interval(rate.value, rate.ci95)


def control_cell(control: LengthControl | None) -> str:
    """The same of a length-controlled win rate."""
    if control is None or control.ci95 is None:
        return "–"
    return with_interval(control.value, control.ci95)


def gap_cell(gap: Difference | None) -> str:
    if gap is None or gap.ci95 is None:
        return "–"
    return f"{gap.value:+.1f} [{gap.ci95[0]:+.1f}, {gap.ci95[1]:+.1f}]"


def _p_cell(p: float | None) -> str:
    if p is None:
        return "–"
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def _number(value: float | None, digits: int = 1) -> str:
    return "–" if value is None else f"{value:.{digits}f}"


def _pair(ci95: tuple[float, float] | None) -> list[float] | None:
    return list(ci95) if ci95 else None


def _fit(control: LengthControl) -> dict[str, float | None]:
    return {"theta": control.theta, "phi": control.phi, "psi": control.psi, "C": control.c}


def _gap_numbers(gap: Difference | None, corrected: float | None) -> Sequence[object]:
    if gap is None or gap.ci95 is None:
        return ("",) * 5
    return (gap.value, *gap.ci95, gap.p_value, corrected)


def _inert(cell: str) -> str:
    # a spreadsheet runs what begins like a formula
    return f"'{cell}" if cell[:1] in {"=", "+", "-", "@", "\t", "\r"} else cell


def _markdown(rows: Sequence[tuple[str, ...]]) -> str:
    columns, *body = rows
    lines = [columns, ("---",) * len(columns), *body]
    return "\n".join(
        "| " + " | ".join(printable(c).replace("|", "\\|").replace("<", "&lt;") for c in row) + " |"
        for row in lines
    )


def text(content: str) -> Text:
    # Text, not str: rich would read "[red]" in a model's name as markup
    from rich.text import Text

    return Text("\n".join(printable(line) for line in content.split("\n")))
