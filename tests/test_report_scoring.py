"""What a report says of length control, controls, official rows and paired differences."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from conftest import Command
from test_leaderboards import constructed, fake_run, rate
from test_reports import HOSTILE, Page, undrawn  # noqa: F401

from harness.records import RunRecord
from harness.scoring.alpaca import DERIVED
from harness.scoring.compare import Comparison, Contender, Duel, compare
from harness.scoring.compare import Tested as Measured  # pytest would collect a Test…
from harness.types import (
    Control,
    ControlName,
    Controls,
    Difference,
    Judgement,
    LengthControl,
    LengthControlKind,
)
from leaderboards.official import BASELINE
from leaderboards.papers import OFFICIAL_JUDGE
from reports.controls import controls, outcome, warnings
from reports.html import write_report
from reports.rates import panels
from reports.standing import among_official, differences
from reports.tables import scores
from reports.words import verdict

ON_ALPACA = {"benchmark": "alpaca_eval-2.0", "judge": OFFICIAL_JUDGE, "opponent": BASELINE}


def controlled(value: float, kind: LengthControlKind = "LC", **more: object) -> LengthControl:
    base = LengthControl(
        kind, value, (value - 4, value + 4), 1.0, -1.8, 0.8, -0.5, 21.5, "C fixed", 32
    )
    return replace(base, **more)  # type: ignore[arg-type]


def gap(low: float, high: float) -> Difference:
    return Difference((low + high) / 2, (low, high), 0.01)


BELOW, UNCLEAR, ABOVE = gap(-9.0, -3.0), gap(-2.0, 3.0), gap(1.5, 4.5)


def judged(null: Difference | None, padded: Difference | None, judge: str = "j-1") -> Controls:
    of: list[tuple[ControlName, Difference | None]] = [("null", null), ("padded", padded)]
    shown = [Control(name, rate(20.0), vs_own, 71.0) for name, vs_own in of]
    short = Control("shortened", rate(25.0), BELOW, 14.0)
    return Controls(judge, "fixed baseline", 32, rate(30.0), (*shown, short))


def scored(
    run: RunRecord, control: LengthControl | None, of: Controls | None = None, **result: object
) -> RunRecord:
    """The run with this length control (of iterations that were measured) and these controls."""
    records = tuple(
        replace(
            r,
            result=replace(r.result, length_control=control if r.iteration else None, **result),  # type: ignore[arg-type]
            controls=of,
        )
        for r in run.iterations
    )
    return replace(run, iterations=records)


# --- length control ---------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["LC", "length-adjusted"])
def test_raw_controlled_and_length_stand_side_by_side(kind: LengthControlKind) -> None:
    run = scored(fake_run(iterations=1), controlled(33.0, kind, caveats=("3 rows left out",)))
    table = scores(run)
    assert table.columns[1:5] == ("win rate % [95%]", "SE", f"{kind} % [95%]", "characters")
    assert table.rows[1][1:5] == ("41.0 [32.0, 50.0]", "4.5", "33.0 [29.0, 37.0]", "345")
    assert table.rows[0][3] == "–"
    assert table.own == "Iteration 1: 3 rows left out."
    assert ("not LC" in table.note) == (kind != "LC")
    more = " ".join(verdict(run).more)
    assert f"{kind} 33.0% (95% interval 29.0 to 37.0)" in more
    assert f"win rates other than {kind} are not controlled for length" in more


@pytest.mark.usefixtures("undrawn")
def test_a_length_control_without_interval_is_shown_nowhere(tmp_path: Path) -> None:
    run = scored(fake_run(iterations=1), controlled(77.7, ci95=None))
    assert "77.7" not in Page(write_report([run], tmp_path)).text
    assert len(panels([run])[0].lines) == 1


def test_without_length_control_nothing_is_said_of_it() -> None:
    run = fake_run()
    assert not any("LC" in column for column in scores(run).columns)
    assert "these win rates are not controlled for length" in " ".join(verdict(run).more)


def test_one_run_shows_both_rates_on_one_axis_and_several_each_on_its_own() -> None:
    one, two = (
        scored(fake_run(name, lift=lift), controlled(33.0), **ON_ALPACA)
        for name, lift in (("one", 0.0), ("two", 9.0))
    )
    first, second = panels([one])
    assert [(line.label, line.look, len(line.points)) for line in first.lines] == [
        ("win rate", 0, 4),
        ("LC", 1, 3),
    ]
    assert first.published["dno iter. 3"] == 24.97  # the raw win rate, as the paper has it
    assert [line.label for line in second.lines] == ["one"]
    raw, lc, start = panels([one, two])
    assert (raw.title, lc.title) == (f"Against {BASELINE}", "At equal lengths (LC)")
    assert [[line.label for line in p.lines] for p in (raw, lc, start)] == [["one", "two"]] * 3
    assert raw.published["dno iter. 3"] != lc.published["dno iter. 3"]
    assert start.published == {}


def test_an_opponent_that_is_the_start_has_its_length_control_too() -> None:
    run = fake_run(iterations=1)
    records = tuple(
        replace(r, result=replace(r.result, win_rate=r.result.vs_initial)) for r in run.iterations
    )
    run = scored(replace(run, iterations=records), controlled(50.0, "length-adjusted"))
    (panel,) = panels([run])
    assert [line.label for line in panel.lines] == ["win rate", "length-adjusted"]
    assert panel.lines[0].points[0].hollow
    assert "is that same start: fixed baseline; iteration 1: 55.0%" in verdict(run).more[0]
    assert "length-adjusted 50.0%" in verdict(run).more[0]


@pytest.mark.usefixtures("undrawn")
def test_the_licence_of_derived_numbers_is_named_with_lc_only(tmp_path: Path) -> None:
    for kind in ("LC", "length-adjusted"):
        run = scored(fake_run(iterations=1), controlled(33.0, kind))
        page = Page(write_report([run], tmp_path / kind))
        assert (DERIVED in page.text) == ("CC BY-NC 4.0" in page.text) == (kind == "LC")


# --- controls ---------------------------------------------------------------------------------


def test_controls_stand_beside_the_policys_own_outputs() -> None:
    table = controls(scored(fake_run(iterations=1), None, judged(BELOW, UNCLEAR)))
    assert [row[:2] for row in table.rows[:3]] == [
        ("0", n) for n in ("null", "padded", "shortened")
    ]
    assert table.rows[0][2:] == (
        *("20.0 [11.0, 29.0]", "30.0 [21.0, 39.0]", "-6.0 [-9.0, -3.0]", "71"),
    )
    assert table.own == (
        "Iteration 1: the null answer loses to the policy's own outputs, as it should; padding "
        "makes no difference that can be told; cutting outputs short costs points."
    )
    assert "judge j-1" in table.note
    none = controls(fake_run())
    assert (none.rows, none.note) == ((), "No controls are recorded for this run.")


@pytest.mark.parametrize(
    ("null", "padded", "said"),
    [
        (BELOW, BELOW, []),
        (BELOW, UNCLEAR, []),
        (None, None, []),
        (Difference(9.0, None, None), BELOW, []),
        (BELOW, ABOVE, ["j-1 can be gamed by padding: filler that says nothing"]),
        (ABOVE, BELOW, ["can be gamed by a polite phrase that answers nothing, or the outputs"]),
        (UNCLEAR, ABOVE, ["may be gamed by a polite phrase", "can be gamed by padding"]),
    ],
)
def test_a_judge_that_can_be_gamed_is_named(
    null: Difference | None, padded: Difference | None, said: list[str]
) -> None:
    run = scored(fake_run(iterations=1), None, judged(null, padded))
    found = warnings([run])
    assert len(found) == len(said)
    for warning, words in zip(found, said, strict=True):
        assert words in warning
        assert "95% interval" in warning
        assert "32 prompts" in warning


@pytest.mark.usefixtures("undrawn")
def test_warnings_stand_in_the_banner_and_name_the_run_where_there_are_several(
    tmp_path: Path,
) -> None:
    one, two = (
        scored(fake_run(name, iterations=1), None, judged(BELOW, ABOVE)) for name in ("one", "two")
    )
    page = Page(write_report([one, two], tmp_path))
    said = "+3.0 points (95% interval 1.5 to 4.5, 32 prompts)"
    assert (
        "The judge j-1 can be gamed by padding: filler that says nothing after each output scored "
        f"above the policy's own outputs. one, iteration 1: {said}; two, iteration 1: {said}."
    ) in page.text
    assert warnings([fake_run()]) == ()


def test_an_outcome_needs_the_whole_interval() -> None:
    found = [outcome(g) for g in (ABOVE, BELOW, UNCLEAR, gap(0.0, 2.0), None)]
    assert found == ["above", "below", "unclear", "unclear", "none"]
    own = replace(judged(BELOW, BELOW), own=constructed())
    assert controls(scored(fake_run(), None, own)).rows[0][3] == "50 by construction"


# --- official rows ----------------------------------------------------------------------------


@pytest.mark.usefixtures("undrawn")
def test_a_run_on_alpaca_eval_stands_among_the_official_rows(tmp_path: Path) -> None:
    ours = scored(fake_run("ours"), controlled(20.0), **ON_ALPACA)
    table = among_official([ours])
    assert table
    (mine,) = (row for row in table.rows if row[0].startswith("▶"))
    assert mine[:3] == ("▶ ours, iteration 3", "20.0 [16.0, 24.0]", "47.0 [38.0, 56.0]")
    assert any("just above ours" in row[-1] for row in table.rows)
    assert "not official" not in table.caption
    page = Page(write_report([ours], tmp_path))
    assert "just above ours" in page.text
    assert 'class="ours"' in page.source


def test_another_judges_word_is_marked_and_other_benchmarks_have_no_place() -> None:
    other = scored(fake_run(), controlled(20.0), **{**ON_ALPACA, "judge": "longer-1"})
    table = among_official([other])
    assert table
    assert "an estimate by another judge, not official: runs by longer-1" in table.caption
    assert among_official([fake_run()]) is None


# --- paired differences -----------------------------------------------------------------------


def contender(name: str, p: float) -> Contender:
    """Wins by p, more or less, on 20 instructions."""
    rows = (Judgement(f"ask {i}", p + 0.01 * (i % 5), None, 90 + i, 100) for i in range(20))
    return Contender(name, tuple(rows))


def test_differences_between_runs_with_their_verdict() -> None:
    runs = [fake_run(name) for name in ("one", "two", "three")]
    found = compare([contender("one", 0.7), contender("two", 0.7), contender("three", 0.2)], 0)
    table = differences(runs, found)
    assert table.columns[3] == "length-adjusted [95%]"
    assert [(row[0], row[-1]) for row in table.rows] == [
        ("one − two", "not told apart"),
        ("one − three", "one is better"),
        ("two − three", "two is better"),
    ]
    assert table.rows[1][1:3] == ("+50.0 [+50.0, +50.0]", "< 0.001")
    assert "20 shared prompts, against fixed baseline, judge reference-1" in table.note
    assert "Holm" in table.note


def test_nobody_is_better_where_the_interval_holds_zero() -> None:
    for low, better in ((-1.8, None), (1.8, "one")):
        tested = Measured(Difference(44.6, (low, 45.5), 0.01), 0.03)
        assert Duel("one", "two", length_control=tested).better == better


@pytest.mark.usefixtures("undrawn")
def test_runs_that_cannot_be_compared_say_why(tmp_path: Path) -> None:
    runs = [fake_run("one"), fake_run("two")]
    page = Page(
        write_report(runs, tmp_path, compare=lambda _: Comparison(caveats=("They differ.",)))
    )
    assert "No paired differences: They differ." in page.text


def test_hostile_names_stay_text_in_every_new_table(tmp_path: Path) -> None:
    run = scored(
        fake_run(HOSTILE, iterations=1),
        controlled(30.0, caveats=(HOSTILE,)),
        replace(judged(ABOVE, ABOVE), judge=HOSTILE, opponent=HOSTILE),
        **{**ON_ALPACA, "judge": HOSTILE},
    )
    other = replace(run, name="other")
    comparison = compare([contender(HOSTILE, 0.7), contender("other", 0.2)], 0)
    comparison = replace(comparison, caveats=(HOSTILE,))
    page = Page(write_report([run, other], tmp_path, compare=lambda _: comparison))
    assert page.tags.count("script") == 1  # the page's own
    assert not {"img", "b"} & set(page.tags)
    assert page.events == page.open == []
    assert "\x1b" not in page.source


def test_the_command_compares_what_the_runs_folders_hold(
    command: Command, reference: Path, reference_copy: Path, tmp_path: Path
) -> None:
    def page() -> str:
        command("report", reference, reference_copy, "--out", tmp_path / "page").ok()
        return Page(tmp_path / "page" / "index.html").text

    text = page()
    assert "dno (1) − dno (2)" in text
    assert "not told apart" in text
    assert "Controls" in text
    (reference_copy / "iter-2" / "annotations.json").unlink()
    assert "No paired differences:" in page()
