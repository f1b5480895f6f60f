"""The stage that answers the benchmark, with a policy or from a file."""

from __future__ import annotations

from collections.abc import Sequence

from harness import codec
from harness.data.outputs import GivenOutputs
from harness.data.sources import digest
from harness.engines.openai import OpenAIEngine
from harness.evaluation import Evaluation
from harness.policy import Policy
from harness.stages.common import Context
from harness.stages.sampling import (
    completion_rows,
    policy_params,
    sample,
    sample_missing,
    spec_params,
)
from harness.store import Stage, Workspace, sha256_text
from harness.types import Completion, Prompt, Source

OUTPUTS, OUTPUTS_JSON = "outputs.jsonl", "outputs.json"


def outputs_stage(
    context: Context, evaluation: Evaluation, policy: Policy, source: Source
) -> Stage:
    """The policy's answers to the benchmark, also as AlpacaEval's model_outputs.json."""
    prompts = evaluation.benchmark.prompts
    spec = evaluation.spec(source)

    def work(space: Workspace) -> None:
        outputs = sample(context, space, OUTPUTS, policy, prompts, spec, "generating")
        _write_json(space, prompts, outputs, f"policy-{policy.digest[:12]}")

    return Stage(
        name="outputs",
        version=1,
        params=policy_params(context, spec) | {"benchmark": evaluation.benchmark.name},
        inputs={"policy": policy.digest, "prompts": digest(prompts)},
        seed=evaluation.seed,
        work=work,
        label=f"generate {len(prompts)} outputs",
    )


def served_outputs_stage(context: Context, evaluation: Evaluation, served: OpenAIEngine) -> Stage:
    """The same from a model behind a server. Its weights are not seen, so that its name and its
    server's address stand for them."""
    prompts = evaluation.benchmark.prompts
    spec = evaluation.spec("policy")

    def work(space: Workspace) -> None:
        outputs = sample_missing(context, space, OUTPUTS, lambda: served, prompts, spec, "asking")
        _write_json(space, prompts, outputs, served.chat.name)

    return Stage(
        name="outputs",
        version=1,
        params=spec_params(spec)
        | {"benchmark": evaluation.benchmark.name, "served": served.chat.name},
        inputs={"prompts": digest(prompts)},
        seed=evaluation.seed,
        work=work,
        label=f"ask for {len(prompts)} outputs",
    )


def given_outputs_stage(evaluation: Evaluation, given: GivenOutputs) -> Stage:
    """The same from a file's answers; its order and its other rows change nothing."""
    prompts = evaluation.benchmark.prompts
    outputs = [Completion(prompt.id, 0, given.texts[prompt.id]) for prompt in prompts]

    def work(space: Workspace) -> None:
        rows = completion_rows(space, OUTPUTS)
        for output in outputs:
            rows.append(codec.dump(output))
        _write_json(space, prompts, outputs, given.generator)

    return Stage(
        name="outputs",
        version=1,
        params={"generator": given.generator, "benchmark": evaluation.benchmark.name},
        inputs={
            "outputs": sha256_text("".join(codec.line(codec.dump(output)) for output in outputs)),
            "prompts": digest(prompts),
        },
        seed=evaluation.seed,
        work=work,
        label=f"take {len(prompts)} outputs as given",
    )


def _write_json(
    space: Workspace, prompts: Sequence[Prompt], outputs: Sequence[Completion], generator: str
) -> None:
    text = {output.prompt_id: output.text for output in outputs}
    rows = [
        {
            "id": prompt.id,
            "dataset": prompt.source,
            "instruction": prompt.instruction,
            "output": text[prompt.id],
            "generator": generator,
        }
        for prompt in prompts
    ]
    space.write_json(OUTPUTS_JSON, rows)
