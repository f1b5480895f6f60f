"""The whole experiment: iteration 0 scores the start model; then, each iteration,
sample → judge → examples → train → generate → validate → drift → score → board."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import TypeVar

from harness.experiment import Experiment
from harness.policy import Policy
from harness.records import IterationRecord
from harness.runs import iteration_record
from harness.stages.common import Context
from harness.stages.examples import examples_stage
from harness.stages.judging import training_judge, verdicts_stage
from harness.stages.outputs import outputs_stage
from harness.stages.sampling import drift_stage, samples_stage
from harness.stages.scores import Anchors, scores_stage
from harness.stages.training import train_stage, trained_policy
from harness.stages.validation import validation_stage
from harness.store import Artifact, Stage

T = TypeVar("T")
Ensure = Callable[[int, Stage], Artifact]
"""(iteration, stage) → its artefact: reused, computed, or refused (a dry run)."""
Turn = tuple[int, Artifact]
"""An iteration and its examples, before it is trained on them."""
Loop = Generator[Turn, int | None, T]
"""A run that stops before each training; what is sent to it says how many of the examples that
takes (None: all)."""


def drive(loop: Loop[T]) -> T:
    """A loop's end, all examples being taken."""
    try:
        while True:
            next(loop)
    except StopIteration as end:
        found: T = end.value
        return found


def run(
    experiment: Experiment,
    context: Context,
    ensure: Ensure,
    on_scored: Callable[[IterationRecord], None],
) -> Loop[None]:
    """Run an experiment's iterations in order; `on_scored` hears of each as it is scored."""
    evaluation = experiment.evaluation
    policies: list[Policy] = [experiment.start]
    outputs: list[Artifact] = []
    validated: list[Artifact] = []
    examples: list[Artifact] = []

    def score(t: int, artifacts: list[Artifact]) -> None:
        policy = policies[t]
        out = ensure(t, outputs_stage(context, evaluation, policy, experiment.source(policy)))
        outputs.append(out)
        against = validated[0] if t else None
        validated.append(ensure(t, validation_stage(context, experiment, policy, against)))
        if t:
            artifacts.append(ensure(t, drift_stage(context, experiment, policy, policies[t - 1])))
        anchors = Anchors(initial=outputs[0], previous=outputs[max(0, t - 1)])
        scores = ensure(t, scores_stage(context, evaluation, out, anchors))
        on_scored(iteration_record(t, [*artifacts, out, validated[t], scores]))

    score(0, [])
    for t in range(1, experiment.config.iterations + 1):
        plan, prompts = experiment.plan(t), experiment.prompts(t)
        previous = policies[-1]
        named: dict[str, Policy] = {"initial": policies[0], "previous": previous}
        done: list[Artifact] = []
        samples = verdicts = None
        judge = training_judge(context, experiment, plan, previous)

        if plan.sampler != "none":
            sampler = named[plan.sampler]
            samples = ensure(t, samples_stage(context, experiment, plan, sampler, prompts))
            done.append(samples)
        if samples and plan.judge != "none":
            judging = verdicts_stage(context, experiment, plan, judge, prompts, samples)
            verdicts = ensure(t, judging)
            done.append(verdicts)

        older = examples[::-1][: len(plan.replay)]
        made = ensure(
            t,
            examples_stage(experiment, t, plan, judge, prompts, samples, verdicts, older),
        )
        examples.append(made)

        context.release()  # its turn may be long in coming, and training needs the memory
        most = yield t, made
        references = {str(name): named[name] for name in plan.references}
        start = named[plan.start]
        training = train_stage(context, experiment, t, plan, start, references, made, most)
        trained = ensure(t, training)
        policies.append(trained_policy(trained))
        score(t, [*done, made, trained])
