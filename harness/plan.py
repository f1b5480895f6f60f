"""A dry run: which stages a run has, what is there already, and what is still to be paid."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import combinations

from harness import loop
from harness.evaluation import Evaluation
from harness.experiment import Experiment
from harness.judges.forecast import Forecast, forecast, tokens
from harness.loop import Loop
from harness.stages.common import Context, has_own_pair
from harness.stages.controls import NAMES, control_prompts
from harness.store import Artifact, Stage, Store
from harness.types import PairJudge, Plan, Prompt


@dataclass(frozen=True, slots=True)
class PlannedStage:
    """One stage; counts are what a run from nothing would do. Examples and training steps are
    upper bounds (`None`: nothing bounds them), since the judge decides how many pairs there are.
    So are a judge's tokens and dollars, since outputs may be shorter than they can be; `usd` is
    None where no price is known."""

    iteration: int
    stage: str
    done: bool
    completions: int = 0
    judgements: int = 0
    steps: int | None = 0
    calls: int = 0
    tokens: int = 0
    usd: float | None = 0.0


class NotDoneError(Exception):
    """The dry run met a stage that has to be computed; what follows depends on it."""


def planned(experiment: Experiment, context: Context, store: Store) -> Loop[list[PlannedStage]]:
    """All stages of a run in order; changes nothing."""
    found: set[tuple[int, str]] = set()

    def look(t: int, stage: Stage) -> Artifact:
        artifact = store.find(stage)
        if artifact is None or artifact.manifest.failed:  # failed rows will be asked for again
            raise NotDoneError
        found.add((t, stage.name))
        return artifact

    if experiment.start.digest:
        with suppress(NotDoneError):
            yield from loop.run(experiment, context, look, lambda _record: None)
    stages = _evaluation(experiment, 0)
    for t in range(1, experiment.config.iterations + 1):
        stages += [*_training(experiment, t), *_evaluation(experiment, t)]
    return [replace(s, done=(s.iteration, s.stage) in found) for s in stages]


def total_usd(stages: Sequence[PlannedStage]) -> float | None:
    """US dollars at most; None where a price is not known."""
    costs = [stage.usd for stage in stages]
    return None if None in costs else sum(cost or 0.0 for cost in costs)


def _judged(t: int, stage: str, judgements: int, cost: Forecast) -> PlannedStage:
    return PlannedStage(
        t,
        stage,
        False,
        judgements=judgements,
        calls=cost.calls,
        tokens=cost.tokens,
        usd=cost.usd,
    )


def _evaluation(experiment: Experiment, t: int) -> list[PlannedStage]:
    prompts = len(experiment.evaluation.benchmark.prompts)
    settings = experiment.config.diagnostics
    controls = len(NAMES) * len(control_prompts(experiment.evaluation))
    drift = min(settings.kl_prompts, len(experiment.partition.validation)) * settings.kl_samples
    # iteration 0 is its own initial and previous; iteration 1's previous is the initial
    anchors = min(t, 2) + int(experiment.evaluation.opponent_is_gold)
    cost = scoring(experiment.evaluation, anchors, experiment.config.benchmark.max_new_tokens)
    return [
        PlannedStage(t, "outputs", False, completions=prompts),
        _validation(experiment, t),
        *([PlannedStage(t, "drift", False, completions=drift)] if t else []),
        _judged(t, "scores", prompts * anchors + controls, cost),
    ]


def _validation(experiment: Experiment, t: int) -> PlannedStage:
    """Answers to the validation prompts, compared with iteration 0's from iteration 1 on."""
    config, judge = experiment.config, experiment.train_judge
    prompts = experiment.partition.validation[: config.diagnostics.validation_prompts]
    sizes = [config.benchmark.max_new_tokens] * 2
    asked = [forecast(judge, tokens(p.instruction), sizes) for p in prompts if t]
    stage = _judged(t, "validation", len(prompts) if t else 0, sum(asked, Forecast()))
    return replace(stage, completions=len(prompts))


def scoring(evaluation: Evaluation, anchors: int, new: int) -> Forecast:
    """What one policy's scoring costs, its outputs of at most `new` tokens: each prompt once an
    anchor, and the controls."""
    chosen, cost = set(control_prompts(evaluation)), Forecast()
    for prompt in evaluation.benchmark.prompts:
        times = anchors + len(NAMES) * (prompt.id in chosen)
        sizes = (new, max(new, tokens(prompt.gold)))
        once = forecast(evaluation.judge, tokens(prompt.instruction), sizes)
        cost = sum([once] * times, cost)
    return cost


def _training(experiment: Experiment, t: int) -> list[PlannedStage]:
    plan, prompts = experiment.plan(t), experiment.prompts(t)
    sampled = [prompt for prompt in prompts if not has_own_pair(prompt, plan)]
    stages = []
    if plan.sampler != "none":
        completions = len(sampled) * plan.samples
        stages.append(PlannedStage(t, "samples", False, completions=completions))
        if plan.judge != "none":
            asked = sum(judgements(experiment, plan, prompt) for prompt in prompts)
            stage = _judged(t, "verdicts", asked, _judging(experiment, plan, sampled))
            stages.append(replace(stage, completions=_written(experiment, plan, asked)))
    stages.append(PlannedStage(t, "examples", False))
    stages.append(PlannedStage(t, "train", False, steps=_steps(experiment, plan)))
    return stages


def judgements(experiment: Experiment, plan: Plan, prompt: Prompt) -> int:
    """Of a prompt's pool: a pair judge compares every two candidates, a score judge scores each."""
    if "none" in (plan.judge, plan.sampler) or has_own_pair(prompt, plan):
        return 0
    size = plan.samples + int(plan.gold and prompt.gold is not None)
    pairwise = plan.judged_by == "configured" and isinstance(experiment.train_judge, PairJudge)
    return size * (size - 1) // 2 if pairwise else size


def _written(experiment: Experiment, plan: Plan, asked: int) -> int:
    """Completions that a policy which judges itself has to write."""
    writes = plan.judged_by == "self" and experiment.config.judge.self == "additive"
    return asked * experiment.config.judging.votes if writes else 0


def _judging(experiment: Experiment, plan: Plan, prompts: Sequence[Prompt]) -> Forecast:
    """What judging these prompts' pools costs."""
    judge, new = experiment.train_judge, experiment.config.sampling.max_new_tokens
    cost = Forecast()
    if plan.judged_by == "self":
        return cost
    for prompt in prompts:
        gold = [tokens(prompt.gold)] if plan.gold and prompt.gold is not None else []
        sizes = [new] * plan.samples + gold
        pools = combinations(sizes, 2) if isinstance(judge, PairJudge) else [sizes]
        asked = [forecast(judge, tokens(prompt.instruction), pool) for pool in pools]
        cost = sum(asked, cost)
    return cost


def _steps(experiment: Experiment, plan: Plan) -> int | None:
    train = experiment.config.train
    if train.max_examples is None:
        return None
    most = train.max_examples + sum(round(share * train.max_examples) for share in plan.replay)
    return (train.epochs or 1) * -(-most // (train.batch_size or 1))
