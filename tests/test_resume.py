"""Killed, interrupted, out of disk, corrupted: the same command ends in the same bytes."""

from __future__ import annotations

import json
import shlex
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from command import run_line
from conftest import Command, differing, rows, state, store_folder

# Code that runs before the command, in its process. `die` is what comes over it.
DEATHS = """
import os, signal
import harness.app, harness.folders, harness.training.optimise, harness.training.train
from harness import codec, store

def die():
    os.kill(os.getpid(), signal.SIGKILL)

def before(owner, name, when):
    original = getattr(owner, name)
    def patched(*args, **kwargs):
        if when(*args):
            die()
        return original(*args, **kwargs)
    setattr(owner, name, patched)

def nth(n, when=lambda *_: True):
    left = [n]
    def count(*args):
        left[0] -= bool(when(*args))
        return left[0] < 1
    return count

def at_row(file, n):
    # within the n-th row that this process writes into a file: half of it is there
    reached = nth(n, lambda rows, _row: rows._path.name == file)
    def torn(rows, row):
        if not reached(rows, row):
            return False
        text = codec.line(row)
        rows._out.write(text[:len(text) // 2])
        rows._out.flush()
        return True
    before(store.Rows, "append", torn)

def before_writing(file, stage=None):
    before(codec, "write_json", lambda path, data:
        path.name == file and (stage is None or data["stage"] == stage))
"""

# What kills each start in turn; `rows` are torn, the others stand between two files. The chain
# goes twice through every stage: in iteration 2 there are replayed examples and a second anchor.
KILLS = [
    'before_writing("run.json")',
    'at_row("outputs.jsonl", 5)',
    'before_writing("outputs.json")',
    'before_writing("manifest.json", "scores")',
    'at_row("samples.jsonl", 7)',
    'at_row("samples.jsonl", 4)',
    'at_row("verdicts.jsonl", 10)',
    'before_writing("manifest.json", "verdicts")',
    'at_row("examples.jsonl", 3)',
    'before_writing("composition.json")',
    'before(harness.training.optimise.StepTrainer, "log", nth(2))',
    'before_writing("manifest.json", "train")',
    'at_row("outputs.jsonl", 12)',
    'at_row("validation-matches.jsonl", 3)',
    'at_row("drift.jsonl", 3)',
    'before_writing("drift.json")',
    'at_row("matches.jsonl", 5)',
    'before_writing("scores.json")',
    # iteration 2
    'before(store.Rows, "drop_part", nth(1, lambda rows: rows._path.name == "samples.jsonl"))',
    'before(harness.folders, "link", nth(1, lambda a, _: a.manifest.stage == "verdicts"))',
    'at_row("examples.jsonl", 18)',
    'before_writing("train.json")',  # the policy is saved already
    'before(store.shutil, "rmtree", nth(1))',  # … and about to be removed, for it may be half one
    'at_row("matches.jsonl", 14)',
    'before(harness.app, "write_run_report", nth(1))',
]


def test_killed_in_every_stage_ends_in_the_same_bytes(
    command: Command, reference: Path, tmp_path: Path
) -> None:
    run = tmp_path / "dno"
    whole = command.plan(reference)["stages"]
    reached = 0
    for kill in KILLS:
        done = command.run(run, prelude=DEATHS + kill)
        assert done.code == -signal.SIGKILL, (kill, done.err)
        if kill.startswith("at_row"):
            file = kill.split('"')[1]
            torn = [p.read_bytes() for p in (tmp_path / ".store").glob(f"*/{file}.part")]
            assert any(text and not text.endswith(b"\n") for text in torn), kill
        before = state(tmp_path)
        stages = command.plan(run)["stages"]
        finished = sum(stage["done"] for stage in stages)
        assert [stage["done"] for stage in stages] == [n < finished for n in range(len(stages))]
        assert reached <= finished <= reached + 4
        reached = finished
        assert state(tmp_path) == before
    assert reached == len(whole)
    command.run(run).ok()
    assert differing(run, reference) == []
    for shown in reference.glob("iter-*/*.manifest.json"):
        ours, theirs = (json.loads(p.read_text("utf-8")) for p in (
            run / shown.relative_to(reference), shown))  # fmt: skip
        for varies in ("seconds", "finished", "usage", "versions"):
            del ours[varies], theirs[varies]
        assert ours == theirs
    assert rows(run / "leaderboard.jsonl") == rows(reference / "leaderboard.jsonl")
    finished_state = state(tmp_path)
    command.run(run).ok()
    assert state(tmp_path) == finished_state


