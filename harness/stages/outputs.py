"""The stage that answers the benchmark."""

from __future__ import annotations

from harness.data.sources import digest
from harness.evaluation import Evaluation
from harness.policy import Policy
from harness.stages.common import Context
from harness.stages.sampling import sample, spec_params
from harness.store import Stage, Workspace
from harness.types import Source

OUTPUTS, OUTPUTS_JSON = "outputs.jsonl", "outputs.json"


def outputs_stage(
    context: Context, evaluation: Evaluation, policy: Policy, source: Source
) -> Stage:
    """The policy's answers to the benchmark, also as AlpacaEval's model_outputs.json."""
    prompts = evaluation.benchmark.prompts
    spec = evaluation.spec(source)

    def work(space: Workspace) -> None:
        outputs = sample(context, space, OUTPUTS, policy, prompts, spec, "generating")
        text = {output.prompt_id: output.text for output in outputs}
        rows = [
            {
                "id": prompt.id,
                "dataset": prompt.source,
                "instruction": prompt.instruction,
                "output": text[prompt.id],
                "generator": f"policy-{policy.digest[:12]}",
            }
            for prompt in prompts
        ]
        space.write_json(OUTPUTS_JSON, rows)

    return Stage(
        name="outputs",
        version=1,
        params=spec_params(spec) | {"benchmark": evaluation.benchmark.name},
        inputs={"policy": policy.digest, "prompts": digest(prompts)},
        seed=evaluation.seed,
        work=work,
        label=f"generate {len(prompts)} outputs",
    )
