"""`harness score` and `harness compare` on files, good and bad."""

from __future__ import annotations

import csv
import io
import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from conftest import Command

Row = dict[str, Any]

KEYS = {
    *("n_total", "win_rate", "standard_error", "n_wins", "n_wins_base", "n_draws"),
    *("discrete_win_rate", "avg_length", "length_controlled_winrate", "lc_ci95", "win_rate_ci95"),
    *("lc_spread", "lc_fit", "n_failed", "n_missing"),
}


def annotations(n: int = 40, seed: int = 0, lift: float = 0.0, **fixed: Any) -> list[Row]:
    """AlpacaEval's format; the longer answer tends to win."""
    rng = random.Random(seed)
    rows = []
    for i in range(n):
        ours, theirs = rng.randint(10, 300), 40 + 7 * (i % 30)
        p = min(1.0, max(0.0, 0.5 + (ours - theirs) / 600 + lift + rng.gauss(0, 0.15)))
        rows.append(
            {
                "instruction": f"Task number {i}",
                "output_1": "b" * theirs,
                "generator_1": "base",
                "output_2": "m" * ours,
                "generator_2": f"model-{seed}",
                "annotator": "a-judge",
                "preference": 1 + p,
                **fixed,
            }
        )
    return rows


def write(path: Path, rows: Sequence[Row]) -> Path:
    if path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    elif path.suffix == ".parquet":
        import pandas as pd

        pd.DataFrame(rows).to_parquet(path)
    else:
        path.write_text(json.dumps(list(rows)), "utf-8")
    return path


def score(command: Command, path: Path, *more: object) -> Any:
    return command("score", "--annotations", path, "--json", *more).ok().json


# --- score ------------------------------------------------------------------------------------


def test_every_format_and_any_order_give_the_same_numbers(command: Command, tmp_path: Path) -> None:
    rows = annotations()
    lengths = [
        {
            **{k: v for k, v in row.items() if not k.startswith("output")},
            "len_model": len(row["output_2"]),
            "len_baseline": len(row["output_1"]),
        }
        for row in rows
    ]
    shuffled = random.Random(4).sample(rows, len(rows))
    told = [
        score(command, write(tmp_path / name, given))
        for name, given in (
            ("a.json", rows),
            ("shuffled.json", shuffled),
            ("b.jsonl", lengths),
            ("c.parquet", lengths),
        )
    ]
    assert told[0] == told[1] == told[2] == told[3]
    first = told[0]
    assert first.keys() >= KEYS
    assert first["n_total"] == 40
    assert first["win_rate"] == pytest.approx(
        100 * sum(row["preference"] - 1 for row in rows) / 40, abs=1e-9
    )
    # these are not AlpacaEval's instructions: nothing is called LC
    assert first["length_controlled_winrate"] is None
    assert first["lc_ci95"] is None
    assert first["n_missing"] is None
    low, high = first["length_adjusted_ci95"]
    assert low < first["length_adjusted_winrate"] < high
    assert first["length_adjusted_fit"]["phi"] is None
    table = command("score", "--annotations", tmp_path / "a.json").ok().out
    assert "length-adjusted win rate" in table
    assert "a-judge" in table


def test_c_and_seed_are_taken(command: Command, tmp_path: Path) -> None:
    path = write(tmp_path / "a.json", annotations())
    usual, strict = score(command, path), score(command, path, "--c", 0.01)
    assert usual["length_adjusted_fit"]["C"] == pytest.approx(21.544, abs=1e-3)
    assert strict["length_adjusted_fit"]["C"] == 0.01
    assert strict["length_adjusted_winrate"] != usual["length_adjusted_winrate"]
    other = score(command, path, "--seed", 1)
    assert other["win_rate"] == usual["win_rate"]
    assert other["win_rate_ci95"] != usual["win_rate_ci95"]


