"""Several methods in one command: the runs are what each alone would be, and they are compared."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import Command, Done, differing, state

METHOD = """
from dataclasses import dataclass
from typing import ClassVar
from harness.types import Hyper, Plan

@dataclass(frozen=True)
class Nothing:
    name: ClassVar[str] = "nothing"
    paper: ClassVar[str] = "none"
    defaults: ClassVar[Hyper] = Hyper()

    def plan(self, iteration, iterations):
        return Plan(samples=0, sampler="none", gold=True, judge="none")

    def examples(self, group, rng):
        return []

    def loss(self, policy, references, batch):
        raise NotImplementedError
"""


def several(command: Command, out: Path, methods: str, *more: object) -> Done:
    line = ("run", "--method", methods, "--preset", "tiny", "--iters", 2, "--out", out, *more)
    return command(*line)


@pytest.fixture(scope="module")
def two(command: Command, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Done]:
    out = tmp_path_factory.mktemp("several")
    return out, several(command, out, "sft,dno", "--json").ok()


def test_each_run_is_what_it_is_alone_and_shares_what_is_equal(
    two: tuple[Path, Done], reference: Path
) -> None:
    out, done = two
    assert differing(out / "dno", reference) == []
    assert done.err.count("generate 12 outputs") == 1 + 2 + 2  # iteration 0 once for both
    told = done.json
    assert [Path(run).name for run in told["runs"]] == ["sft", "dno"]
    assert told["failed"] == {}
    (duel,) = told["comparison"]["comparisons"]
    assert (duel["a"], duel["b"]) == ("sft", "dno")
    assert duel["win_rate"]["difference"]["ci95"]
    assert {row["run"] for row in told["boards"][0]["rows"]} == {"sft", "dno"}
    assert "sft and dno" in (out / "report" / "index.html").read_text("utf-8")


def test_the_same_command_again_does_nothing(command: Command, two: tuple[Path, Done]) -> None:
    out, _ = two
    before = state(out)
    told = several(command, out, "sft,dno").ok()
    assert "generate" not in told.err
    assert "Differences in percentage points" in told.out
    assert state(out) == before


def test_one_that_fails_does_not_stop_the_others(command: Command, tmp_path: Path) -> None:
    file = tmp_path / "nothing.py"
    file.write_text(METHOD, "utf-8")
    done = several(command, tmp_path / "runs", f"{file}:Nothing,sft")
    assert done.sentence().startswith("1 of the methods did not finish: ")
    assert "the others go on" in done.err
    assert (tmp_path / "runs" / "sft" / "iter-2" / "scores.json").exists()


def test_settings_go_to_the_methods_that_have_them(command: Command, tmp_path: Path) -> None:
    line = ("plan", "--preset", "tiny", "--iters", 1, "--out", tmp_path / "x", "--json")
    plans = command(*line, "--method", "sft,dno", "--set", "method.beta=0.25").ok().json
    assert [plan["config"]["method"] for plan in plans] == ["sft", "dno"]
    assert "beta" not in plans[0]["config"]["settings"]
    assert plans[1]["config"]["settings"]["beta"] == 0.25
    refused = command(*line, "--method", "sft,dno", "--set", "method.gamma=1")
    assert "none of the methods has the setting 'gamma'" in refused.sentence()


@pytest.mark.parametrize(
    ("methods", "more", "says"),
    [
        ("dno,dno", (), "write different methods"),
        ("dno,", (), "write different methods"),
        ("dno,spni", (), "spin"),
        ("dno,sft", ("--fork", "elsewhere"), "--fork goes with one --method"),
        ("dno,sft", ("--benchmark", "none.jsonl"), "none.jsonl"),
    ],
)
def test_what_is_wrong_is_said_before_anything_runs(
    command: Command, tmp_path: Path, methods: str, more: tuple[object, ...], says: str
) -> None:
    out = tmp_path / "runs"
    assert says in several(command, out, methods, *more).sentence()
    assert not out.exists()
