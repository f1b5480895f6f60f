"""Boards for a terminal and for programs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

from harness.text import printable, rate_text, with_interval
from harness.types import LengthControlKind
from leaderboards.board import BoardKey, BoardRow, Rate, boards, ranked_by, ranks, row_dict
from leaderboards.neighbours import Neighbour, Neighbourhood, neighbours
from leaderboards.papers import NO_INTERVALS, comparable, heading, published

if TYPE_CHECKING:
    from rich.table import Table
    from rich.text import Text

NOTE = (
    "Win rates in percent with 95% bootstrap intervals over prompts. "
    "Rows whose intervals overlap are not told apart by their rank."
)
RANKED = {
    "LC": "Ranked by LC, the length-controlled win rate, as AlpacaEval 2.0 ranks.",
    "win rate": "Ranked by win rate.",
}
NOTHING: Mapping[str, str] = {}
NARROW = "A wider terminal and --json show more."
ADJUSTED = "Length-adjusted: at equal lengths, without AlpacaEval's difficulties; not LC."


def control_text(row: BoardRow, kind: LengthControlKind) -> str:
    """`33.1 [30.2, 36.0]`; a dash where the row has no number of this kind to show."""
    control = row.length_control
    if control is None or control.kind != kind or control.ci95 is None:
        return "—"
    return with_interval(control.value, control.ci95)


def key_title(key: BoardKey) -> str:
    return (
        f"{key.benchmark} · decoding {key.decoding} · judge {key.judge} · opponent {key.opponent}"
    )


def render(
    rows: Iterable[BoardRow],
    *,
    with_published: bool = True,
    judges: Mapping[str, str] = NOTHING,
    narrow: bool = False,
) -> list[Table]:
    """One rich table a key, and another with its neighbours where it has any. Published figures
    follow a board that they are comparable with; where there is none, they come last, in a table
    whose title says that they are not comparable. `judges` has what is known of each judge. With
    `narrow`, boards have the columns that 80 characters hold."""
    tables: list[Table] = []
    ranked = boards(rows)
    beside = False
    for key, board in ranked.items():
        tables.append(_board_table(key, board, judges.get(key.judge, ""), narrow))
        among = neighbours(board) if with_published else None
        if among:
            tables.append(_neighbour_table(among))
        if with_published and comparable(key.benchmark, key.judge):
            beside = True
            tables.append(_published_table(heading(key.benchmark, key.judge)))
    if with_published and not beside:
        tables.append(_published_table(_apart(ranked)))
    return tables


def as_dicts(
    rows: Iterable[BoardRow],
    *,
    with_published: bool = True,
    judges: Mapping[str, str] = NOTHING,
) -> dict[str, Any]:
    """The same as JSON-able values: `boards`, each with its key, ranked rows and `neighbours`
    (null where there are none), and `published` with its heading."""
    ranked = boards(rows)
    answer: dict[str, Any] = {
        "boards": [
            {
                **_board_dict(key, board, with_published),
                "judge_calibration": judges.get(key.judge),
            }
            for key, board in ranked.items()
        ]
    }
    if with_published:
        fitting = [key for key in ranked if comparable(key.benchmark, key.judge)]
        title = heading(fitting[0].benchmark, fitting[0].judge) if fitting else _apart(ranked)
        answer["published"] = {
            "title": title,
            "note": NO_INTERVALS,
            "rows": [asdict(row) for row in published()],
        }
    return answer


def _board_dict(key: BoardKey, board: list[BoardRow], with_published: bool) -> dict[str, Any]:
    among = neighbours(board) if with_published else None
    rows = zip(ranks(board), board, strict=True)
    return {
        **key._asdict(),
        "ranked_by": ranked_by(board),
        "published_comparable": comparable(key.benchmark, key.judge),
        "rows": [{"rank": rank, **_shown(row)} for rank, row in rows],
        "neighbours": asdict(among) if among else None,
    }


def _shown(row: BoardRow) -> dict[str, Any]:
    # A number without its interval is withheld here as in the table.
    values = row_dict(row)
    for name, rate in (
        ("win_rate", row.win_rate),
        ("vs_initial", row.vs_initial),
        ("vs_previous", row.vs_previous),
    ):
        if not rate.showable:
            values[name] = {**values[name], "value": None, "se": None}
    if row.length_control and not row.length_control.showable:
        values["length_control"] = {**values["length_control"], "value": None, "spread": None}
    return values


def _apart(ranked: dict[BoardKey, list[BoardRow]]) -> str:
    same_benchmark = bool(ranked) and all(k.benchmark.startswith("alpaca_eval") for k in ranked)
    return heading("alpaca_eval" if same_benchmark else "", "")


def _board_table(key: BoardKey, board: list[BoardRow], judge: str, narrow: bool) -> Table:
    from rich.table import Table

    kinds = sorted({row.length_control.kind for row in board if row.length_control})
    notes = [NOTE, RANKED[ranked_by(board)], *([ADJUSTED] if "length-adjusted" in kinds else [])]
    notes += [NARROW] if narrow else []
    table = Table(
        title=_text(key_title(key)),
        caption=_text(" ".join([*notes, judge])),
        title_justify="left",
        caption_justify="left",
    )
    columns = [
        _Column("#", "right", ["—" if rank is None else str(rank) for rank in ranks(board)]),
        _Column("run", "left", [row.run for row in board]),
        _Column("method", "left", [row.method for row in board], wide=True),
        _Column("preset", "left", [row.preset for row in board], wide=True),
        _Column("iter", "right", [str(row.iteration) for row in board]),
        _Column("win rate [95%]", "right", [rate_text(row.win_rate) for row in board]),
        *(
            _Column(f"{kind} [95%]", "right", [control_text(row, kind) for row in board])
            for kind in kinds
        ),
        _Column("vs initial [95%]", "right", [rate_text(row.vs_initial) for row in board], True),
        _Column("vs previous [95%]", "right", [rate_text(row.vs_previous) for row in board], True),
        _Column("prompts", "right", [_prompts(row.win_rate) for row in board], wide=True),
        _Column("chars", "right", [f"{row.avg_length:.0f}" for row in board]),
    ]
    shown = [column for column in columns if not (narrow and column.wide)]
    for column in shown:
        table.add_column(column.name, justify=column.justify)
    for cells in zip(*(column.cells for column in shown), strict=True):
        table.add_row(*map(_text, cells))
    return table


@dataclass(frozen=True)
class _Column:
    """`wide`: shown where there is room."""

    name: str
    justify: Literal["left", "right"]
    cells: Sequence[str]
    wide: bool = False


def _prompts(rate: Rate) -> str:
    return f"{rate.n} ({rate.n_failed} failed)" if rate.n_failed else str(rate.n)


def _neighbour_table(among: Neighbourhood) -> Table:
    from rich.table import Table

    table = Table(title=_text(among.title), caption=among.note, title_justify="left")
    table.add_column("row")
    for name in ("LC", "win rate", "chars"):
        table.add_column(name, justify="right")
    table.add_column("")
    for row in among.rows:
        style = "bold" if row.origin == "run" else None
        table.add_row(*map(_text, neighbour_cells(row)), style=style)
    return table


def neighbour_cells(row: Neighbour) -> tuple[str, str, str, str, str]:
    """Name, LC, win rate, characters, and why the line is here or whose word a run's is."""
    mine = row.origin == "run"
    return (
        f"▶ {row.name}" if mine else row.name,
        _number(row.lc_win_rate, row.lc_ci95),
        _number(row.win_rate, row.ci95) + _error(row),
        "" if row.avg_chars is None else f"{row.avg_chars:,.0f}",
        f"judge {row.judge}" if mine else row.remark,
    )


