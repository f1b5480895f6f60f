"""Judges and their calibrations, for the terminal and for --json."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from harness import calibrations, registry
from harness.codec import dump
from harness.errors import HarnessError
from harness.scoring.calibration import Calibration, Measured
from harness.show_scores import text
from harness.types import PairJudge

if TYPE_CHECKING:
    from rich.table import Table


def as_dicts() -> list[dict[str, Any]]:
    """Every registered judge; one that cannot be made without more says so."""
    listed: list[dict[str, Any]] = []
    for name in registry.names(registry.JUDGES):
        try:
            plugin = registry.find(registry.JUDGES, name)
            says = (inspect.getdoc(plugin.cls) or "").split("\n\n")[0].replace("\n", " ")
            entry = {"name": name, "loaded_from": plugin.origin, "says": says}
        except HarnessError as error:
            listed.append({"name": name, "error": str(error)})
            continue
        try:
            judge = registry.make_judge(name)
        except HarnessError as error:  # a judge that needs a model's name
            listed.append({**entry, "needs": str(error)})
            continue
        known = calibrations.find(judge.identity)
        listed.append(
            {
                **entry,
                "identity": judge.identity,
                "kind": "compares" if isinstance(judge, PairJudge) else "scores",
                "reference_based": judge.reference_based,
                "calibration": dump(known) if known else None,
            }
        )
    return listed


def table(listed: Sequence[dict[str, Any]]) -> Table:
    from rich.table import Table

    found = Table(
        title="Judges (--judge NAME, --eval-judge NAME)", show_lines=True, title_justify="left"
    )
    for name in ("judge", "what it does", "agreement with the yardstick"):
        found.add_column(name)
    for judge in listed:
        if "error" in judge:
            found.add_row(text(judge["name"]), text(judge["error"]), "")
            continue
        kind = f"{judge['kind']}; " if "kind" in judge else ""
        leans = "leans on the gold answer; " if judge.get("reference_based") else ""
        says = f"{judge['says']}\n({kind}{leans}{judge['loaded_from']})"
        told = calibrations.sentence(judge["identity"]) if "identity" in judge else judge["needs"]
        found.add_row(text(judge["name"]), text(says), text(told))
    return found


FIGURES = (
    ("agreement", "same decision"),
    ("kappa", "the same beyond chance (Cohen's kappa)"),
    ("auc", "AUC"),
    ("within_auc", "AUC within an instruction"),
    ("brier", "Brier score (0 best, 0.25 knows nothing)"),
    ("length_bias", "favours the longer answer by, in points more"),
    ("spearman", "Spearman of the models' win rates"),
    ("kendall", "Kendall of the models' win rates"),
    ("first_slot", "mean p of the answer shown first"),
    ("consistency", "one winner in both orders"),
)


def calibration_table(calibration: Calibration) -> Table:
    from rich.table import Table

    notes = [
        f"{calibration.comparisons:,} comparisons of {calibration.models} models on "
        f"{calibration.instructions} instructions, {calibration.n_failed} failed. In brackets 95% "
        "bootstrap intervals over instructions, of rankings over models.",
        "Of those it gave p about … a share of … was won by the yardstick: "
        + ", ".join(f"{b.mean_p:.2f} → {b.share:.2f} (n {b.n:,})" for b in calibration.reliability),
        *([f"Note: {calibration.note}."] if calibration.note else []),
    ]
    found = Table(
        title=text(f"{calibration.judge} against {calibration.yardstick}"),
        caption=text("\n".join(notes)),
        show_header=False,
        title_justify="left",
        caption_justify="left",
    )
    values: dict[str, Measured | None] = {name: getattr(calibration, name) for name, _ in FIGURES}
    for name, words in FIGURES:
        value = values[name]
        digits = 1 if name == "length_bias" else 3
        cell = (
            f"{value.value:.{digits}f} [{value.ci95[0]:.{digits}f}, {value.ci95[1]:.{digits}f}]"
            if value
            else "–"
        )
        found.add_row(words, cell)
    return found
