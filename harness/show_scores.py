"""Scores of a file of judgements for the terminal and for --json, and how such cells look."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from harness.data.annotations import Annotations
from harness.scoring.alpaca import DERIVED
from harness.scoring.summary import Summary
from harness.text import control_text, printable, rate_text
from harness.types import LengthControl

if TYPE_CHECKING:
    from rich.table import Table
    from rich.text import Text

INTERVALS = (
    "In brackets: 95% bootstrap intervals over instructions (1,000 resamples, length control "
    "refitted in each)."
)


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
        ("win rate", rate_text(rate)),
        (f"{name} win rate", control_text(control)),
        ("discrete win rate", number(summary.discrete_win_rate)),
        ("wins, losses, draws", f"{rate.n_wins}, {rate.n_losses}, {rate.n_draws}"),
        ("standard error of the win rate", number(rate.se)),
        ("average length", f"{number(summary.avg_length, 0)} characters"),
        ("judged, failed", f"{rate.n}, {rate.n_failed}"),
    ]
    if control:
        phi = "" if control.phi is None else f"φ {control.phi:.3f}, "
        fitted = f"θ {control.theta:.3f}, {phi}ψ {control.psi:.3f}, C {control.c:.4g}"
        rows.append(("length model", f"{fitted} ({control.rule})"))
    for row in rows:
        table.add_row(*map(text, row))
    return [table]


# --- cells ------------------------------------------------------------------------------------


def number(value: float | None, digits: int = 1) -> str:
    return "–" if value is None else f"{value:.{digits}f}"


def _pair(ci95: tuple[float, float] | None) -> list[float] | None:
    return list(ci95) if ci95 else None


def _fit(control: LengthControl) -> dict[str, float | None]:
    return {"theta": control.theta, "phi": control.phi, "psi": control.psi, "C": control.c}


def text(content: str) -> Text:
    # Text, not str: rich would read "[red]" in a model's name as markup
    from rich.text import Text

    return Text("\n".join(printable(line) for line in content.split("\n")))
