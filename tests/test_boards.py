"""Length control on boards, official rows and neighbours, and entries by the real command."""

from __future__ import annotations

import csv
import importlib.util
import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any

import pytest
from conftest import Command, Done, rows, state
from hypothesis import given
from hypothesis import strategies as st
from test_leaderboards import SELF, fake_run, row, text_of

from harness.errors import HarnessError
from harness.types import LengthControl, LengthControlKind
from leaderboards import official as official_module
from leaderboards.board import BoardRow, Controlled, Rate, boards, ranks, read_rows, rows_of
from leaderboards.entries import enter
from leaderboards.neighbours import LANDMARKS, neighbours
from leaderboards.official import BASELINE, official
from leaderboards.papers import OFFICIAL_JUDGE, published
from leaderboards.table import as_dicts, render


def controlled(
    value: float, kind: LengthControlKind = "LC", *, interval: bool = True
) -> Controlled:
    ci95 = (max(0.0, value - 2), min(100.0, value + 2)) if interval else None
    return Controlled(kind, value, ci95, 0.5, 805, "fixed C")


def alpaca(raw: float, lc: float | None, run: str = "r", **more: object) -> BoardRow:
    """A row against AlpacaEval's baseline by its own judge."""
    base: dict[str, object] = {
        "benchmark": "alpaca_eval-2.0",
        "judge": OFFICIAL_JUDGE,
        "opponent": BASELINE,
        "length_control": None if lc is None else controlled(lc),
    }
    return row(raw, run, **{**base, **more})  # type: ignore[arg-type]


# --- length control ---------------------------------------------------------------------------


def test_a_board_with_lc_is_ranked_by_lc() -> None:
    entries = [
        alpaca(60.0, 20.0, "long"),
        alpaca(30.0, 40.0, "short"),
        alpaca(90.0, None, "without"),
        alpaca(95.0, None, "bare", length_control=controlled(99.0, interval=False)),
        alpaca(96.0, None, "other", length_control=controlled(98.0, "length-adjusted")),
        alpaca(50.0, None, "itself", win_rate=Rate(50.0, 0.0, (50.0, 50.0), 32, 0, SELF)),
    ]
    (board,) = boards(entries).values()
    assert [r.run for r in board][:3] == ["itself", "short", "long"]
    assert ranks(board) == [None, 1, 2, None, None, None]
    told = as_dicts(entries)["boards"][0]
    assert told["ranked_by"] == "LC"
    shown = {r["run"]: r["length_control"] for r in told["rows"]}
    assert (shown["short"]["value"], shown["short"]["ci95"]) == (40.0, (38.0, 42.0))
    assert (shown["bare"]["value"], shown["bare"]["spread"], shown["without"]) == (None, None, None)
    text = text_of(entries)
    assert "40.0 [38.0, 42.0]" in text
    assert "Ranked by LC" in text
    assert "99.0" not in text
    # two kinds are two columns
    headers = [str(column.header) for column in render(entries)[0].columns]
    assert headers[5:8] == ["win rate [95%]", "LC [95%]", "length-adjusted [95%]"]


def test_a_length_adjusted_rate_is_shown_and_does_not_rank() -> None:
    entries = [
        row(60.0, "long", length_control=controlled(20.0, "length-adjusted")),
        row(30.0, "short", length_control=controlled(40.0, "length-adjusted")),
    ]
    (board,) = boards(entries).values()
    assert [r.run for r in board] == ["long", "short"]
    assert as_dicts(entries)["boards"][0]["ranked_by"] == "win rate"
    headers = [str(column.header) for column in render(entries)[0].columns]
    assert "length-adjusted [95%]" in headers
    assert "LC [95%]" not in headers


def test_a_run_s_length_control_reaches_its_row_and_older_files_stay_readable(
    tmp_path: Path,
) -> None:
    run = fake_run(iterations=1)
    plain = rows_of(run)
    path = enter(plain, tmp_path)
    older = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    for line in older:
        assert line.pop("length_control") is None
    path.write_text("".join(json.dumps(line) + "\n" for line in older), "utf-8")
    assert read_rows(path) == plain
    assert enter(plain, tmp_path) == path

    lc = LengthControl("LC", 31.0, (28.0, 34.0), 0.4, -0.7, 1.0, -0.9, 21.5, "C", 805, ("few",))
    first = run.iterations[0]
    scored = replace(first, result=replace(first.result, length_control=lc))
    (new,) = rows_of(replace(run, name="new", iterations=(scored,)))
    assert new.length_control == Controlled("LC", 31.0, (28.0, 34.0), 0.4, 805, "C", ("few",))
    assert read_rows(enter([new], tmp_path)) == [new]


