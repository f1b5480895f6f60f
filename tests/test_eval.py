"""`harness eval` through the command: one model or file of outputs, scored without a run."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from conftest import Command, Done, rows, state

JUDGE = '''
"""Prefers the longer answer, fails where the environment says so, and logs what it was asked."""
import os
from harness.types import Verdict

class Logged:
    identity = "logged-1"
    reference_based = False

    def compare(self, matches):
        for match in matches:
            with open(os.environ["ASKED"], "a") as log:
                log.write(match.id + "\\n")
            a, b = len(match.a.text) + 1, len(match.b.text) + 1
            if match.id in os.environ.get("FAILS", "").split():
                yield Verdict(match.id, None, self.identity, "timeout")
            else:
                yield Verdict(match.id, a / (a + b), self.identity)
'''
SMALL = ("--set", "benchmark.prompts=12", "--set", "benchmark.max_new_tokens=24")
NOT_VARYING = ("annotations.json", "controls.json", "matches.jsonl", "outputs.jsonl", "scores.json")


def evaluate(command: Command, model: object, out: Path, *extra: object, **how: Any) -> Done:
    """On the embedded prompts, by the judge that prefers the longer answer."""
    line = ("eval", model, "--benchmark", "mini", "--judge", "longer", "--out", out)
    return command(*line, *SMALL, *extra, **how)


@pytest.fixture(scope="module")
def tiny(command: Command, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An evaluation of the tiny model. Never written to."""
    out = tmp_path_factory.mktemp("evals") / "tiny"
    evaluate(command, "tiny", out).ok()
    return out