@pytest.mark.parametrize("failure", [None, -1, float("nan")])
def test_a_failed_judgement_is_counted_and_never_scored(
    command: Command, tmp_path: Path, failure: float | None
) -> None:
    rows = annotations()
    clean = score(command, write(tmp_path / "clean.json", rows[2:]))
    rows[0]["preference"] = failure
    rows[1] |= {"preference": failure, "error": "timeout"}
    told = score(command, write(tmp_path / "failed.json", rows))
    assert told["n_failed"] == 2
    assert told["failures"]["timeout"] == 1
    for name in ("n_total", "win_rate", "win_rate_ci95", "length_adjusted_winrate"):
        assert told[name] == clean[name]
    assert "2 of 40 judgements failed" in told["caveats"][0]


def test_a_draw_is_one_and_a_half_or_zero(command: Command, tmp_path: Path) -> None:
    rows = annotations(4)
    for row, preference in zip(rows, (0, 1.5, 2, 1), strict=True):
        row["preference"] = preference
    told = score(command, write(tmp_path / "a.json", rows))
    assert (told["n_draws"], told["n_wins"], told["n_wins_base"]) == (2, 1, 1)
    assert told["win_rate"] == told["discrete_win_rate"] == 50


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        pytest.param(annotations(1), "one judged instruction", id="one row"),
        pytest.param(annotations(20, preference=2.0), "all preferences are equal", id="constant"),
        pytest.param(
            annotations(20, output_1="b" * 9, output_2="m" * 30),
            "all length differences are equal",
            id="equal lengths",
        ),
        pytest.param(
            [{"instruction": f"t{i}", "preference": 1.2 + i / 50} for i in range(9)],
            "9 rows have no lengths",
            id="no lengths",
        ),
    ],
)
def test_a_number_with_its_caveat(
    command: Command, tmp_path: Path, rows: list[Row], says: str
) -> None:
    told = score(command, write(tmp_path / "a.json", rows))
    assert any(says in said for said in told["caveats"]), told["caveats"]
    assert told["win_rate"] is not None
    numbers = [v for v in told.values() if isinstance(v, float)]
    assert all(number == number for number in numbers)
    assert says in command("score", "--annotations", tmp_path / "a.json").ok().out


def changed(at: int, **values: Any) -> list[Row]:
    rows = annotations(6)
    rows[at] |= values
    return rows


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        pytest.param(changed(2, preference=2.5), "row 3: preference 2.5 lies outside", id="2.5"),
        pytest.param(changed(0, preference=0.3), "row 1: preference 0.3 lies outside", id="0.3"),
        pytest.param(changed(0, preference=float("inf")), "lies outside", id="inf"),
        pytest.param(changed(1, preference="yes"), "row 2: preference 'yes' is no", id="text"),
        pytest.param(changed(1, preference=True), "row 2: preference True is no", id="bool"),
        pytest.param([], "no judgements in it", id="empty list"),
        pytest.param(
            changed(4, instruction="Task number 1"),
            "row 5: the same instruction as in row 2",
            id="twice",
        ),
        pytest.param(changed(3, instruction=None), "row 4: it has no text", id="no instruction"),
        pytest.param(["text"], "row 1: it has no text", id="no object"),
        pytest.param([{"instruction": "x"}], "no 'preference'", id="no preference"),
        pytest.param(changed(3, generator_2="other"), "judgements of 2 models", id="two models"),
        pytest.param(changed(3, annotator="other"), "judgements of 2 judges", id="two judges"),
        pytest.param(changed(3, output_2=None, len_model=-4), "no number of char", id="length"),
    ],
)
def test_a_bad_file_is_one_sentence(
    command: Command, tmp_path: Path, rows: list[Row], says: str
) -> None:
    path = write(tmp_path / "bad.json", rows)
    told = command("score", "--annotations", path)
    assert says in told.sentence()
    assert str(path) in told.sentence()
    assert told.out == ""


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("a.json", "", "not valid JSON"),
        ("a.json", "[" * 100_000, "not valid JSON"),
        ("a.json", "{}", "expected a list"),
        ("a.jsonl", "", "no judgements in it"),
        ("a.jsonl", "{", "line 1: not valid JSON"),
        ("a.parquet", "x", "not a readable parquet"),
        ("a.json", None, "no such file"),
    ],
)
def test_a_file_that_is_none_is_one_sentence(
    command: Command, tmp_path: Path, name: str, content: str | None, says: str
) -> None:
    if content is not None:
        (tmp_path / name).write_text(content, "utf-8")
    assert says in command("score", "--annotations", tmp_path / name).sentence()