# --- official rows ----------------------------------------------------------------------------


def leaderboard_file() -> Path:
    spec = importlib.util.find_spec("alpaca_eval")
    assert spec
    assert spec.submodule_search_locations
    name = "weighted_alpaca_eval_gpt4_turbo_leaderboard.csv"
    return Path(spec.submodule_search_locations[0], "leaderboards", "data_AlpacaEval_2", name)


def test_official_rows_are_those_of_the_installed_package() -> None:
    with leaderboard_file().open(encoding="utf-8", newline="") as file:
        header, *lines = csv.reader(file)
    column = {name: header.index(name) for name in header}
    assert len(official()) == len(lines) > 200
    for found, line in zip(official(), lines, strict=True):
        assert found.name == line[0]
        assert found.lc_win_rate == float(line[column["length_controlled_winrate"]])
        assert found.win_rate == float(line[column["win_rate"]])
        assert found.se == float(line[column["standard_error"]])
        assert found.avg_chars == int(line[column["avg_length"]])
        assert found.n == int(line[column["n_total"]])
    baseline = next(r for r in official() if r.name == BASELINE)
    assert (baseline.lc_win_rate, baseline.win_rate) == (50.0, 50.0)
    assert set(LANDMARKS) <= {r.name for r in official()}


def test_the_package_is_read_without_being_imported() -> None:
    code = (
        "import sys; from leaderboards.official import official; official(); "
        "print([m for m in sys.modules if m.startswith(('alpaca_eval', 'pandas', 'rich'))])"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "[]"


def test_a_missing_or_damaged_leaderboard_is_a_sentence(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    read: Callable[[], object] = official.__wrapped__
    spec: ModuleSpec | None = None
    monkeypatch.setattr(official_module, "find_spec", lambda _name: spec)
    with pytest.raises(HarnessError, match=r"alpaca-eval package, which is missing: install"):
        read()
    spec = ModuleSpec("alpaca_eval", None, is_package=True)
    spec.submodule_search_locations = [str(tmp_path)]
    with pytest.raises(HarnessError, match="Cannot read AlpacaEval's leaderboard"):
        read()
    path = tmp_path / "leaderboards" / "data_AlpacaEval_2" / leaderboard_file().name
    path.parent.mkdir(parents=True)
    lines = leaderboard_file().read_text("utf-8").splitlines()
    path.write_text("\n".join([*lines[:2], lines[2].replace("77.589", "x")]), "utf-8")
    with pytest.raises(HarnessError, match="line 3 is not a row of AlpacaEval's leaderboard"):
        read()


# --- neighbours -------------------------------------------------------------------------------


@given(st.floats(0, 100), st.booleans())
def test_a_run_stands_between_the_nearest_official_rows(value: float, by_lc: bool) -> None:
    board = [alpaca(value, value if by_lc else None)]
    found = neighbours(board)
    assert found
    assert found.by == ("LC" if by_lc else "win rate")
    numbers = [r.number(found.by) for r in found.rows]
    measured = [n for n in numbers if n is not None]
    assert measured == sorted(measured, reverse=True)
    assert numbers[: len(measured)] == measured  # what lacks the number comes last
    by_name = {r.name: r.lc_win_rate if by_lc else r.win_rate for r in official()}
    above = [r for r in found.rows if "just above r" in r.remark]
    below = [r for r in found.rows if "just below r" in r.remark]
    higher = [n for n in by_name.values() if n > value]
    lower = [n for n in by_name.values() if n < value]
    assert [r.number(found.by) for r in above] == ([min(higher)] if higher else [])
    assert [r.number(found.by) for r in below] == ([max(lower)] if lower else [])
    assert {r.name for r in found.rows if r.origin == "official"} >= set(LANDMARKS)


def test_a_run_stands_with_its_last_iteration_beside_one_row_of_each_paper() -> None:
    board = [
        alpaca(40.0, 45.0, "one", iteration=1),
        alpaca(30.0, 35.0, "one", iteration=2),
        alpaca(30.0, 20.0, "two", iteration=1),
    ]
    found = neighbours(board)
    assert found
    runs = [r for r in found.rows if r.origin == "run"]
    assert [(r.name, r.lc_win_rate) for r in runs] == [
        ("one, iteration 2", 35.0),
        ("two, iteration 1", 20.0),
    ]
    papers = [r for r in found.rows if r.origin == "paper"]
    assert len(papers) == len({(r.paper, r.base) for r in published()})
    assert {r.lc_win_rate for r in papers if r.remark.startswith("DNO,")} == {33.05}
    assert {r.win_rate for r in papers if r.remark.startswith("Self-Rewarding")} == {20.44}
    text = text_of(board)
    assert "▶ one, iteration 2" in text
    assert "22.07 ± 1.25" in text  # gpt4_0314, as published
    assert "no intervals are published" in text


def test_another_judge_is_named_and_another_opponent_has_no_place() -> None:
    own, other = alpaca(30.0, 35.0), alpaca(30.0, 35.0, judge="offline-1\x1b[2J")
    for entry, said in ((own, False), (other, True)):
        title = as_dicts([entry])["boards"][0]["neighbours"]["title"]
        assert ("another judge" in title) == ("not comparable" in title) == said
    text = text_of([other])
    assert "\x1b" not in text
    assert "judge offline-1" in text
    for entry in (
        alpaca(30.0, None, opponent="iteration 0 (smollm2-135m)"),
        alpaca(30.0, None, benchmark="mini-1"),
        alpaca(50.0, None, win_rate=Rate(50.0, 0.0, (50.0, 50.0), 32, 0, SELF)),
        alpaca(30.0, None, win_rate=Rate(30.0, None, None, 1, 0)),
    ):
        assert neighbours([entry]) is None
        assert as_dicts([entry])["boards"][0]["neighbours"] is None
    shown = as_dicts([own])["boards"][0]["neighbours"]
    assert set(shown) == {"title", "note", "by", "rows"}
    assert [r["judge"] for r in shown["rows"] if r["origin"] == "run"] == [OFFICIAL_JUDGE]
    json.dumps(shown, allow_nan=False)


# --- harness board add ------------------------------------------------------------------------


def edit(path: Path, change: Callable[[Any], None]) -> None:
    """Change a JSON file, as a new one: the old may be a hard link into the store."""
    data = json.loads(path.read_text("utf-8"))
    change(data)
    path.unlink()
    path.write_text(json.dumps(data), "utf-8")


def set_iterations(run: Path, count: int) -> None:
    edit(run / "run.json", lambda data: data["config"].update(iterations=count))


def set_scores(run: Path, iteration: int, **values: object) -> None:
    edit(run / f"iter-{iteration}" / "scores.json", lambda data: data.update(values))


def set_revision(run: Path, revision: str) -> None:
    for manifest in run.glob("iter-*/*.manifest.json"):
        edit(manifest, lambda data: data["versions"].update(git=revision))


def without_interval(run: Path) -> None:
    scores = json.loads((run / "iter-2" / "scores.json").read_text("utf-8"))
    set_scores(run, 2, win_rate={**scores["win_rate"], "ci95": None, "by_construction": None})


class Desk:
    """A finished run that may be entered, and places to enter it: a checkout, and none."""

    def __init__(self, command: Command, run: Path, folder: Path) -> None:
        self.command, self.run = command, run
        self.checkout, self.installed, self.home = (
            folder / name for name in ("checkout", "installed", "home")
        )
        (self.checkout / ".git").mkdir(parents=True)
        (self.checkout / "leaderboards" / "results").mkdir(parents=True)
        edit(run / "run.json", lambda data: data["config"].update(preset="quickstart", model="x"))
        set_revision(run, "abc1234")

    def __call__(self, *arguments: object, source: Path | None = None) -> Done:
        place = str(source or self.checkout)
        prelude = f"import pathlib, harness.places as p; p.SOURCE = pathlib.Path({place!r})"
        env = {"HARNESS_HOME": str(self.home)}
        return self.command("board", *arguments, prelude=prelude, env=env)


@pytest.fixture
def desk(command: Command, reference_copy: Path, tmp_path: Path) -> Desk:
    return Desk(command, reference_copy, tmp_path)


def test_a_run_is_entered_and_the_entry_only_grows(desk: Desk) -> None:
    assert "no run under runs/" in desk().sentence()
    set_iterations(desk.run, 1)
    path = Path(desk("add", desk.run).ok().out.strip())
    assert path == desk.checkout / "leaderboards" / "results" / "dno.jsonl"
    first = path.read_text("utf-8")
    assert [r["iteration"] for r in rows(path)] == [0, 1]
    set_iterations(desk.run, 2)
    assert desk("add", desk.run, "--json").ok().json == {"entry": str(path)}
    grown = path.read_text("utf-8")
    assert grown.startswith(first)
    assert [(r["iteration"], r["revision"]) for r in rows(path)][2:] == [(2, "abc1234")]
    assert desk("add", desk.run).ok()
    assert path.read_text("utf-8") == grown

    # shown where no run is named, and with runs of the same boards
    (board,) = desk("--json").ok().json["boards"]
    assert len(board["rows"]) == 3
    for iteration in range(3):
        set_scores(desk.run, iteration, judge="another")
    assert [len(b["rows"]) for b in desk(desk.run, "--json").ok().json["boards"]] == [3]
    set_scores(desk.run, 0, judge=board["judge"])
    named = desk("show", desk.run, "--json").ok().json["boards"]
    assert {b["judge"]: len(b["rows"]) for b in named} == {"another": 2, board["judge"]: 3}

    # another result under the same name
    set_scores(desk.run, 0, opponent=board["opponent"])
    edit(
        desk.run / "iter-0" / "scores.json",
        lambda data: data["lengths"].update(mean=1.0),
    )
    assert "append-only" in desk("add", desk.run).sentence()
    assert path.read_text("utf-8") == grown


def test_an_installed_program_keeps_entries_under_its_home(desk: Desk) -> None:
    told = desk("add", desk.run, source=desk.installed).ok()
    assert Path(told.out.strip()) == desk.home / "results" / "dno.jsonl"
    (board,) = desk("--json", source=desk.installed).ok().json["boards"]
    assert [r["iteration"] for r in sorted(board["rows"], key=lambda r: r["iteration"])] == [
        0,
        1,
        2,
    ]


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (
            lambda run: edit(run / "run.json", lambda data: data["config"].update(preset="tiny")),
            "the tiny preset or model, which proves the machinery only",
        ),
        (
            lambda run: edit(run / "run.json", lambda data: data["config"].update(model="tiny")),
            "the tiny preset or model",
        ),
        (lambda run: set_iterations(run, 3), "not finished, iteration 3 of 3 is not scored"),
        (
            lambda run: (run / "iter-0" / "scores.manifest.json").unlink(),
            "not finished, iteration 0 of 2",
        ),
        (lambda run: set_scores(run, 1, judge=""), "does not name its judge"),
        (without_interval, "has no win rate with an interval"),
        (lambda run: set_revision(run, "abc1234-dirty"), "code that nobody can check out again"),
        (
            lambda run: (run / "contamination.json").write_text(
                '[{"train_id": "a", "benchmark_id": "b", "share": 1.0}]', "utf-8"
            ),
            "prompts that hold 1 of the benchmark's instructions",
        ),
        (lambda run: (run / "run.json").unlink(), "holds no run"),
    ],
)
def test_what_breaks_a_rule_is_refused_and_nothing_is_written(
    desk: Desk, spoil: Callable[[Path], object], words: str
) -> None:
    spoil(desk.run)
    before = state(desk.checkout, desk.run)
    sentence = desk("add", desk.run).sentence()
    assert words in sentence
    assert str(desk.run) in sentence
    assert state(desk.checkout, desk.run) == before
    assert not desk.home.exists()


def test_both_forms_are_in_the_help(desk: Desk) -> None:
    told = desk("--help").ok().out
    assert "[RUN]... | add RUN" in told
    assert "harness board runs/" in told
    assert "harness board add runs/" in told
    assert "Example: harness board add" in desk("add", "--help").ok().out
