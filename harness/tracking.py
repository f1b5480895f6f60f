"""A run's numbers in TensorBoard or Weights & Biases, by one setting (`tracker`).

They come from the iterations' records alone, as each is scored, and so stand in no stage's
fingerprint: a tracker that is switched on later is given what is there already. A resumed run
passes all its iterations by again; what was written once is not written twice.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, Protocol
from uuid import uuid4

from harness import codec
from harness.config import RunConfig, Tracker
from harness.errors import HarnessError
from harness.records import IterationRecord, StageCost
from harness.types import LengthControl, WinRate

EVENTS, PART = "tensorboard", ".tensorboard.part"
WANDB = "wandb.json"
OFFLINE = ("offline", "dryrun", "disabled")


@dataclass(frozen=True, slots=True)
class Row:
    """Numbers of one moment: an optimiser `step`, counted over all iterations, or an iteration."""

    axis: Literal["step", "iteration"]
    at: int
    values: Mapping[str, float]


class Sink(Protocol):
    """Where rows go: one call an iteration, in order, from iteration 0 on at each start. The last
    row is the iteration's own."""

    def write(self, rows: Sequence[Row]) -> None: ...
    def close(self) -> None: ...


class Tracking:
    """Turns the records of a run's iterations into rows."""

    def __init__(self, sink: Sink | None) -> None:
        self._sink = sink
        self._steps = 0

    def log(self, record: IterationRecord) -> None:
        rows = list(rows_of(record, self._steps))
        self._steps += len(record.training.steps) if record.training else 0
        if self._sink:
            self._sink.write(rows)


@contextmanager
def opened(config: RunConfig, folder: Path) -> Iterator[Tracking]:
    """The tracker of a run in `folder`. Raises HarnessError as `check` does."""
    check(config.tracker)
    sink: Sink | None = None
    match config.tracker:
        case "tensorboard":
            sink = _TensorBoard(folder)
        case "wandb":
            sink = _WandB(folder, config)
    try:
        yield Tracking(sink)
    finally:
        if sink:
            sink.close()


def check(tracker: Tracker) -> None:
    """Raises HarnessError where a tracker is not installed or has no key."""
    if tracker == "none":
        return
    found = find_spec(tracker)
    if found is None or found.origin is None:  # a folder `wandb` in sight is no package
        raise HarnessError(
            f"tracker={tracker} needs the package {tracker}, which is not installed; pip install "
            "'posttrain-harness[trackers]', or leave the setting out."
        )
    offline = os.environ.get("WANDB_MODE") in OFFLINE
    if tracker == "wandb" and not offline and not os.environ.get("WANDB_API_KEY"):
        raise HarnessError(
            "tracker=wandb needs a key in the environment variable WANDB_API_KEY; set it, or "
            "WANDB_MODE=offline to keep the numbers on this machine."
        )


# --- what is tracked --------------------------------------------------------------------------


def rows_of(record: IterationRecord, steps_before: int) -> Iterator[Row]:
    """Losses and diagnostics by step; then win rates in percent with their intervals, lengths in
    characters, KL in nats and cost by iteration."""
    for number, step in enumerate(record.training.steps if record.training else (), start=1):
        yield Row(
            "step",
            steps_before + number,
            {
                "train/loss": step.loss,
                "train/learning_rate": step.learning_rate,
                "train/grad_norm": step.grad_norm,
                **{f"train/{name}": value for name, value in step.diagnostics.items()},
            },
        )
    yield Row("iteration", record.iteration, dict(_scores(record)))


def _scores(record: IterationRecord) -> Iterator[tuple[str, float]]:
    result, control = record.result, record.result.length_control
    yield from _rate("win_rate/opponent", result.win_rate)
    yield from _rate("win_rate/start", result.vs_initial)
    yield from _rate("win_rate/previous", result.vs_previous)
    if control:
        yield from _rate(f"win_rate/{control.kind}", control)
    if record.validation:
        yield from _rate("win_rate/validation", record.validation)
    yield "outputs/characters", result.lengths.mean
    if record.drift:
        yield "drift/kl", record.drift.kl
    if record.training:
        yield "examples/trained_on", record.training.examples
    for cost in record.costs:
        yield f"cost/seconds/{cost.stage}", cost.seconds
    yield from _total(record.costs)