def test_a_model_alone_scores_as_iteration_0_of_a_run_does(
    command: Command, tiny: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    command.run(run, "--iters", 1, "--eval-judge", "longer").ok()
    for name in ("controls.json", "annotations.json", "outputs.json"):
        assert (tiny / name).read_bytes() == (run / "iter-0" / name).read_bytes(), name
    ours, theirs = (json.loads((f / "scores.json").read_text("utf-8")) for f in (
        tiny, run / "iter-0"))  # fmt: skip
    assert ours == theirs
    assert ours["win_rate"]["n"] == 12
    assert ours["length_control"]["kind"] == "length-adjusted"
    assert ours["opponent"] == "the reference answers"

    asked = json.loads((tiny / "eval.json").read_text("utf-8"))
    assert asked["config"]["benchmark"]["prompts"] == 12
    assert asked["facts"]["missing"] == 0
    assert len(asked["facts"]["model_digest"]) == len(asked["facts"]["benchmark_digest"]) == 64
    assert {"git", "torch", "posttrain-harness"} <= set(asked["versions"])

    # and so it stands beside the run's iterations on one board
    (board,) = command("board", run, tiny, "--json").json["boards"]
    placed = {(row["run"], row["iteration"]): row for row in board["rows"]}
    assert set(placed) == {("run", 0), ("run", 1), ("tiny", 0)}
    assert placed["tiny", 0]["win_rate"] == placed["run", 0]["win_rate"]
    assert placed["tiny", 0]["method"] == "(none)"


def test_repeated_it_does_nothing_and_other_settings_are_refused(
    command: Command, tiny: Path
) -> None:
    before = state(tiny.parent)
    told = evaluate(command, "tiny", tiny, "--json").ok()
    assert told.json["result"]["win_rate"]["n"] == 12
    assert told.json["controls"]["prompts"] == 12
    assert told.json["n_missing"] == 0
    quiet = evaluate(command, "tiny", tiny, "--quiet", "--set", "batch_size=5").ok()
    assert (quiet.out, quiet.err) == ("", "")
    shown = evaluate(command, "tiny", tiny).ok().out
    assert all(word in shown for word in ("length-adjusted", "padded", "longer-1", "mini-1"))
    asked = json.loads((tiny / "eval.json").read_text("utf-8"))
    assert asked["config"]["batch_size"] == 64  # the last command is what the file says
    after = state(tiny.parent)
    changed = {name for name in before if before[name] != after[name]}
    assert changed <= {str(tiny), str(tiny / "eval.json")}  # batch_size, there and back
    told_seed = evaluate(command, "tiny", tiny, "--seed", 3).sentence()
    assert "was started with seed = 0, now it is 3; name another folder with --out" in told_seed
    told_name = evaluate(command, "tiny", tiny, "--set", "benchmark.promts=3").sentence()
    assert "No setting 'benchmark.promts'" in told_name
    assert state(tiny.parent) == after


def test_outputs_are_matched_by_instruction_and_never_by_position(
    command: Command, tiny: Path, tmp_path: Path
) -> None:
    given = json.loads((tiny / "outputs.json").read_text("utf-8"))
    file = tmp_path / "mine.json"

    def scored(outputs: Any, name: str) -> Any:
        file.write_text(json.dumps(outputs), "utf-8")
        return evaluate(command, file, tmp_path / name, "--json").ok().json

    shuffled = [
        {"instruction": row["instruction"] + "\n", "output": row["output"], "generator": "policy"}
        for row in random.Random(1).sample(given, len(given))
    ]
    whole = scored(shuffled, "whole")
    of_model = evaluate(command, "tiny", tiny, "--json").ok().json
    assert whole["result"].pop("decoding") == "as given"
    assert whole["result"].pop("lengths")["mean"] == of_model["result"].pop("lengths")["mean"]
    del of_model["result"]["decoding"]
    assert (whole["result"], whole["controls"]) == (of_model["result"], of_model["controls"])
    annotations = json.loads((tmp_path / "whole" / "annotations.json").read_text("utf-8"))
    assert [row["output_2"] for row in annotations] == [row["output"] for row in given]
    assert {row["generator_2"] for row in annotations} == {"policy"}

    # what is missing is left out, counted and said; what it judged before is not judged again
    part = scored(shuffled[2:], "part")
    assert part["n_missing"] == 2
    assert part["result"]["benchmark"] == "mini-1 (10 of 12 prompts)"
    assert part["result"]["win_rate"]["n"] == 10
    shown = evaluate(command, file, tmp_path / "part").ok().out
    assert "2 prompts without output left out" in shown


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            lambda rows: [*rows, {"instruction": "Who?", "output": "I."}],
            "row 13: the benchmark has",
        ),
        (lambda rows: [*rows, rows[3]], "row 13: an output to '"),
        (lambda rows: [{"instruction": rows[0]["instruction"]}], "row 1: it needs the texts"),
        (lambda _rows: [], "no outputs in it"),
        (lambda rows: {"rows": rows}, "expected a list of rows"),
        (lambda rows: [{**row, "generator": str(n)} for n, row in enumerate(rows)], "generators"),
    ],
)
def test_a_file_that_is_no_one_s_outputs_is_refused(
    command: Command, tiny: Path, tmp_path: Path, change: Any, words: str
) -> None:
    rows_given = json.loads((tiny / "outputs.json").read_text("utf-8"))
    file = tmp_path / "mine.json"
    file.write_text(json.dumps(change(rows_given)), "utf-8")
    told = evaluate(command, file, tmp_path / "out").sentence()
    assert told.startswith(str(file))
    assert words in told
    assert sorted(tmp_path.iterdir()) == [file]


def test_killed_while_judging_it_asks_for_the_rest_only(
    command: Command, tiny: Path, tmp_path: Path
) -> None:
    """…and failed judgements, controls' too, are asked for again without the others."""
    judge, log = tmp_path / "judge.py", tmp_path / "asked"
    judge.write_text(JUDGE, "utf-8")
    line = ("eval", "tiny", "--benchmark", "mini", "--judge", f"{judge}:Logged", *SMALL)
    dies = """
import os
from harness import codec, store
append, seen = store.Rows.append, []
def torn(self, row):
    if self._path.name == "matches.jsonl":
        seen.append(row)
        if len(seen) == 30:  # a control's; half of it is there
            self._out.write(codec.line(row)[:20])
            self._out.flush()
            os.kill(os.getpid(), 9)
    append(self, row)
store.Rows.append = torn
"""

    def run(name: str, fails: Sequence[str] = (), prelude: str = "") -> tuple[int, list[str]]:
        log.write_text("")
        env = {"ASKED": str(log), "FAILS": " ".join(fails)}
        done = command(*line, "--out", tmp_path / name / "e", env=env, prelude=prelude)
        return done.code, log.read_text("utf-8").split()

    _, everything = run("whole")
    assert len(everything) == 12 + 3 * 12
    failing = [everything[2], everything[40]]
    code, before = run("cut", failing, dies)
    assert (code, before) == (-9, everything[:30])
    code, after = run("cut", failing)
    # what had failed, the torn row, and all that had not been asked
    assert (code, after) == (0, [everything[2], *everything[29:]])
    manifest = json.loads((tmp_path / "cut/e/scores.manifest.json").read_text("utf-8"))
    assert manifest["failed"] == 2
    scores = json.loads((tmp_path / "cut/e/scores.json").read_text("utf-8"))
    assert scores["win_rate"]["failures"] == {"timeout": 1}
    assert scores["win_rate"]["n"] == 11
    annotations = json.loads((tmp_path / "cut/e/annotations.json").read_text("utf-8"))
    (failed,) = [row for row in annotations if row["preference"] is None]
    assert failed["error"] == "timeout"
    code, again = run("cut")
    assert (code, again) == (0, failing)
    for name in NOT_VARYING:
        paths = [tmp_path / folder / "e" / name for folder in ("whole", "cut")]
        assert paths[0].read_bytes() == paths[1].read_bytes(), name


