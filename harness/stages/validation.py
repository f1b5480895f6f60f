"""The stage that says which iterate to keep: on validation prompts, never on the benchmark."""

from __future__ import annotations

from harness import codec
from harness.data.sources import digest
from harness.experiment import Experiment
from harness.judges.adapters import as_pair_judge
from harness.policy import Policy
from harness.registry import judge_revision
from harness.stages.common import Context, by_prompt
from harness.stages.judging import judge_matches, judged_rows, rate
from harness.stages.sampling import policy_params, read_completions, sample
from harness.store import Artifact, Stage, Workspace
from harness.types import Match, WinRate

ANSWERS, MATCHES = "validation.jsonl", "validation-matches.jsonl"
VALIDATION = "validation.json"


def validation_stage(
    context: Context, experiment: Experiment, policy: Policy, initial: Artifact | None
) -> Stage:
    """The policy's answers to the validation prompts, decoded as for the benchmark, against those
    of iteration 0 (`initial`; None for iteration 0 itself, which only answers), by the judge of
    the training data. A judge of its own for the benchmark plays no part in the choice."""
    config = experiment.config
    prompts = experiment.partition.validation[: config.diagnostics.validation_prompts]
    spec = experiment.evaluation.spec(experiment.source(policy))
    judge = as_pair_judge(experiment.train_judge)
    decoding = policy_params(context, spec)

    def work(space: Workspace) -> None:
        ours = by_prompt(sample(context, space, ANSWERS, policy, prompts, spec, "validating"))
        if initial is None:
            return
        theirs = by_prompt(read_completions(initial, ANSWERS))
        matches = [Match(p.id, p, ours[p.id][0], theirs[p.id][0]) for p in prompts]
        rows = judged_rows(space, MATCHES)
        verdicts = judge_matches(context, judge, matches, rows, space, "validating")
        won = rate(list(zip(matches, verdicts, strict=True)), config.seed)
        space.write_json(VALIDATION, codec.dump(won))

    return Stage(
        name="validation",
        version=1,
        params=decoding
        | {"judge": judge.identity, "judge_revision": judge_revision(config.judge.train)}
        if initial
        else decoding,
        inputs={
            "policy": policy.digest,
            "prompts": digest(prompts),
            "initial": initial.digest_of(ANSWERS) if initial else "none",
        },
        seed=config.seed,
        work=work,
        label=f"validate on {len(prompts)} prompts" + (f" by {judge.identity}" if initial else ""),
    )


def read_validation(artifact: Artifact) -> WinRate | None:
    """None for iteration 0."""
    if VALIDATION not in artifact.manifest.files:
        return None
    return codec.load(WinRate, codec.read_json(artifact.path / VALIDATION, "The validation file"))