def test_an_interrupted_run_says_how_to_go_on(
    command: Command, reference: Path, tmp_path: Path
) -> None:
    run = tmp_path / "dno"
    for number, point in (
        (signal.SIGINT, 'at_row("samples.jsonl", 5)'),
        (signal.SIGTERM, 'before(harness.training.optimise.StepTrainer, "log", nth(2))'),
    ):
        interrupt = f"def die():\n    os.kill(os.getpid(), {int(number)})\n"
        done = command.run(run, "--iters", 1, prelude=DEATHS + interrupt + point)
        assert done.code == 128 + number
        *_, last = done.err.splitlines()
        told, command_line = last.split(" To go on: harness ")
        assert told == "harness: stopped; what is finished is kept."
        assert shlex.split(command_line) == [str(part) for part in run_line(run, "--iters", 1)]
        assert "Traceback" not in done.err
        assert done.out == ""
    command.run(run, "--iters", 1).ok()
    assert [name for name in differing(run, reference) if "iter-2/" not in name] == []


def _truncate(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def _flip(file: Path) -> None:
    data = bytearray(file.read_bytes())
    data[len(data) // 3] ^= 1
    file.write_bytes(data)


@pytest.mark.parametrize(
    ("iteration", "stage", "file", "damage"),
    [
        (1, "samples", "manifest.json", _truncate),
        (1, "samples", "samples.jsonl", _flip),
        (1, "verdicts", "verdicts.jsonl", _truncate),
        (2, "train", "policy/model.safetensors", _flip),
        (2, "scores", "scores.json", Path.unlink),
    ],
)
def test_what_is_corrupt_is_named_and_the_advice_heals(
    command: Command,
    reference: Path,
    reference_copy: Path,
    iteration: int,
    stage: str,
    file: str,
    damage: Callable[[Path], None],
) -> None:
    run = reference_copy
    folder = store_folder(run, iteration, stage)
    damage(folder / file)
    before = state(run.parent)
    told = command.run(run).sentence()
    assert str(folder / file) in told
    assert "delete" in told
    assert "folder" in told
    assert state(run.parent) == before
    # plan says the same, and changes nothing either
    assert (
        command("plan", "-m", "dno", "-n", 2, "--preset", "tiny", "--out", run).sentence() == told
    )
    shutil.rmtree(folder)
    command.run(run).ok()
    assert differing(run, reference) == []
    assert store_folder(run, iteration, stage) == folder


def test_corrupt_settings_and_rows_are_named_too(
    command: Command, reference: Path, reference_copy: Path
) -> None:
    run = reference_copy
    _truncate(run / "run.json")
    told = command.run(run).sentence()
    assert str(run / "run.json") in told
    assert "restore it, or start in another folder with --out" in told
    before = state(run.parent / ".store")
    run = run.with_name("another")
    command.run(run).ok()
    assert state(run.parent / ".store") == before
    assert differing(run, reference) == []

    folder = store_folder(run, 1, "samples")
    (folder / "manifest.json").unlink()
    part = folder / "samples.jsonl.part"
    part.write_text("not JSON, but a whole line\n", "utf-8")
    told = command.run(run).sentence()
    assert f"{part}, line 1 is corrupt: delete the folder {folder}" in told
    shutil.rmtree(folder)
    command.run(run).ok()
    assert differing(run, reference) == []


FULL = """
import errno
def die():
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
"""


def test_a_full_disk_is_a_sentence_wherever_it_fills(
    command: Command, reference: Path, tmp_path: Path
) -> None:
    run = tmp_path / "dno"
    for point in (
        'before(os, "fsync", nth(1))',  # run.json: the very first byte
        'at_row("outputs.jsonl", 3)',
        'before(os, "fsync", nth(5))',
        'at_row("verdicts.jsonl", 9)',
        'before(harness.training.train, "TrainSummary", nth(1))',
    ):
        told = command.run(run, "--iters", 1, prelude=DEATHS + FULL + point).sentence()
        assert told.startswith(f"The disk is full while working on {run}: free some space")
    command.run(run, "--iters", 1).ok()
    assert [name for name in differing(run, reference) if "iter-2/" not in name] == []


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A real file system of a few pages; needs the right to mount."""
    folder = tmp_path / "small"
    folder.mkdir()
    line = ["mount", "-t", "tmpfs", "-o", "size=16k", "harness-test", str(folder)]
    try:
        told = subprocess.run(line, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("no `mount` here: a really full disk is not tested")
    if told.returncode:
        pytest.skip(
            f"mounting is not permitted: no really full disk tested ({told.stderr.strip()})"
        )
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_a_really_full_disk_and_room_made_again(
    command: Command, reference: Path, small_disk: Path
) -> None:
    """From 16 KiB on: no room for the settings, for rows, for weights, for the report."""
    run = small_disk / "dno"
    reached = []
    for size in ("16k", "40k", "180k", "400k", "1200k", "1700k", "64m"):
        subprocess.run(["mount", "-o", f"remount,size={size}", str(small_disk)], check=True)
        done = command.run(run)
        reached.append(len(list(run.glob("iter-*/*.manifest.json"))))
        if done.code == 0:
            break
        told = done.sentence()
        assert told.startswith(f"The disk is full while working on {run}: free some space")
    print(reached)
    assert done.code == 0, done.err
    assert reached == sorted(reached)
    assert len(set(reached)) > 3
    assert differing(run, reference) == []
