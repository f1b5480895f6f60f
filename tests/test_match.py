"""Several methods at one cost: `--match steps|tokens|judgements`."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import pytest
from conftest import NO_REPORT, Command, Done, contents, rows, state

METHODS = ("dno", "iterative-dpo", "sft")
SMALL = ("--judge", "longer", "--set", "train.batch_size=2")
"""So that twelve examples are six steps."""
TWICE = """
from dataclasses import dataclass
from typing import ClassVar
from harness.types import Hyper
from trainers.sft import SFT

@dataclass(frozen=True)
class Twice(SFT):
    name: ClassVar[str] = "twice"
    defaults: ClassVar[Hyper] = Hyper(epochs=2)
"""
KILL = """
import os, signal, harness.store
done = harness.store.Store._run
def run(self, stage, folder):
    if stage.name == "train":
        left[0] -= 1
        if not left[0]:
            os.kill(os.getpid(), signal.SIGKILL)
    return done(self, stage, folder)
left = [AFTER]
harness.store.Store._run = run
"""


def run(
    command: Command, out: Path, match: str, *more: object, methods: str = "", prelude: str = ""
) -> Done:
    line = ("--method", methods or ",".join(METHODS), "--match", match, "--out", out)
    preset = ("--preset", "tiny", "--iters", 2)
    return command("run", *line, *preset, *SMALL, *more, prelude=NO_REPORT + prelude)


def trained(out: Path, method: str, iteration: int) -> Any:
    return json.loads((out / method / f"iter-{iteration}" / "train.json").read_text("utf-8"))


@pytest.fixture(scope="module")
def steps(command: Command, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Done]:
    out = tmp_path_factory.mktemp("steps") / "all"
    return out, run(command, out, "steps", "--json").ok()


def test_steps_are_the_fewest_of_each_iteration(steps: tuple[Path, Done]) -> None:
    out, done = steps
    for t in (1, 2):
        found = {method: trained(out, method, t) for method in METHODS}
        counts = {method: len(summary["steps"]) for method, summary in found.items()}
        possible = {m: -(-(s["examples"] + s["set_aside"]) // 2) for m, s in found.items()}
        assert set(counts.values()) == {min(possible.values())}
        assert max(possible.values()) > min(possible.values())
        for method, summary in found.items():
            assert bool(summary["set_aside"]) == (possible[method] > counts[method])
    told = done.json
    assert told["match"] == "steps"
    assert len({cost["steps"] for cost in told["spent"].values()}) == 1
    assert told["spent"]["sft"]["judgements"] == 0
    assert told["spent"]["dno"]["judgements"] == 2 * 6 * 6  # pools of three and the gold answer
    for method, cost in told["spent"].items():
        assert cost["tokens"] == sum(trained(out, method, t)["tokens"] for t in (1, 2))
    total = told["spent"]["sft"]["steps"]
    (caveat,) = (c for c in told["comparison"]["caveats"] if "matched" in c)
    assert caveat == (
        f"training steps are matched in each iteration: dno {total}, iterative-dpo {total}, "
        f"sft {total}"
    )


def test_the_same_command_does_nothing_and_others_are_refused(
    command: Command, steps: tuple[Path, Done]
) -> None:
    out, _ = steps
    before = state(out)
    again = run(command, out, "steps").ok()
    assert "What training took (steps alike in each iteration)" in again.out
    assert state(out) == before
    line = ("--preset", "tiny", "--iters", 2, "--out", out, "--method", ",".join(METHODS), *SMALL)
    plans = command("plan", *line, "--match", "steps", "--json").ok().json
    assert [plan["to_do"]["stages"] for plan in plans] == [0, 0, 0]
    for match in ("tokens", "judgements"):
        other = run(command, out, match, methods="dno,iterative-dpo").sentence()
        assert "was started with match.cost = steps, now it is" in other
    alone = command.run(out / "dno", *SMALL).sentence()
    assert "was started with match = " in alone
    assert "now it is None" in alone
    assert state(out) == before


def test_killed_in_step_it_goes_on_in_step(
    command: Command, steps: tuple[Path, Done], tmp_path: Path
) -> None:
    out = tmp_path / "all"
    for after in (2, 3):  # the second method's first training, then all three's second
        killed = run(command, out, "steps", prelude=KILL.replace("AFTER", str(after)))
        assert killed.code == -signal.SIGKILL
    run(command, out, "steps").ok()
    for method in METHODS:
        assert contents(out / method) == contents(steps[0] / method), method


def test_tokens_are_no_more_than_the_fewest(command: Command, tmp_path: Path) -> None:
    done = run(command, tmp_path / "all", "tokens", "--json").ok()
    for t in (1, 2):
        found = {method: trained(tmp_path / "all", method, t) for method in METHODS}
        least = min(summary["tokens"] for summary in found.values() if not summary["set_aside"])
        for summary in found.values():
            assert summary["tokens"] <= least
            # what is missing is less than an example of the longest
            assert summary["tokens"] > least - 2 * 2048
        assert any(summary["set_aside"] for summary in found.values())
    assert done.json["match"] == "tokens"


def test_judgements_are_the_fewest_by_fewer_prompts(command: Command, tmp_path: Path) -> None:
    methods = "dno,iterative-dpo"
    done = run(command, tmp_path / "all", "judgements", "--json", methods=methods).ok()
    # six judgements a pool of four, three a pool of three: half the prompts
    for method, prompts in (("dno", 3), ("iterative-dpo", 6)):
        for t in (1, 2):
            folder = tmp_path / "all" / method / f"iter-{t}"
            assert len(rows(folder / "verdicts.jsonl")) == 18
            assert json.loads((folder / "composition.json").read_text("utf-8"))["inputs"] == prompts
    assert {cost["judgements"] for cost in done.json["spent"].values()} == {36}


def test_whole_epochs_are_matched(command: Command, tmp_path: Path) -> None:
    file = tmp_path / "twice.py"
    file.write_text(TWICE, "utf-8")
    out = tmp_path / "all"
    line = ("--iters", 1, "--set", "data.per_iteration=7")
    run(command, out, "steps", *line, methods=f"sft,{file}:Twice").ok()
    # four steps in one epoch of seven; two epochs of two steps
    assert [trained(out, name, 1)["examples"] for name in ("sft", "Twice")] == [7, 4]
    assert [len(trained(out, name, 1)["steps"]) for name in ("sft", "Twice")] == [4, 4]
    big = ("--iters", 1, "--set", "train.batch_size=64")
    told = run(command, tmp_path / "big", "steps", *big, methods=f"sft,{file}:Twice").sentence()
    assert "no number of steps that all can make in whole epochs (sft 1 epochs and 1 steps" in told


@pytest.mark.parametrize(
    ("match", "methods", "more", "says"),
    [
        ("steps", "dno", (), "--match is for several methods"),
        ("judgements", "dno,sft", (), "'sft' asks the judge nothing in iteration 1; leave it out"),
        ("judgements", "dno,self-rewarding", (), "'self-rewarding' asks the judge nothing"),
        ("judgements", "dno,iterative-dpo", ("--set", "data.per_iteration=1"), "for one prompt"),
    ],
)
def test_what_makes_no_sense_is_refused_before_anything_runs(
    command: Command, tmp_path: Path, match: str, methods: str, more: tuple[object, ...], says: str
) -> None:
    out = tmp_path / "runs"
    assert says in run(command, out, match, *more, methods=methods).sentence()
    assert not out.exists()


def test_one_without_examples_stops_them_all(command: Command, tmp_path: Path) -> None:
    # under this judge the teacher wins nothing in iteration 2
    rare = ("--judge", "reference", "--set", "method.replay=[]")
    done = run(command, tmp_path / "all", "steps", *rare, methods="dno-restrictive,sft")
    assert "'dno-restrictive' has no example in iteration 2" in done.sentence()
    assert (tmp_path / "all" / "sft" / "iter-1" / "scores.json").exists()
