"""The stage that trains a policy on an iteration's examples."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from random import Random
from typing import TYPE_CHECKING

from harness import codec
from harness.config import RunConfig, deciding
from harness.experiment import Experiment
from harness.policy import Policy
from harness.records import TrainSummary
from harness.registry import settings_of
from harness.stages.common import Context
from harness.stages.examples import read_examples
from harness.store import Artifact, Stage, Workspace, sha256_text
from harness.types import Example, LogProbs, Plan, Usage

if TYPE_CHECKING:
    from harness.training.train import TrainSettings

POLICY, TRAIN, LOGPROBS = "policy", "train.json", "logprobs.json"


def train_stage(
    context: Context,
    experiment: Experiment,
    iteration: int,
    plan: Plan,
    start: Policy,
    references: Mapping[str, Policy],
    examples: Artifact,
    most: int | None,
) -> Stage:
    """Weights from `start`, log-ratios against `references`; without any example, `start` as it is.
    A seeded choice of `most` examples, where that is given, is all that it takes.
    What is `RESUMABLE` is no part of the fingerprint: the steps are the same."""
    config = experiment.config

    def work(space: Workspace) -> None:
        from harness.training.launch import MethodByName, train_together
        from harness.training.train import LAST_GOOD, train

        context.release()
        space.directory(LAST_GOOD)
        out = space.directory(POLICY)
        made = read_examples(examples)
        chosen = sorted(drawn(len(made), config.seed, iteration)[:most])
        rows = [made[index] for index in chosen]
        if not rows:
            shutil.copytree(start.path, out)
            space.write_json(TRAIN, codec.dump(TrainSummary(0, 0, (), {})))
            return
        settings = _resolved(experiment)
        known = {
            name: read_logprobs(
                space.ensure(logprobs_stage(config, policy, rows, settings, plan.mismatched))
            )
            for name, policy in references.items()
        }
        processes = config.train.processes
        method = MethodByName(config.method, settings_of(experiment.method))
        total = settings.epochs * -(-len(rows) // settings.batch_size)
        with context.reporter.track("training", total) as advance:
            train_it = (
                partial(train, method=experiment.method)
                if processes == 1
                else partial(train_together, processes, method=method)
            )
            summary = train_it(
                start=start.path,
                references=known,
                examples=rows,
                settings=settings,
                out=out,
                on_step=lambda _step, _total: advance(1),
                say=context.reporter.say,
                mismatched=plan.mismatched,
            )
        summary = replace(summary, set_aside=len(made) - len(rows))
        space.spend(Usage(prompt_tokens=summary.tokens))
        space.write_json(TRAIN, codec.dump(summary))

    return Stage(
        name="train",
        version=1,
        params={
            **({} if most is None else {"iteration": iteration, "most": most}),
            "method": experiment.method_identity,
            "plan": codec.dump(plan),
            "train": deciding(config.train),
        },
        inputs={
            "start": start.digest,
            "examples": examples.digest,
            **{f"reference-{name}": policy.digest for name, policy in references.items()},
        },
        seed=config.seed,
        work=work,
        label="train",
    )


def logprobs_stage(
    config: RunConfig,
    policy: Policy,
    examples: Sequence[Example],
    settings: TrainSettings,
    mismatched: bool,
) -> Stage:
    """The log-probs of a training's examples under one of its references. Trainings that differ in
    what comes after (rate, method, steps) share it."""
    from harness.training.train import encoded

    data = encoded(policy.path, examples, mismatched)
    rows = [*data.rows, *data.mismatched(range(len(data)))]

    def work(space: Workspace) -> None:
        from harness.training.launch import measure_together
        from harness.training.references import dump, policy_logprobs

        if config.train.processes == 1:
            found = policy_logprobs(policy.path, data, settings)
        else:
            found = measure_together(
                config.train.processes, policy.path, examples, settings, mismatched
            )
        space.write_json(LOGPROBS, dump(found))

    return Stage(
        name="logprobs",
        version=1,
        params={"mismatched": mismatched},
        inputs={"policy": policy.digest, "rows": sha256_text(codec.line(codec.dump(rows)))},
        seed=0,  # nothing is drawn
        work=work,
        label="measure a reference",
    )


def read_logprobs(artifact: Artifact) -> LogProbs:
    from harness.training.references import load

    return load(codec.read_json(artifact.path / LOGPROBS, "The file of log-probs"))


def _resolved(experiment: Experiment) -> TrainSettings:
    """The run's settings, with the method's own where the run has none."""
    from harness.training.train import TrainSettings

    config, defaults = experiment.config, experiment.method.defaults
    settings = config.train
    return TrainSettings(
        learning_rate=settings.learning_rate or defaults.learning_rate,
        epochs=settings.epochs or defaults.epochs,
        batch_size=settings.batch_size or defaults.batch_size,
        micro_batch_tokens=settings.micro_batch_tokens,
        warmup=settings.warmup,
        max_grad_norm=settings.max_grad_norm,
        gradient_checkpointing=settings.gradient_checkpointing,
        lora=settings.lora,
        seed=config.seed,
        device=config.device,
    )


def drawn(count: int, seed: int, iteration: int) -> list[int]:
    """The order in which so many examples are taken where not all are: a draw of more begins with
    a draw of fewer."""
    order = list(range(count))
    Random(f"drawn:{seed}:{iteration}").shuffle(order)
    return order


def trained_policy(artifact: Artifact) -> Policy:
    """The policy that a train stage left."""
    return Policy(artifact.path / POLICY, artifact.digest_of(POLICY))


def read_training(artifact: Artifact) -> TrainSummary:
    return codec.load(TrainSummary, codec.read_json(artifact.path / TRAIN, "The training file"))
