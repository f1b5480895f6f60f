"""The stage that trains a policy on an iteration's examples."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import replace
from random import Random

from harness import codec
from harness.config import deciding
from harness.experiment import Experiment
from harness.policy import Policy
from harness.records import TrainStep, TrainSummary
from harness.stages.common import Context
from harness.stages.examples import read_examples
from harness.store import Artifact, Stage, Workspace
from harness.types import Plan, Usage

POLICY, TRAIN = "policy", "train.json"


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
        from harness.training.train import TrainSettings, train

        context.release()
        settings = config.train
        out = space.directory(POLICY)
        made = read_examples(examples)
        chosen = sorted(drawn(len(made), config.seed, iteration)[:most])
        rows = [made[index] for index in chosen]
        if not rows:
            shutil.copytree(start.path, out)
            space.write_json(TRAIN, codec.dump(TrainSummary(0, 0, (), {})))
            return
        batch_size = settings.batch_size or experiment.method.defaults.batch_size
        epochs = settings.epochs or experiment.method.defaults.epochs
        with context.reporter.track("training", epochs * -(-len(rows) // batch_size)) as advance:

            def on_step(_step: TrainStep, _total: int) -> None:
                advance(1)

            summary = train(
                start=start.path,
                references={name: policy.path for name, policy in references.items()},
                examples=rows,
                method=experiment.method,
                settings=TrainSettings(
                    learning_rate=settings.learning_rate
                    or experiment.method.defaults.learning_rate,
                    epochs=epochs,
                    batch_size=batch_size,
                    micro_batch_tokens=settings.micro_batch_tokens,
                    warmup=settings.warmup,
                    max_grad_norm=settings.max_grad_norm,
                    lora=settings.lora,
                    seed=config.seed,
                    device=config.device,
                ),
                out=out,
                on_step=on_step,
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
