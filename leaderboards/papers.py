"""Published AlpacaEval 2.0 figures, each with its source, and when they may stand beside a run."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

OFFICIAL_JUDGE = "weighted_alpaca_eval_gpt4_turbo"
"""AlpacaEval 2.0's own annotator: the judge of every published figure."""

BESIDE = "Published AlpacaEval 2.0 figures (GPT-4-Turbo judge)"
OTHER_JUDGE = f"{BESIDE} — another judge: not comparable with the above"
OTHER_BENCHMARK = f"{BESIDE} — another benchmark and judge: not comparable with the above"
NO_INTERVALS = "Single training runs as printed; the papers give no intervals."


@dataclass(frozen=True, slots=True)
class PublishedRow:
    """One line of a paper's table. `iteration` is None where the method is not iterative or the
    paper counts epochs; `read_in` says where the numbers were read, `source` spells it out."""

    paper: str
    arxiv: str
    base: str
    method: str
    iteration: int | None
    lc_win_rate: float | None
    win_rate: float | None
    avg_chars: int | None
    mt_bench: float | None
    read_in: str
    source: str


@cache
def published() -> tuple[PublishedRow, ...]:
    """All published rows, in the file's order."""
    text = (files("leaderboards") / "published" / "papers.csv").read_text(encoding="utf-8")
    return tuple(_row(line) for line in csv.DictReader(text.splitlines()))


def _row(line: dict[str, str]) -> PublishedRow:
    def number(column: str) -> float | None:
        return float(line[column]) if line[column] else None

    def whole(column: str) -> int | None:
        return int(line[column]) if line[column] else None

    return PublishedRow(
        paper=line["paper"],
        arxiv=line["arxiv"],
        base=line["base"],
        method=line["method"],
        iteration=whole("iteration"),
        lc_win_rate=number("lc_win_rate"),
        win_rate=number("win_rate"),
        avg_chars=whole("avg_chars"),
        mt_bench=number("mt_bench"),
        read_in=line["read_in"],
        source=line["source"],
    )


def comparable(benchmark: str, judge: str) -> bool:
    """Whether published figures are of the same benchmark and judge."""
    return benchmark.startswith("alpaca_eval") and OFFICIAL_JUDGE in judge


def published_rows(benchmark: str, judge: str = OFFICIAL_JUDGE) -> tuple[PublishedRow, ...]:
    """The rows that may stand beside a run of this benchmark and judge; else none."""
    return published() if comparable(benchmark, judge) else ()


def heading(benchmark: str, judge: str) -> str:
    """The title that published figures carry when they are shown with this benchmark and judge."""
    if comparable(benchmark, judge):
        return BESIDE
    return OTHER_JUDGE if benchmark.startswith("alpaca_eval") else OTHER_BENCHMARK
