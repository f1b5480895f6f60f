"""Comparisons as tables for the terminal, dictionaries for --json, Markdown and CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from harness.codec import dump
from harness.compare import Compared
from harness.match import Spent
from harness.scoring.alpaca import DERIVED
from harness.scoring.compare import Duel, HeadToHead, Tested
from harness.show_scores import INTERVALS, number, text
from harness.text import control_text, gap_text, p_text, printable, rate_text

if TYPE_CHECKING:
    from rich.table import Table


def as_dict(compared: Compared, seed: int) -> dict[str, Any]:
    comparison = compared.comparison
    return {
        "judge": compared.judge,
        "baseline": compared.baseline,
        "head_judge": compared.head_judge,
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


def tables(compared: Compared) -> list[Table]:
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
        if not rows:  # files of outputs have no standings
            continue
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


def costs_table(costs: Mapping[str, Spent], match: str | None) -> Table:
    """What each method's iterations took in all; `match` is the cost that was made alike."""
    from rich.table import Table

    alike = f" ({match} alike in each iteration)" if match else ""
    table = Table(title=text(f"What training took{alike}"), title_justify="left")
    for at, column in enumerate(("", "examples", "steps", "tokens", "judgements")):
        table.add_column(column, justify="left" if at == 0 else "right")
    for method, cost in costs.items():
        counts = (cost.examples, cost.steps, cost.tokens, cost.judgements)
        table.add_row(text(method), *(f"{count:,}" for count in counts))
    return table


def as_markdown(compared: Compared) -> str:
    """Both tables for a README or an issue."""
    parts = [
        _title(compared),
        *([_markdown(_standings(compared))] if compared.judge else []),
        _markdown(_duels(compared)),
        "\n".join([INTERVALS, *compared.comparison.caveats]),
    ]
    return "\n\n".join(parts)


def as_csv(compared: Compared) -> str:
    """One line a pair, numbers in full."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    kind = (compared.comparison.kind or "length_control").replace("-", "_").lower()
    gap = ("", "_low", "_high", "_p", "_p_holm")
    names = [f"{name}{part}" for name in ("win_rate", kind) for part in gap]
    head = [f"head_to_head{part}" for part in gap]
    writer.writerow(
        ["judge", "baseline", "head_judge", "shared", "a", "b", *names, *head, "better"]
    )
    judges = (compared.judge or "", compared.baseline or "", compared.head_judge or "")
    for duel in compared.comparison.duels:
        writer.writerow(
            [
                *map(_inert, judges),
                compared.comparison.shared,
                *map(_inert, (duel.a, duel.b)),
                *_gap_numbers(duel.win_rate),
                *_gap_numbers(duel.length_control),
                *_head_numbers(duel.head_to_head),
                _inert(duel.better or ""),
            ]
        )
    return out.getvalue()


def _title(compared: Compared) -> str:
    said = [f"{compared.comparison.shared} shared instructions"]
    if compared.judge:
        said.append(f"win rates by {compared.judge} against {compared.baseline}")
    if compared.head_judge:
        said.append(f"head to head by {compared.head_judge}")
    return ", ".join(said)


def _standings(compared: Compared) -> list[tuple[str, ...]]:
    kind = compared.comparison.kind or "length-controlled"
    columns = ("", "win rate [95%]", f"{kind} win rate [95%]", "characters")
    return [
        columns,
        *(
            (
                name,
                rate_text(summary.win_rate),
                control_text(summary.length_control),
                number(summary.avg_length, 0),
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
    heads = ("head to head [95%]", f"p{corrected}") if asked else ()
    return [(*columns, *heads, "verdict"), *(_duel(duel, asked) for duel in comparison.duels)]


def _duel(duel: Duel, asked: bool) -> tuple[str, ...]:
    heads = duel.head_to_head
    told = (rate_text(heads.win_rate), p_text(heads.p_holm)) if heads else ("–", "–")
    return (
        f"{duel.a} − {duel.b}",
        *_tested(duel.win_rate),
        *_tested(duel.length_control),
        *(told if asked else ()),
        f"{duel.better} is better" if duel.better else "not told apart",
    )


def _tested(tested: Tested | None) -> tuple[str, str]:
    return (gap_text(tested.difference), p_text(tested.p_holm)) if tested else ("–", "–")


def _gap_numbers(tested: Tested | None) -> Sequence[object]:
    if tested is None or tested.difference.ci95 is None:
        return ("",) * 5
    gap, ci95 = tested.difference, tested.difference.ci95
    return (gap.value, *ci95, gap.p_value, tested.p_holm)


def _head_numbers(heads: HeadToHead | None) -> Sequence[object]:
    if heads is None or heads.win_rate.ci95 is None:
        return ("",) * 5
    return (heads.win_rate.value, *heads.win_rate.ci95, heads.p_value, heads.p_holm)


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
