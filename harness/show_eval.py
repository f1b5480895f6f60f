"""An evaluation as a table for the terminal and as a dictionary for --json."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from harness import calibrations
from harness.codec import dump
from harness.records import EvalRecord
from harness.scoring.alpaca import DERIVED
from harness.show_scores import INTERVALS, text
from harness.text import control_text, gap_text, order_text, rate_text
from harness.types import Controls

if TYPE_CHECKING:
    from rich.table import Table


def as_dict(record: EvalRecord) -> dict[str, Any]:
    """Everything that the folder says in numbers."""
    result = dump(record.result)
    for role in ("vs_initial", "vs_previous"):  # a model alone has no earlier policies
        del result[role]
    return {
        "eval": str(record.path),
        "config": record.config.model_dump(mode="json"),
        "result": result,
        "controls": dump(record.controls) if record.controls else None,
        "n_missing": record.missing,
        "costs": [dump(cost) for cost in record.costs],
        "provenance": dict(record.provenance),
    }


def table(record: EvalRecord) -> Table:
    from rich.table import Table

    result, control = record.result, record.result.length_control
    notes = [
        INTERVALS,
        calibrations.sentence(result.judge),
        *([DERIVED] if control and control.kind == "LC" else []),
    ]
    notes += [f"Note: {caveat}." for caveat in (control.caveats if control else ())]
    made = Table(
        title=text(f"{record.config.model} on {result.benchmark}"),
        caption=text("\n".join(notes)),
        show_header=False,
        title_justify="left",
        caption_justify="left",
    )
    for row in _rows(record):
        made.add_row(*map(text, row))
    return made


def _rows(record: EvalRecord) -> list[tuple[str, str]]:
    result, control = record.result, record.result.length_control
    rate, lengths = result.win_rate, result.lengths
    why = "".join(f"; {count} {reason}" for reason, count in rate.failures.items())
    missing = f"; {record.missing} prompts without output left out" if record.missing else ""
    return [
        ("win rate", rate_text(rate)),
        (f"{control.kind if control else 'length-adjusted'} win rate", control_text(control)),
        ("length", f"{lengths.mean:.0f} characters (median {lengths.median:.0f})"),
        ("judged, failed", f"{rate.n}, {rate.n_failed}{why}{missing}"),
        *([("order", order_text(result.order_bias))] if result.order_bias else []),
        *(_control_rows(record.controls) if record.controls else []),
        ("decoding", result.decoding),
        ("judge", result.judge),
        ("opponent", result.opponent),
    ]


def _control_rows(controls: Controls) -> list[tuple[str, str]]:
    """The controls' rates and how far they are from the model's own on the same prompts."""
    own = f"own outputs on {controls.prompts} prompts"
    return [
        (own, rate_text(controls.own)),
        *(
            (
                f"  {control.name} answers there",
                f"{rate_text(control.win_rate)}, {gap_text(control.vs_own)} points from own, "
                f"{control.avg_chars:.0f} characters",
            )
            for control in controls.controls
        ),
    ]
