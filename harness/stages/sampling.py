"""Stages that sample: on-policy candidates, and drift from the predecessor."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from harness import codec
from harness.data.sources import digest
from harness.experiment import Experiment
from harness.policy import Policy
from harness.records import Drift
from harness.stages.common import Context, by_prompt, has_own_pair
from harness.store import Artifact, Rows, Stage, Workspace
from harness.types import Completion, Improves, Plan, Prompt, Sampler, SampleSpec, Usage

SAMPLES, DRIFT_SAMPLES, DRIFT = "samples.jsonl", "drift.jsonl", "drift.json"


def samples_stage(
    context: Context,
    experiment: Experiment,
    plan: Plan,
    policy: Policy,
    prompts: Sequence[Prompt],
) -> Stage:
    """`plan.samples` completions a prompt. The same policy, prompts and seed give the same
    artefact, whatever the method and the iteration."""
    config = experiment.config
    asked = [prompt for prompt in prompts if not has_own_pair(prompt, plan)]
    spec = SampleSpec(
        samples=plan.samples,
        temperature=config.sampling.temperature,
        top_p=config.sampling.top_p,
        max_new_tokens=config.sampling.max_new_tokens,
        seed=config.seed,
        source=experiment.source(policy),
    )

    def work(space: Workspace) -> None:
        sample(context, space, SAMPLES, policy, asked, spec, "sampling")

    return Stage(
        name="samples",
        version=1,
        params=policy_params(context, spec),
        inputs={"policy": policy.digest, "prompts": digest(asked)},
        seed=config.seed,
        work=work,
        label=f"sample {len(asked)} × {plan.samples} completions",
    )


def drift_stage(
    context: Context, experiment: Experiment, policy: Policy, previous: Policy
) -> Stage:
    """KL(policy || previous) on validation prompts: samples of the new policy at temperature 1,
    top-p 1, and their log-probs under both; with it the improvement that the method promises."""
    method = experiment.method
    eta = method.improvement_eta if isinstance(method, Improves) else None
    config, settings = experiment.config, experiment.config.diagnostics
    prompts = experiment.partition.validation[: settings.kl_prompts]
    spec = SampleSpec(
        settings.kl_samples, 1.0, 1.0, settings.kl_max_new_tokens, config.seed, "policy"
    )

    def work(space: Workspace) -> None:
        samples = sample(context, space, DRIFT_SAMPLES, policy, prompts, spec, "measuring drift")
        prompt = {p.id: p for p in prompts}
        items = [(prompt[sample.prompt_id], sample) for sample in samples]
        ours = context.engine(policy).logprobs(items)
        theirs = context.engine(previous).logprobs(items)
        log_ratios: dict[str, list[float]] = {}
        tokens = 0
        for (owner, _), (new, length), (old, _) in zip(items, ours, theirs, strict=True):
            log_ratios.setdefault(owner.id, []).append(new - old)
            tokens += length
        means = np.array([np.mean(ratios) for ratios in log_ratios.values()])
        kl = float(means.mean())
        drift = Drift(
            kl=kl,
            se=float(means.std(ddof=1) / np.sqrt(len(means))) if len(means) > 1 else 0.0,
            kl_per_token=float(sum(map(sum, log_ratios.values())) / max(1, tokens)),
            prompts=len(prompts),
            samples=spec.samples,
            max_new_tokens=spec.max_new_tokens,
            improvement_bound=None if eta is None else 0.5 + eta * kl,
        )
        space.write_json(DRIFT, codec.dump(drift))

    return Stage(
        name="drift",
        version=1,
        params=policy_params(context, spec) | ({} if eta is None else {"eta": eta}),
        inputs={
            "policy": policy.digest,
            "previous": previous.digest,
            "prompts": digest(prompts),
        },
        seed=config.seed,
        work=work,
        label=f"measure drift on {len(prompts)} × {spec.samples} completions",
    )


def read_completions(artifact: Artifact, name: str) -> list[Completion]:
    return codec.read_rows(Completion, artifact.path / name)


def completion_rows(space: Workspace, name: str) -> Rows:
    """Rows of completions, by prompt and sample."""
    return space.rows(name, key=lambda row: f"{row['prompt_id']}/{row['sample']:04}")


def policy_params(context: Context, spec: SampleSpec) -> dict[str, codec.Json]:
    """How a policy is sampled, for fingerprints: each engine makes its own random numbers."""
    engine = context.settings.engine
    return spec_params(spec) | ({} if engine == "transformers" else {"engine": engine})


def spec_params(spec: SampleSpec) -> dict[str, codec.Json]:
    return {
        "samples": spec.samples,
        "temperature": spec.temperature,
        "top_p": spec.top_p,
        "max_new_tokens": spec.max_new_tokens,
        "source": spec.source,
    }


def sample(
    context: Context,
    space: Workspace,
    name: str,
    policy: Policy,
    prompts: Sequence[Prompt],
    spec: SampleSpec,
    label: str,
) -> list[Completion]:
    """Sample a policy, as far as an earlier attempt left undone; all completions, sorted by key."""
    engine = partial(context.sampler, policy)
    return sample_missing(context, space, name, engine, prompts, spec, label)


def sample_missing(
    context: Context,
    space: Workspace,
    name: str,
    engine: Callable[[], Sampler],
    prompts: Sequence[Prompt],
    spec: SampleSpec,
    label: str,
) -> list[Completion]:
    """The same from any sampler, which is made if there is something to do."""
    rows = completion_rows(space, name)
    kept = by_prompt(codec.load(Completion, row) for row in rows.all())
    missing = [p for p in prompts if len(kept.get(p.id, [])) < spec.samples]
    if missing:
        known = sum(map(len, kept.values()))
        with context.reporter.track(label, len(prompts) * spec.samples) as advance:
            advance(known)
            for completion in engine().sample(missing, spec):
                rows.append(codec.dump(completion))
                advance(1)
    completions = [codec.load(Completion, row) for row in rows.all()]
    space.spend(Usage(completion_tokens=sum(len(c.token_ids) for c in completions)))
    return completions