# --- compare ----------------------------------------------------------------------------------


@pytest.fixture
def three(tmp_path: Path) -> list[Path]:
    return [
        write(tmp_path / f"{name}.json", annotations(60, seed, lift))
        for name, seed, lift in (("even", 1, 0.0), ("same", 2, 0.0), ("strong", 3, 0.3))
    ]


def test_compare_tells_apart_what_differs(command: Command, three: list[Path]) -> None:
    told = command("compare", *three, "--json").ok().json
    assert told["judge"] == "a-judge"
    assert told["shared_instructions"] == 60
    assert told["length_control"] == "length-adjusted"
    assert [s["name"] for s in told["standings"]] == ["model-1", "model-2", "model-3"]
    pairs = {(c["a"], c["b"]): c for c in told["comparisons"]}
    assert pairs["model-1", "model-2"]["better"] is None
    assert pairs["model-1", "model-3"]["better"] == "model-3"
    for pair in pairs.values():
        for name in ("win_rate", "length_control"):
            gap = pair[name]["difference"]
            assert gap["ci95"][0] < gap["value"] < gap["ci95"][1]
            assert pair[name]["p_holm"] >= gap["p_value"]
    swapped = command("compare", *three[::-1], "--json").ok().json
    back = {(c["a"], c["b"]): c for c in swapped["comparisons"]}
    ours, theirs = pairs["model-1", "model-3"], back["model-3", "model-1"]
    gaps = [pair["win_rate"]["difference"]["value"] for pair in (ours, theirs)]
    assert gaps[0] == pytest.approx(-gaps[1])
    assert ours["better"] == theirs["better"]


def test_a_difference_is_what_score_says_of_each(command: Command, three: list[Path]) -> None:
    a, b = (score(command, path) for path in three[:2])
    told = command("compare", *three[:2], "--json").ok().json["comparisons"][0]
    for name, key in (("win_rate", "win_rate"), ("length_control", "length_adjusted_winrate")):
        assert told[name]["difference"]["value"] == pytest.approx(a[key] - b[key], abs=1e-6)


def test_only_shared_instructions_count(command: Command, tmp_path: Path) -> None:
    long, short = annotations(60, 1), annotations(60, 2)[:45]
    short[0]["preference"] = None
    paths = [write(tmp_path / "a.json", long), write(tmp_path / "b.json", short)]
    told = command("compare", *paths, "--json").ok().json
    assert told["shared_instructions"] == 44
    assert [said.split(":")[0] for said in told["caveats"]] == ["model-1", "model-2"]
    trimmed = [write(tmp_path / "c.json", long[1:45]), write(tmp_path / "d.json", short[1:])]
    assert command("compare", *trimmed, "--json").ok().json["comparisons"] == told["comparisons"]


def test_markdown_and_csv_hold_hostile_names(command: Command, tmp_path: Path) -> None:
    names = ("=cmd|calc", "a|b<script>\x1b[31m")
    paths = [
        write(tmp_path / f"{i}.json", annotations(20, i, generator_2=name))
        for i, name in enumerate(names)
    ]
    markdown = command("compare", *paths, "--markdown").ok().out
    assert "<script>" not in markdown
    assert "\x1b" not in markdown
    widths = {
        len(line.replace("\\|", "").split("|")) for line in markdown.split("\n") if "|" in line[:1]
    }
    assert widths == {6, 8}
    (line,) = csv.DictReader(io.StringIO(command("compare", *paths, "--csv").ok().out))
    assert line["a"] == "'=cmd|calc"
    assert float(line["win_rate_low"]) < float(line["win_rate"]) < float(line["win_rate_high"])
    assert "\x1b" not in command("compare", *paths).ok().out


