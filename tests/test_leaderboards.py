"""Board rows, their files and their ranking; `fake_run` also feeds the report tests."""

from __future__ import annotations

import io
import json
import re
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from harness.config import RunConfig
from harness.errors import HarnessError
from harness.records import (
    Composition,
    Drift,
    IterationRecord,
    RunRecord,
    Spread,
    StageCost,
    TrainStep,
    TrainSummary,
)
from harness.types import Lengths, Result, WinRate
from leaderboards.board import (
    BoardRow,
    Rate,
    boards,
    ranks,
    read_folder,
    read_rows,
    rows_of,
    write_rows,
)
from leaderboards.entries import enter
from leaderboards.papers import (
    BESIDE,
    OFFICIAL_JUDGE,
    OTHER_BENCHMARK,
    OTHER_JUDGE,
    comparable,
    published,
    published_rows,
)
from leaderboards.table import as_dicts, render

SELF = "a policy against itself"


def rate(value: float | None, half: float = 9.0, n: int = 32, **more: object) -> WinRate:
    """A measured win rate with a symmetric interval."""
    ci95 = None if value is None else (max(0.0, value - half), min(100.0, value + half))
    base = WinRate(value, None if value is None else half / 2, ci95, n, 16, 14, 2, 0)
    return replace(base, **more)  # type: ignore[arg-type]


def constructed(n: int = 32) -> WinRate:
    return WinRate(50.0, 0.0, (50.0, 50.0), n, 0, 0, n, 0, {}, SELF)


def fake_composition(t: int) -> Composition:
    types = {"teacher>student": 9 - t, "student>teacher": 1 + t, "student>student": 4 + 2 * t}
    return Composition(
        inputs=16,
        student_length=Spread(300.0 + 40 * t, 90.0),
        best_student_vs_teacher=0.31,
        student_wins=0.44,
        student_score=0.45,
        teacher_score=None,
        pairs=types,
        trained=types,
        replayed=4 * (t - 1),
        unused_prompts={"no pair passed the margin": 2},
        judge="reference-1",
        judge_failures={"the prompt has no gold answer": 1},
        tie_rate=0.02,
        length_score_correlation=0.31,
        chosen_length=Spread(340.0, 80.0),
        rejected_length=Spread(290.0, 95.0),
        sampled_limit_share=0.4,
    )


def fake_iteration(
    t: int, *, value: float = 61.0, opponent: float = 44.0, benchmark: str = "mini-1",
    judge: str = "reference-1",
) -> IterationRecord:  # fmt: skip
    """Iteration t: `value` against the start, `opponent` against the opponent."""
    result = Result(
        benchmark=benchmark,
        decoding="greedy, 96 tokens",
        judge=judge,
        opponent="fixed baseline",
        win_rate=rate(opponent),
        vs_initial=rate(value) if t else constructed(),
        vs_previous=rate(52.0) if t else constructed(),
        lengths=Lengths(310.0 + 35 * t, 120.0, 290.0 + 30 * t, 520.0 + 20 * t, 0.3 + 0.05 * t),
    )
    if not t:
        costs = (StageCost("outputs", 4.0, 1, 2, 0.0),)
        return IterationRecord(0, result, None, None, None, costs, ("abc1234",))
    steps = tuple(
        TrainStep(i, i / 3, 0.69 - 0.05 * i, 1e-4, 1.0 + i, {"margin": 0.1 * i}) for i in range(3)
    )
    after = {"logratio_chosen": -0.4, "margin": 1.5, "chosen_falls": 0.7, "loss": 0.55}
    return IterationRecord(
        t,
        result,
        fake_composition(t),
        TrainSummary(24, 9000, steps, after),
        Drift(0.8 * t, 0.1, 0.02, 16, 2, 48),
        (StageCost("samples", 30.5, 900, 4000, 0.0), StageCost("train", 61.0, 0, 0, 0.0)),
        ("abc1234",),
    )


def fake_run(
    name: str = "dno-quickstart", method: str = "dno", iterations: int = 3, lift: float = 0.0,
    **result: object,
) -> RunRecord:  # fmt: skip
    """A run whose win rates climb by iteration; `lift` moves them all."""
    records = [
        fake_iteration(t, value=52.0 + 3 * t + lift, opponent=38.0 + 3 * t + lift, **result)  # type: ignore[arg-type]
        for t in range(iterations + 1)
    ]
    return RunRecord(
        name=name,
        path=Path("runs") / name,
        method=method,
        paper="Direct Nash Optimization, arXiv 2404.03715",
        config=RunConfig(method=method, seed=7),
        iterations=tuple(records),
        provenance={
            "git": "abc1234",
            "train_judge": "reference-1",
            "torch": "2.8",
            "model digest": "sha256:0f",
        },
    )