def _rate(name: str, rate: WinRate | LengthControl) -> Iterator[tuple[str, float]]:
    """No number without its interval."""
    if rate.value is not None and rate.ci95 is not None:
        yield name, rate.value
        yield f"{name}/low", rate.ci95[0]
        yield f"{name}/high", rate.ci95[1]


def _total(costs: tuple[StageCost, ...]) -> Iterator[tuple[str, float]]:
    yield "cost/seconds", sum(cost.seconds for cost in costs)
    yield "cost/usd", sum(cost.usd for cost in costs)
    yield "cost/prompt_tokens", sum(cost.prompt_tokens for cost in costs)
    yield "cost/completion_tokens", sum(cost.completion_tokens for cost in costs)


# --- where it goes ----------------------------------------------------------------------------


class _TensorBoard:
    """One events file an iteration, named by what it says and moved into `RUN/tensorboard/` when it
    is whole: what is there is not written again, and no step is there twice. TensorBoard reads them
    as one run, in the order of their names."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._part = folder / EVENTS, folder / PART

    def write(self, rows: Sequence[Row]) -> None:
        said = sha256(
            repr([(row.axis, row.at, sorted(row.values.items())) for row in rows]).encode()
        )
        name = f"events.out.tfevents.{rows[-1].at:010d}"
        file = self._folder / f"{name}.{said.hexdigest()[:12]}"
        if file.exists():
            return
        from torch.utils.tensorboard import SummaryWriter

        shutil.rmtree(self._part, ignore_errors=True)  # of a process that was killed
        writer = SummaryWriter(str(self._part))
        for row in rows:
            for name, value in row.values.items():
                writer.add_scalar(name, value, row.at)
        writer.close()
        (written,) = self._part.iterdir()
        self._folder.mkdir(exist_ok=True)
        for older in self._folder.glob(f"{name}.*"):  # scored again, since judgements had failed
            older.unlink()
        written.replace(file)
        self._part.rmdir()

    def close(self) -> None:
        """Each file is closed already."""


class _WandB:
    """One W&B run for the run's folder. `wandb.json` has its id, and how many rows it was given."""

    def __init__(self, folder: Path, config: RunConfig) -> None:
        self._folder, self._config, self._file = folder, config, folder / WANDB
        known = codec.read_json(self._file, "The tracker's note") if self._file.exists() else None
        self._id: str = known["id"] if known else uuid4().hex
        self._given: int = known["rows"] if known else 0
        self._seen = 0
        self._run: Any = None

    def write(self, rows: Sequence[Row]) -> None:
        for row in rows:
            if self._seen >= self._given:
                # with its number, W&B drops a row that it has from a process that was killed
                self._started().log({**row.values, row.axis: row.at}, step=self._seen)
            self._seen += 1
        if self._seen > self._given:
            self._given = self._seen
            codec.write_json(self._file, {"id": self._id, "rows": self._given})

    def _started(self) -> Any:
        if self._run is None:
            import wandb

            try:
                with redirect_stdout(sys.stderr):  # it is not silent, and stdout is for --json
                    self._run = wandb.init(
                        project=os.environ.get("WANDB_PROJECT", "posttrain-harness"),
                        name=self._folder.resolve().name,
                        id=self._id,
                        resume="allow",
                        dir=str(self._folder),
                        config=json.loads(self._config.model_dump_json()),
                        # what is printed, the code and the machine's git are nobody's business
                        settings=wandb.Settings(console="off", silent=True, disable_git=True),
                    )
            except wandb.errors.Error as error:
                words = " ".join(str(error).split())
                raise HarnessError(
                    f"Weights & Biases cannot be reached: {words}; check key and network, or set "
                    "WANDB_MODE=offline and run the same command again."
                ) from None
            self._run.define_metric("train/*", step_metric="step")
            for group in ("win_rate", "outputs", "examples", "drift", "cost"):
                self._run.define_metric(f"{group}/*", step_metric="iteration")
        return self._run

    def close(self) -> None:
        if self._run is not None:
            self._run.finish()