def test_what_cannot_be_compared_is_refused(command: Command, tmp_path: Path) -> None:
    good = write(tmp_path / "good.json", annotations(20, 1))
    for name, rows, says in (
        ("judge", annotations(20, 2, annotator="another"), "different judges"),
        ("base", annotations(20, 2, generator_1="another"), "different baselines"),
        ("texts", annotations(20, 2, output_1="short"), "against different baselines"),
        ("none", annotations(20, 2)[:0] or annotations(1, 2, instruction="x"), "share no"),
    ):
        other = write(tmp_path / f"{name}.json", rows)
        assert says in command("compare", good, other).sentence()
    assert "at least two" in command("compare", good).sentence()
    assert "named twice" in command("compare", good, good).sentence()
    assert "neither annotations.json" in command("compare", good, tmp_path).sentence()
    assert "choose one" in command("compare", good, good, "--csv", "--json").sentence()


def outputs(path: Path, rows: Sequence[Row], name: str) -> Path:
    kept = [{"instruction": r["instruction"], "output": r["output_2"]} for r in rows]
    return write(path, [{**row, "generator": name} for row in kept])


def test_a_judge_compares_head_to_head(command: Command, tmp_path: Path) -> None:
    """Judgements and bare outputs give the same answer of the judge; it prefers what is longer."""
    short, long = annotations(30, 1), annotations(30, 2)
    for row in long:
        row["output_2"] += "m" * 400
    judged = [write(tmp_path / "a.json", short), write(tmp_path / "b.json", long)]
    bare = [outputs(tmp_path / "x.json", short, "x"), outputs(tmp_path / "y.json", long, "y")]
    told = command("compare", *judged, "--judge", "longer", "--json").ok().json
    (duel,) = told["comparisons"]
    assert told["head_judge"].startswith("longer")
    assert duel["win_rate"] is not None
    assert duel["head_to_head"]["win_rate"]["ci95"][1] < 50
    alone = command("compare", *bare, "--judge", "longer", "--json").ok().json
    (only,) = alone["comparisons"]
    assert (alone["judge"], only["win_rate"], only["better"]) == (None, None, "y")
    assert only["head_to_head"] == duel["head_to_head"]
    for form in ("--markdown", "--csv"):
        assert command("compare", *bare, "--judge", "longer", form).ok().out
    assert "y is better" in command("compare", *bare, "--judge", "longer").ok().out
    assert "holds outputs without judgements" in command("compare", *bare).sentence()
    refused = command("compare", *bare, "--judge", "reference")
    assert "scores by a gold answer" in refused.sentence()
    other = outputs(tmp_path / "z.json", annotations(3, instruction="else")[:1], "z")
    assert (
        "share no instruction" in command("compare", bare[0], other, "--judge", "longer").sentence()
    )


def test_runs_are_compared_by_their_last_iteration(command: Command, tmp_path: Path) -> None:
    run = tmp_path / "runs" / "dno"
    command.run(run, "--eval-judge", "shorter").ok()
    told = command("compare", run / "iter-0", run, "--json").ok().json
    result = json.loads((run / "iter-2" / "scores.json").read_text("utf-8"))
    for name in ("win_rate", "length_control"):
        ours, theirs = told["standings"][1][name], result[name]
        assert ours["value"] == pytest.approx(theirs["value"])
        assert ours["ci95"] == pytest.approx(theirs["ci95"])
    assert told["judge"] == result["judge"]
    assert told["baseline"] == result["opponent"]