def test_controls_are_a_seeded_sample_judged_like_the_outputs(
    command: Command, tiny: Path, tmp_path: Path
) -> None:
    five = ("--set", "benchmark.controls=5")
    told = evaluate(command, "tiny", tmp_path / "five", *five, "--json").ok().json["controls"]
    assert (told["prompts"], told["judge"]) == (5, "longer-1")
    assert told["opponent"] == "the reference answers"
    named = {control["name"]: control for control in told["controls"]}
    assert list(named) == ["null", "padded", "shortened"]
    assert named["padded"]["vs_own"]["ci95"][0] > 0 > named["shortened"]["vs_own"]["ci95"][1]
    own = told["own"]["value"]
    for control in named.values():
        gap = control["win_rate"]["value"] - own
        assert control["vs_own"]["value"] == pytest.approx(gap)
    # its own rate is of the verdicts that the outputs got
    said = {row["id"]: row["p"] for row in rows(tmp_path / "five" / "matches.jsonl")}
    sampled = sorted(name.removesuffix("/null") for name in said if name.endswith("/null"))
    assert own == pytest.approx(20 * sum(said[f"{name}/opponent"] for name in sampled))

    # another model's outputs are controlled on the same prompts; another seed takes others
    given = json.loads((tiny / "outputs.json").read_text("utf-8"))
    other = tmp_path / "other.json"
    other.write_text(json.dumps([{**row, "output": "So be it."} for row in given]), "utf-8")

    def sample(out: str, *extra: object) -> list[str]:
        evaluate(command, other, tmp_path / out, *five, *extra).ok()
        found = [row["id"] for row in rows(tmp_path / out / "matches.jsonl")]
        return sorted(name.removesuffix("/null") for name in found if name.endswith("/null"))

    assert sample("same") == sampled
    assert sample("seed", "--seed", 5) != sampled


def test_its_annotations_score_to_the_same_numbers(command: Command, tiny: Path) -> None:
    scores = json.loads((tiny / "scores.json").read_text("utf-8"))
    told = command("score", "--annotations", tiny / "annotations.json", "--json").ok().json
    assert told["win_rate"] == pytest.approx(scores["win_rate"]["value"], abs=1e-12)
    adjusted = scores["length_control"]["value"]
    assert told["length_adjusted_winrate"] == pytest.approx(adjusted, abs=1e-9)
    assert told["judge"] == "longer-1"


def test_without_an_opponent_nothing_begins(command: Command, tmp_path: Path) -> None:
    out = ("--out", tmp_path / "out")
    told = command("eval", "tiny", "--benchmark", "mini", "--judge", "reference", *out).sentence()
    assert told.startswith("The judge 'reference' scores by the gold answers")
    assert "--judge" in told
    bare = tmp_path / "bare.jsonl"
    bare.write_text('{"id": "a", "prompt": "Hi", "gold": "Ho"}\n{"id": "b", "prompt": "Yo"}\n')
    told = command("eval", "tiny", "--benchmark", bare, "--judge", "longer", *out).sentence()
    assert "1 prompts of" in told
    assert "'b'" in told
    full = tmp_path / "full"
    full.mkdir()
    (full / "thesis.txt").write_text("precious")
    told = evaluate(command, "tiny", full).sentence()
    assert "full is not empty and holds no evaluation" in told
    assert "check the path" in evaluate(command, "nowhere.json", tmp_path / "out").sentence()
    assert sorted(file.name for file in tmp_path.iterdir()) == ["bare.jsonl", "full"]