def row(value: float | None, run: str = "r", judge: str = "j", **more: object) -> BoardRow:
    measured = Rate(value, 4.0, None if value is None else (value, value), 32, 0)
    base = replace(rows_of(fake_run(iterations=0))[0], run=run, judge=judge, win_rate=measured)
    return replace(base, **more)  # type: ignore[arg-type]


def text_of(rows: list[BoardRow]) -> str:
    console = Console(width=220, record=True, file=io.StringIO())
    for table in render(rows):
        console.print(table)
    return console.export_text()


def test_a_board_fits_a_terminal_of_80_columns() -> None:
    console = Console(width=80, record=True, file=io.StringIO())
    board, *_ = render(rows_of(fake_run()), narrow=True)
    console.print(board)
    told = console.export_text()
    for t in range(4):  # each row on one line, with its interval
        assert re.search(rf"dno-quickstart +│ +{t} │ +[\d.]+ \[[\d.]+, [\d.]+\]", told), told
    assert "A wider terminal and --json show more." in " ".join(told.split())


# --- rows and files ---------------------------------------------------------------------------


def test_one_row_an_iteration_with_key_and_origin() -> None:
    rows = rows_of(fake_run())
    assert [r.iteration for r in rows] == [0, 1, 2, 3]
    assert rows[0].vs_initial.by_construction == SELF
    assert rows[1].revision == "abc1234"
    assert (rows[1].seed, rows[1].train_judge) == (7, "reference-1")
    assert rows[1].key == ("mini-1", "greedy, 96 tokens", "reference-1", "fixed baseline")


def test_rows_survive_the_file(tmp_path: Path) -> None:
    rows = rows_of(fake_run(name="line\u2028\n<b>"))
    path = tmp_path / "deep" / "leaderboard.jsonl"
    write_rows(path, rows)
    assert read_rows(path) == rows
    assert [p.name for p in path.parent.iterdir()] == ["leaderboard.jsonl"]  # no leftovers


@pytest.mark.parametrize(
    "change",
    [
        {"surprise": 1},
        {"iteration": "2"},
        {"avg_length": None},
        {"win_rate": {"value": 140.0, "se": 1, "ci95": None, "n": 3, "n_failed": 0}},
    ],
)
def test_a_malformed_line_is_named(tmp_path: Path, change: dict[str, object]) -> None:
    path = tmp_path / "board.jsonl"
    write_rows(path, rows_of(fake_run(iterations=1)))
    first, second = path.read_text().splitlines()
    path.write_text(f"{first}\n{json.dumps(json.loads(second) | change)}\n")
    with pytest.raises(HarnessError, match=r"board\.jsonl, line 2 .*" + next(iter(change))):
        read_rows(path)


@pytest.mark.parametrize("line", ["{", "[]", "null", '{"run": NaN}'])
def test_a_line_that_is_no_row_is_named(tmp_path: Path, line: str) -> None:
    path = tmp_path / "board.jsonl"
    path.write_text(f"\n{line}\n")
    with pytest.raises(HarnessError, match="line 2 is not a leaderboard row"):
        read_rows(path)


def test_unreadable_files_are_sentences(tmp_path: Path) -> None:
    with pytest.raises(HarnessError, match="Cannot read the leaderboard file"):
        read_rows(tmp_path / "absent.jsonl")
    (tmp_path / "binary.jsonl").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(HarnessError, match="not UTF-8"):
        read_rows(tmp_path / "binary.jsonl")


def test_entries_are_append_only(tmp_path: Path) -> None:
    short, longer = rows_of(fake_run(iterations=1)), rows_of(fake_run(iterations=2))
    path = enter(short, tmp_path)
    assert path.name == "dno-quickstart.jsonl"
    enter(longer, tmp_path)
    enter(short, tmp_path)  # what stands there already is no news
    assert read_folder(tmp_path) == longer
    with pytest.raises(HarnessError, match="already holds another result for iteration 0"):
        enter(rows_of(fake_run(lift=5.0)), tmp_path)
    assert read_folder(tmp_path) == longer


@pytest.mark.parametrize("name", ["../up", ".hidden", "a/b", "", "a b"])
def test_an_entry_stays_inside_its_folder(tmp_path: Path, name: str) -> None:
    with pytest.raises(HarnessError, match="cannot be a file name"):
        enter(rows_of(fake_run(name=name)), tmp_path)
    with pytest.raises(HarnessError, match="exactly one run"):
        enter([row(1.0, "a"), row(1.0, "b")], tmp_path)


