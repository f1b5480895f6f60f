"""Trackers: a run's numbers, each once, however often it was stopped; and nothing computed anew."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import Command, rows, state
from in_process import line

STUB = '''
"""As much of wandb as is used; what it is given is kept in a file."""
import json, os
class errors:
    class Error(Exception): pass
class Settings:
    def __init__(self, **settings): self.settings = settings
class Run:
    def __init__(self, given): self.given = given
    def _note(self, row):
        with open(os.environ["WANDB_STUB"], "a") as file: file.write(json.dumps(row) + "\\n")
    def define_metric(self, name, step_metric): pass
    def log(self, values, step): self._note({"id": self.given["id"], "row": step, **values})
    def finish(self): self._note({"id": self.given["id"], "row": None})
def init(**given):
    print("wandb says hello")
    if os.environ.get("WANDB_API_KEY") == "wrong": raise errors.Error("401:\\n no such key")
    return Run(given)
'''


def told(run: Path) -> tuple[list[float], list[float]]:
    """The losses of a run's steps and the win rates of its iterations, as its folder has them."""
    losses = [
        step["loss"]
        for file in sorted(run.glob("iter-*/train.json"))
        for step in json.loads(file.read_text("utf-8"))["steps"]
    ]
    return losses, [row["win_rate"]["value"] for row in rows(run / "leaderboard.jsonl")]


def test_tensorboard_has_each_number_once(command: Command, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason="no tensorboard here: its events are not read back")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run, asked = tmp_path / "dno", ("--set", "tracker=tensorboard")

    def scalars() -> dict[str, list[tuple[int, float]]]:
        read = EventAccumulator(str(run / "tensorboard"))
        read.Reload()
        names = read.Tags()["scalars"]
        return {name: [(e.step, e.value) for e in read.Scalars(name)] for name in names}

    def check() -> dict[str, list[tuple[int, float]]]:
        found, (losses, rates) = scalars(), told(run)
        assert [step for step, _ in found["train/loss"]] == [*range(1, len(losses) + 1)]
        assert [value for _, value in found["train/loss"]] == pytest.approx(losses)
        assert [at for at, _ in found["win_rate/opponent"]] == [*range(len(rates))]
        assert [value for _, value in found["win_rate/opponent"]] == pytest.approx(rates)
        return found

    # switched on when all is there: everything is told, nothing is computed
    command.run(run, "--iters", 1).ok()
    before = state(run / "iter-0", run / "iter-1", run.parent / ".store")
    assert not (run / "tensorboard").exists()
    command.run(run, "--iters", 1, *asked).ok()
    assert state(run / "iter-0", run / "iter-1", run.parent / ".store") == before
    found = check()
    assert {"train/accuracy", "train/grad_norm", "drift/kl", "cost/usd"} < set(found)
    (low,), (rate,), (high,) = (
        [value for at, value in found[f"win_rate/opponent{end}"] if at == 1]
        for end in ("/low", "", "/high")
    )
    assert low < rate < high

    # what a killed process left in the middle of an iteration is not in the way
    kill = "import os, signal\nfrom torch.utils.tensorboard import SummaryWriter\n"
    kill += "SummaryWriter.close = lambda self: os.kill(os.getpid(), signal.SIGKILL)\n"
    assert command.run(run, *asked, prelude=kill).code == -9
    command.run(run, *asked).ok()
    check()
    finished = state(run)
    command.run(run, *asked).ok()
    assert state(run) == finished


@pytest.fixture
def stub(tmp_path: Path) -> dict[str, str]:
    """The environment of a command that finds a wandb which notes what it is given."""
    (tmp_path / "stub").mkdir()
    (tmp_path / "stub" / "wandb.py").write_text(STUB, "utf-8")
    return {"WANDB_STUB": str(tmp_path / "noted.jsonl"), "WANDB_API_KEY": "a-key"}


def test_wandb_goes_on_with_the_same_run(
    command: Command, tmp_path: Path, stub: dict[str, str]
) -> None:
    run = tmp_path / "dno"
    found = f"import sys; sys.path.insert(0, {str(tmp_path / 'stub')!r})\n"

    def go_on(iterations: int, **env: str) -> Any:
        asked = ("--iters", iterations, "--set", "tracker=wandb", "--json")
        return command.run(run, *asked, prelude=found, env={**stub, **env})

    wrong = go_on(1, WANDB_API_KEY="wrong").sentence()
    assert wrong.startswith("Weights & Biases cannot be reached: 401: no such key; check key")
    for iterations in (1, 2, 2):
        assert go_on(iterations).ok().json["run"] == str(run)  # stdout is JSON alone
    noted = rows(tmp_path / "noted.jsonl")
    assert len({row["id"] for row in noted}) == 1
    logged = [row for row in noted if row["row"] is not None]
    assert len(noted) - len(logged) == 2  # the third had nothing to say, and began no run
    assert [row["row"] for row in logged] == [*range(len(logged))]
    losses, rates = told(run)
    assert [row["train/loss"] for row in logged if "step" in row] == pytest.approx(losses)
    assert [row["step"] for row in logged if "step" in row] == [*range(1, len(losses) + 1)]
    assert [row["win_rate/opponent"] for row in logged if "iteration" in row] == rates


def test_wandb_itself_takes_it_offline(command: Command, tmp_path: Path) -> None:
    pytest.importorskip("wandb", reason="no wandb here (pip install '.[trackers]')")
    run = tmp_path / "dno"
    env = {"WANDB_MODE": "offline", "HOME": str(tmp_path)}
    for iterations in (1, 2, 2):
        asked = ("--iters", iterations, "--set", "tracker=wandb", "--json")
        assert (
            command.run(run, *asked, prelude="import warnings; warnings.resetwarnings()", env=env)
            .ok()
            .json["run"]
        )
    assert len(list(run.glob("wandb/offline-run-*"))) == 2
    losses, rates = told(run)
    note = json.loads((run / "wandb.json").read_text("utf-8"))
    assert note["rows"] == len(losses) + len(rates)


@pytest.mark.parametrize(
    ("tracker", "installed", "words"),
    [
        ("tensorboard", False, "tracker=tensorboard needs the package tensorboard"),
        ("wandb", False, "pip install 'posttrain-harness[trackers]'"),
        ("wandb", True, "WANDB_API_KEY; set it, or WANDB_MODE=offline"),
        ("mlflow", True, "Setting 'tracker': "),
    ],
)
def test_what_a_tracker_lacks_is_said_before_anything_runs(
    refuses: Callable[..., str],
    monkeypatch: pytest.MonkeyPatch,
    tracker: str,
    installed: bool,
    words: str,
) -> None:
    for name in ("WANDB_API_KEY", "WANDB_MODE"):
        monkeypatch.delenv(name, raising=False)
    found = type("Spec", (), {"origin": os.devnull})() if installed else None
    monkeypatch.setattr("harness.tracking.find_spec", lambda _: found)
    assert words in refuses(*line("--set", f"tracker={tracker}"))
