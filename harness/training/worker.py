"""`python -m harness.training.worker JOB`: one of the processes of `harness.training.launch`."""

from __future__ import annotations

import sys
from pathlib import Path

from accelerate import PartialState  # type: ignore[import-untyped]
from torch import distributed

from harness import codec
from harness.errors import HarnessError
from harness.models.load import pick_device
from harness.records import TrainStep
from harness.registry import METHODS, find, make_method
from harness.training import references as logprobs
from harness.training.launch import MARK, Job
from harness.training.processes import rank
from harness.training.train import encoded, train


def main(path: Path) -> None:
    job = codec.load(Job, codec.read_json(path, "The training job"))
    try:
        PartialState(cpu=pick_device(job.settings.device).type == "cpu")
        result = work(job)
    except HarnessError as error:
        _tell({"error": str(error)})
        raise SystemExit(1) from None
    if rank() == 0:
        _tell({"result": result})
    if distributed.is_initialized():
        distributed.destroy_process_group()


def work(job: Job) -> codec.Json:
    if job.training is None:
        data = encoded(job.policy, job.examples, job.mismatched)
        return logprobs.dump(logprobs.policy_logprobs(job.policy, data, job.settings))
    training = job.training
    plugin = find(METHODS, training.method.spec)
    known = {name: logprobs.load(found) for name, found in training.references.items()}
    summary = train(
        start=job.policy,
        references=known,
        examples=job.examples,
        method=make_method(plugin, training.method.settings),
        settings=job.settings,
        out=training.out,
        on_step=_on_step,
        say=lambda line: _tell({"say": line}),
        mismatched=job.mismatched,
    )
    return codec.dump(summary)


def _on_step(step: TrainStep, total: int) -> None:
    if rank() == 0:
        _tell({"step": codec.dump(step), "total": total})


def _tell(message: codec.Json) -> None:
    sys.stdout.write(MARK + codec.line(message))
    sys.stdout.flush()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