def _number(value: float | None, ci95: tuple[float, float] | None) -> str:
    if value is None:
        return "—"
    # two decimals where others printed them
    return with_interval(value, ci95) if ci95 else f"{value:.2f}"


def _error(row: Neighbour) -> str:
    # a run has its interval instead; the baseline's 0 is by construction
    return f" ± {row.se:.2f}" if row.se and row.ci95 is None else ""


def _published_table(title: str) -> Table:
    from rich.table import Table

    table = Table(title=_text(title), caption=NO_INTERVALS, title_justify="left")
    for name in ("base model", "method"):
        table.add_column(name)
    for name in ("iter", "LC win rate", "win rate", "chars"):
        table.add_column(name, justify="right")
    table.add_column("source")
    for row in published():
        cells = (
            row.base,
            row.method,
            "" if row.iteration is None else str(row.iteration),
            "" if row.lc_win_rate is None else f"{row.lc_win_rate:.2f}",
            "" if row.win_rate is None else f"{row.win_rate:.2f}",
            "" if row.avg_chars is None else str(row.avg_chars),
            row.source,
        )
        table.add_row(*(_text(cell) for cell in cells))
    return table


def _text(content: str) -> Text:
    # Text, not str: rich would read "[red]" in a run's name as markup.
    from rich.text import Text

    return Text(printable(content))