# --- ranking ----------------------------------------------------------------------------------


def test_a_board_never_mixes_keys() -> None:
    rows = [
        row(90.0, judge="a"),
        row(10.0, judge="b"),
        row(20.0, judge="b", benchmark="other"),
        row(30.0, judge="b", decoding="sampled"),
        row(40.0, judge="b", opponent="gold"),
    ]
    found = boards(rows)
    assert len(found) == 5
    assert all(r.key == key for key, board in found.items() for r in board)
    assert all(ranks(board) == [1] for board in found.values())


@given(
    st.lists(st.tuples(st.sampled_from([None, 10.0, 50.0, 90.0]), st.sampled_from("abc"))),
    st.randoms(use_true_random=False),
)
def test_ranking_is_by_win_rate_and_blind_to_order(
    drawn: list[tuple[float | None, str]], random: object
) -> None:
    rows = [row(v, f"run{i}", judge) for i, (v, judge) in enumerate(drawn)]
    mixed = list(rows)
    random.shuffle(mixed)  # type: ignore[attr-defined]
    found = boards(rows)
    assert boards([*mixed, *rows]) == found  # neither order nor repetition shows
    assert sorted(r.run for board in found.values() for r in board) == sorted(r.run for r in rows)
    for board in found.values():
        ranked = zip(board, ranks(board), strict=True)
        for (one, a), (two, b) in pairwise(ranked):
            if a is None:
                assert b is None  # nothing without a number stands above a number
            elif b is not None and one.win_rate.value and two.win_rate.value:
                assert (a < b) == (one.win_rate.value > two.win_rate.value)
                assert (a == b) == (one.win_rate.value == two.win_rate.value)


def test_no_interval_no_number_and_construction_has_no_rank() -> None:
    bare = row(80.0, "bare", win_rate=Rate(80.0, None, None, 1, 0))
    start = row(50.0, "start", win_rate=Rate(50.0, 0.0, (50.0, 50.0), 32, 0, SELF))
    low, high = row(40.0, "low"), row(60.0, "high")
    (board,) = boards([bare, start, low, high]).values()
    assert [r.run for r in board] == ["high", "start", "low", "bare"]
    assert ranks(board) == [1, None, 2, None]
    text = text_of([bare, start, low, high])
    assert "80.0" not in text
    assert "50 by construction" in text
    dicts = as_dicts([bare])["boards"][0]["rows"][0]
    assert dicts["rank"] is None
    assert dicts["win_rate"]["value"] is None


# --- what is shown ----------------------------------------------------------------------------


def test_a_table_names_its_judge_and_intervals() -> None:
    text = text_of(rows_of(fake_run()))
    assert "mini-1 · decoding greedy, 96 tokens · judge reference-1" in text
    assert "47.0 [38.0, 56.0]" in text
    assert OTHER_BENCHMARK in text


def test_names_are_text_not_markup_or_terminal_codes() -> None:
    text = text_of([row(50.0, "[red]x[/red]\x1b[2J")])
    assert "[red]x[/red]" in text
    assert "\x1b" not in text


def test_published_figures_are_complete_and_sourced() -> None:
    rows = published()
    assert len(rows) == 58
    assert all(r.source.startswith(f"{r.paper}, arXiv {r.arxiv}, ") for r in rows)
    last = next(r for r in rows if r.method == "dno-more-data" and r.iteration == 6)
    assert (last.lc_win_rate, last.win_rate, last.avg_chars) == (33.05, 34.38, 2683)
    assert next(r for r in rows if r.paper == "INPO").win_rate is None


def test_published_figures_stand_beside_their_own_kind_only() -> None:
    assert published_rows("alpaca_eval-2.0") == published()
    assert published_rows("mini-1") == ()
    assert published_rows("alpaca_eval-2.0", "reference-1") == ()
    assert comparable("alpaca_eval-2.0", f"{OFFICIAL_JUDGE}@1")
    titles = {
        BESIDE: row(50.0, benchmark="alpaca_eval-2.0", judge=OFFICIAL_JUDGE),
        OTHER_JUDGE: row(50.0, benchmark="alpaca_eval-2.0"),
        OTHER_BENCHMARK: row(50.0),
    }
    for title, entry in titles.items():
        assert str(render([entry])[-1].title) == title
        assert as_dicts([entry])["published"]["title"] == title
    assert str(render([])[-1].title) == OTHER_BENCHMARK
    assert len(render([row(50.0)], with_published=False)) == 1
    assert "published" not in as_dicts([], with_published=False)
    json.dumps(as_dicts(list(titles.values())), allow_nan=False)
