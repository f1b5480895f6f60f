"""Reports: verdicts, labels and caveats in words, and the figures on disk."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_leaderboards import constructed, fake_iteration, fake_run, rate

from harness.config import RunConfig
from harness.records import RunRecord
from harness.types import WinRate
from leaderboards.papers import OFFICIAL_JUDGE, OTHER_BENCHMARK, published
from reports.figures import DRAWINGS, FigureFile
from reports.figures import write_figures as write_group
from reports.group import grouped
from reports.html import write_report
from reports.pairs import kinds_of
from reports.rates import reference_rows, win_rate
from reports.standing import published_table
from reports.style import inline_svg, short, spread
from reports.words import caveats, kind_of, labels, notes, verdict


def with_last(run: RunRecord, vs_initial: WinRate) -> RunRecord:
    *first, last = run.iterations
    result = replace(last.result, vs_initial=vs_initial)
    return replace(run, iterations=(*first, replace(last, result=result)))


def write_figures(runs: Sequence[RunRecord], folder: Path) -> tuple[FigureFile, ...]:
    (group,), _ = grouped(runs)
    return write_group(group, folder)


# --- words ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("vs_initial", "kind", "words"),
    [
        (rate(61.2, 9.1), "better", "61.2% (95% interval 52.1 to 70.3, 32 prompts, judge "
         "reference-1): better than the start beyond noise at this size."),
        (rate(38.0, 9.0), "worse", "worse than the start beyond noise"),
        (rate(56.0, 9.0), "unclear", "not distinguishable from the start"),
        (rate(59.0, 9.0), "unclear", "not distinguishable from the start"),
        (constructed(), "none", "50% by construction (a policy against itself): not a measurement"),
        (rate(None, n_failed=32), "none", "none of 32 judgements succeeded"),
        (rate(80.0, n=1, se=None, ci95=None), "none", "has no interval (1 prompt judged)"),
    ],
)  # fmt: skip
def test_a_verdict_follows_from_the_interval(vs_initial: WinRate, kind: str, words: str) -> None:
    found = verdict(with_last(fake_run(), vs_initial))
    assert found.kind == kind
    assert words in found.sentence
    assert ("80.0" in found.sentence) is False


@given(st.floats(0, 100), st.floats(0, 50))
def test_no_verdict_without_the_whole_interval(value: float, half: float) -> None:
    found = rate(value, half)
    assert found.ci95
    low, high = found.ci95
    kind = kind_of(found)
    assert (kind == "unclear") == (low <= 50 <= high)
    assert (kind == "better") == (low > 50)


def test_few_prompts_and_failures_are_said() -> None:
    run = with_last(fake_run(), rate(90.0, n=4, n_failed=2))
    more = " ".join(verdict(run).more)
    assert "2 judgements failed and count in no number above" in more
    assert "An interval over 4 prompts is itself unreliable" in more
    assert "with 6 evaluation prompts" in caveats([run])[0]


def test_caveats_and_notes_depend_on_the_run() -> None:
    config = RunConfig.model_validate(
        {"method": "dno", "preset": "laptop", "judge": {"train": "reference", "eval": "longer"}}
    )
    run = replace(fake_run(judge="longer-1"), config=config)
    assert caveats([run]) == ()
    assert not any("also judges" in note for note in notes([run]))
    assert labels([run, run]) == ["dno-quickstart (1)", "dno-quickstart (2)"]


def test_an_opponent_that_is_the_start_is_told_once(tmp_path: Path) -> None:
    run = fake_run()
    records = [
        replace(r, result=replace(r.result, win_rate=r.result.vs_initial)) for r in run.iterations
    ]
    run = replace(run, iterations=tuple(records))
    assert "is that same start: fixed baseline" in verdict(run).more[0]
    alt = write_figures([run], tmp_path)[0].alt
    assert "1 line chart by iteration: win rate in percent against the run's own start" in alt


def test_one_sentence_a_construction() -> None:
    run = with_last(fake_run(iterations=2), constructed())
    assert [n for n in notes([run]) if "by construction" in n] == [
        "Iteration 0, 2 against the run's own start is 50% by construction, not by measurement: "
        "a policy against itself."
    ]


def test_judge_of_an_untrained_run_is_the_configured_one() -> None:
    assert any("also judges" in note for note in notes([fake_run(iterations=0)]))


def test_published_rows_follow_the_methods_run() -> None:
    table = published_table("mini-1", "reference-1", ["iterative-dpo"])
    assert table.caption == OTHER_BENCHMARK
    assert any("SPPO" in row[-1] for row in table.rows)
    assert not any("SPPO" in r[-1] for r in published_table("mini-1", "j", ["dno"]).rows)
    lines = [(r.method, r.iteration) for r in reference_rows(published(), ["dno", "x"])]
    assert lines == [("sft (start)", 0), ("dno-more-data", 6), ("self-rewarding", 3), ("dno", 3)]


# --- figures ----------------------------------------------------------------------------------


def test_page_and_figures_do_not_vary(tmp_path: Path) -> None:
    board = {"benchmark": "alpaca_eval-2.0", "judge": OFFICIAL_JUDGE}
    runs = [fake_run("a", **board), fake_run("字$^{x", lift=3.0, **board)]
    one, two = (write_report(runs, tmp_path / name).parent for name in ("one", "two"))
    written = sorted(path.relative_to(one) for path in one.rglob("*.*"))
    drawn = sorted(set(DRAWINGS) - {"neighbours", "lc_vs_raw", "judge", "controls"})
    names = [f"{name}.{kind}" for name in drawn for kind in ("png", "svg")]
    assert [path.name for path in written] == [*names, "index.html"]
    for path in written:
        assert (one / path).read_bytes() == (two / path).read_bytes()
        assert path.suffix != ".svg" or "<date>" not in (one / path).read_text(encoding="utf-8")
        assert path.suffix != ".png" or (one / path).read_bytes()[:4] == b"\x89PNG"


def test_gaps_are_drawn_as_gaps(tmp_path: Path) -> None:
    bare = replace(fake_iteration(1).result, vs_initial=rate(80.0, n=1, ci95=None))
    record = replace(fake_iteration(1), result=bare)
    run = replace(fake_run(), iterations=(fake_iteration(0), record))
    assert len(write_figures([run], tmp_path)) == 7


def test_kinds_keep_their_order() -> None:
    assert kinds_of([fake_run()])[0] == "teacher>student"
    assert kinds_of([fake_run()])[-1] == "replayed"


def test_inlined_ids_are_the_pages_own() -> None:
    svg = (
        '<?xml?><!DOCTYPE x "http://w3"><svg><style type="text/css">*{}</style><!-- c -->'
        '<path id="a" clip-path="url(#a)" style="fill: none; stroke: #0072b2"/></svg>'
    )
    assert inline_svg(svg, "f") == (
        '<svg><path id="f-a" clip-path="url(#f-a)" fill="none" stroke="#0072b2"/></svg>'
    )


@given(st.lists(st.floats(0, 1), max_size=8))
def test_labels_keep_apart(places: list[float]) -> None:
    moved = spread(sorted(places), 0.1)
    assert all(b - a >= 0.1 - 1e-9 for a, b in pairwise(moved))
    assert all(place <= 1 for place in moved)


def test_short_labels() -> None:
    assert short("x" * 22) == "x" * 22
    assert len(short("y" * 300)) == 22
    assert short("a\nb\x1b") == "a b "


@pytest.mark.parametrize(("lift", "near"), [(0.0, True), (-36.0, False)])
def test_win_rates_far_below_even_have_the_axis_to_themselves(lift: float, near: bool) -> None:
    fig, _ = win_rate([fake_run(lift=lift), fake_run("sft", "sft", lift=lift)])
    against_the_opponent = fig.axes[0]
    assert (against_the_opponent.get_ylim()[1] > 50) == near
    said = {text.get_text() for text in against_the_opponent.texts}
    assert ("50%: even" in said) == near
    assert any("lies far above" in text for text in said) != near
    low, high = against_the_opponent.get_ylim()
    assert all(low <= y <= high for line in against_the_opponent.lines for y in line.get_ydata())
