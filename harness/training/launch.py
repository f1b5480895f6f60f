"""Training and measuring in several processes, started by `accelerate launch`.

The work goes to them as a file, and what they say comes back line by line. They end with the job:
their memory comes back, and whoever samples or judges in between needs to know nothing of them.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness import codec
from harness.errors import HarnessError
from harness.records import TrainStep, TrainSummary
from harness.training import references as logprobs
from harness.training.train import TrainSettings
from harness.types import Example, LogProbs

MARK = "@harness "
"""What a line begins with that is meant for the process that launched the job."""


@dataclass(frozen=True, slots=True)
class MethodByName:
    """A method as another process can make it: its name or `file.py:Class`, and its settings."""

    spec: str
    settings: Mapping[str, codec.Json]


@dataclass(frozen=True, slots=True)
class Training:
    """What training takes beside start, examples and settings; log-probs as `logprobs.dump` has
    them."""

    method: MethodByName
    references: Mapping[str, codec.Json]
    out: Path


@dataclass(frozen=True, slots=True)
class Job:
    """To measure the examples under `policy`; to train it on them where `training` is there."""

    policy: Path
    examples: tuple[Example, ...]
    mismatched: bool
    settings: TrainSettings
    training: Training | None = None


def train_together(
    processes: int,
    *,
    start: Path,
    references: Mapping[str, LogProbs],
    examples: Sequence[Example],
    method: MethodByName,
    settings: TrainSettings,
    out: Path,
    on_step: Callable[[TrainStep, int], None],
    say: Callable[[str], None],
    mismatched: bool = False,
) -> TrainSummary:
    """`train` by so many processes on this machine: the same steps, up to rounding."""
    known = {name: logprobs.dump(found) for name, found in references.items()}
    training = Training(method, known, out.resolve())
    job = Job(start.resolve(), tuple(examples), mismatched, settings, training)
    return codec.load(TrainSummary, _launch(processes, job, on_step, say))


def measure_together(
    processes: int,
    policy: Path,
    examples: Sequence[Example],
    settings: TrainSettings,
    mismatched: bool,
) -> LogProbs:
    """`policy_logprobs` of the encoded examples by so many processes."""
    job = Job(policy.resolve(), tuple(examples), mismatched, settings)
    return logprobs.load(_launch(processes, job, lambda _step, _total: None, lambda _line: None))


def _launch(
    processes: int,
    job: Job,
    on_step: Callable[[TrainStep, int], None],
    say: Callable[[str], None],
) -> codec.Json:
    """The job's result. HarnessError with what a process has to say, or its last words."""
    result = error = None
    with tempfile.TemporaryDirectory() as name, Path(name, "errors").open("w+") as errors:
        codec.write_json(Path(name, "job.json"), codec.dump(job))
        with subprocess.Popen(
            [*_command(processes), str(Path(name, "job.json"))],
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        ) as group:
            assert group.stdout is not None
            try:
                for line in group.stdout:
                    if not line.startswith(MARK):
                        continue
                    told = json.loads(line.removeprefix(MARK))
                    match told:
                        case {"step": step, "total": total}:
                            on_step(codec.load(TrainStep, step), total)
                        case {"say": text}:
                            say(text)
                        case {"error": text}:
                            error = error or text
                        case {"result": found}:
                            result = found
            finally:
                group.terminate()  # no matter where all is well: it is over then
        if error is not None:
            raise HarnessError(error)
        if result is None:
            errors.seek(0)
            last = [line.strip() for line in errors if line.strip()][-1:]
            raise HarnessError(
                f"training in {processes} processes ended without a word (exit code "
                f"{group.returncode}{''.join(f'; {line}' for line in last)}); try "
                "train.processes=1, which says more."
            )
    return result


def _command(processes: int) -> list[str]:
    """`--multi_gpu` on a CPU too: with `--cpu`, accelerate starts one process and no more. The
    worker says itself what it runs on."""
    return [
        sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu",
        "--num_processes", str(processes), "--num_machines", "1", "--mixed_precision", "no",
        "--dynamo_backend", "no", "--main_process_port", "0", "-m", "harness.training.worker",
    ]  # fmt: skip
