"""Which iterate is best: read from validation prompts, told beside the last one."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import Command, rows, store_folder

from harness.judges.offline.judge import OfflineJudge
from harness.records import RunRecord
from harness.runs import read_run
from harness.told import best_line
from harness.types import WinRate


def won(run: RunRecord, *values: float | None) -> RunRecord:
    """The run with other validation win rates, one an iteration from 1 on."""
    first, *others = run.iterations
    rates = [
        WinRate(None, None, None, 0, 0, 0, 0, 4)
        if value is None
        else WinRate(value, 5.0, (value - 9, value + 9), 4, 0, 0, 0, 0)
        for value in values
    ]
    changed = [replace(r, validation=rate) for r, rate in zip(others, rates, strict=True)]
    return replace(run, iterations=(first, *changed))


def test_an_iterate_s_validation_is_its_answers_against_iteration_0_s(reference: Path) -> None:
    run = read_run(reference)
    assert [r.validation is None for r in run.iterations] == [True, False, False]
    for t, record in enumerate(run.iterations[1:], start=1):
        said = rows(reference / f"iter-{t}" / "validation-matches.jsonl")
        answers = rows(reference / f"iter-{t}" / "validation.jsonl")
        assert [row["id"] for row in said] == [row["prompt_id"] for row in answers]
        assert record.validation is not None
        mean = 100 * sum(row["p"] for row in said) / len(said)
        assert record.validation.value == pytest.approx(mean)
        # no benchmark prompt has a say, and no training prompt
        seen = {row["prompt_id"] for name in ("samples", "outputs") for i in (1, 2)
                for row in rows(reference / f"iter-{i}" / f"{name}.jsonl")}  # fmt: skip
        assert not seen & {row["id"] for row in said}


def test_the_best_iterate_is_the_earliest_of_the_highest(reference: Path) -> None:
    run = read_run(reference)
    for values, best in (
        ((60.0, 70.0), 2), ((70.0, 60.0), 1), ((60.0, 60.0), 1), ((50.0, 40.0), 0),
        ((None, 51.0), 2), ((49.0, None), 0), ((None, 49.0), 0),
    ):  # fmt: skip
        found = won(run, *values).best
        assert found is not None
        assert found.iteration == best, values
    assert won(run, None, None).best is None
    assert "not chosen" in best_line(won(run, None, None))
    line = best_line(won(run, 70.0, 60.0))
    assert line.startswith(f"best iterate by {OfflineJudge().identity} on validation prompts")
    assert "iteration 1 (70.0" in line
    assert "the last is iteration 2 (60.0" in line
    assert best_line(won(run, 60.0, 70.0)).endswith("which is also the last")


def test_the_judge_of_the_benchmark_has_no_part_in_the_choice(
    command: Command, reference: Path, tmp_path: Path
) -> None:
    """Another evaluation judge: the same artefacts, iteration by iteration."""
    fork = tmp_path / "fork"
    command.run(reference, "--fork", fork, "--eval-judge", "longer").ok()
    for t in (0, 1, 2):
        shown = json.loads((fork / f"iter-{t}" / "validation.manifest.json").read_text("utf-8"))
        assert shown["fingerprint"] == store_folder(reference, t, "validation").name
    ours, theirs = read_run(fork).best, read_run(reference).best
    assert ours is not None
    assert theirs is not None
    assert (ours.iteration, ours.validation) == (theirs.iteration, theirs.validation)
