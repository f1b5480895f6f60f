"""`harness eval`: one model, or one file of outputs, scored as an iteration of a run is."""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from harness import config as configs
from harness.access import Access
from harness.client.account import CALLS
from harness.config import EvalConfig
from harness.data.outputs import read_outputs
from harness.data.sources import digest
from harness.engines.openai import OpenAIEngine
from harness.engines.vllm_installed import check_engine
from harness.errors import HarnessError
from harness.evaluation import Evaluation, load_benchmark, make_evaluation
from harness.folders import EVALUATION, Folder, disk_errors, read_asked
from harness.judges.forecast import Forecast, tokens
from harness.plan import scoring
from harness.policy import Policy, find_policy
from harness.progress import Reporter
from harness.records import EvalRecord
from harness.runs import stage_cost
from harness.stages.common import Context
from harness.stages.outputs import given_outputs_stage, outputs_stage, served_outputs_stage
from harness.stages.scores import Anchors, read_controls, read_result, scores_stage
from harness.store import MANIFEST, Artifact, Stage, read_manifest, sha256_file


@dataclass(frozen=True)
class Request:
    """One `harness eval`, as it was typed."""

    options: dict[str, Any]
    sets: tuple[str, ...]
    out: Path | None


@dataclass(frozen=True)
class Opened:
    """A request, checked: how its outputs come about, of at most how many tokens, and how they are
    scored. `model_digest` is that of the weights or of the file, and of a served model its name;
    `asking` is what its outputs cost at most."""

    folder: Folder[EvalConfig]
    context: Context
    config: EvalConfig
    evaluation: Evaluation
    outputs: Stage
    longest: int
    model_digest: str
    asking: Forecast


def evaluate(request: Request, reporter: Reporter) -> EvalRecord:
    """Evaluate or go on; returns what the folder then says."""
    layers = configs.merge(configs.parse_sets(request.sets), request.options)
    config = configs.validate(EvalConfig, layers)
    path = request.out or Path("evals") / _name(config)
    with disk_errors(path):
        access = Access.by(config.judging)
        opened = _open(config, Folder.at(EVALUATION, path), access, reporter)
        with opened.folder.lock():
            try:
                _compute(opened, access)
            finally:
                opened.context.release()
        return read_evaluation(opened.folder.path)


def read_evaluation(path: Path) -> EvalRecord:
    """A finished evaluation. Raises HarnessError where the folder holds none."""
    asked = read_asked(EVALUATION, path)
    files = [path / f"{stage}.{MANIFEST}" for stage in ("outputs", "scores")]
    if not all(file.exists() for file in files):
        raise HarnessError(f"{path} is not finished; run its harness eval again to go on.")
    found = [Artifact(path, read_manifest(file)) for file in files]
    provenance = {**asked.facts, **asked.versions, "seed": asked.config.seed}
    return EvalRecord(
        name=path.resolve().name,
        path=path,
        config=asked.config,
        result=read_result(found[-1]),
        controls=read_controls(found[-1]),
        missing=int(asked.facts["missing"]),
        costs=tuple(map(stage_cost, found)),
        provenance={name: str(value) for name, value in provenance.items()},
    )


def _open(
    config: EvalConfig, folder: Folder[EvalConfig], access: Access, reporter: Reporter
) -> Opened:
    """Check everything about a request; nothing runs yet and nothing is written."""
    folder.check(config)
    context = Context(reporter, config.device, config)
    evaluation = make_evaluation(
        config.benchmark, config.judge, access, config.seed, start=config.model, fetch=True
    )
    _check_opponent(evaluation, config)
    if "@http" in config.model:
        engine = OpenAIEngine(access.chat(config.model))
        opened = _of_server(config, folder, context, evaluation, engine)
    else:
        found = _of_file if _is_file(config) else _of_model
        opened = found(config, folder, context, evaluation)
    if not _is_scored(opened):
        access.check_keys()
    return opened


def _of_model(
    config: EvalConfig, folder: Folder[EvalConfig], context: Context, evaluation: Evaluation
) -> Opened:
    policy = find_policy(config.model, context.reporter.say)
    stage = outputs_stage(context, evaluation, policy, "policy")
    if folder.store.find(stage) is None:
        check_engine(config, config.device)
        _check_context(evaluation, policy)
    longest = evaluation.settings.max_new_tokens
    return Opened(folder, context, config, evaluation, stage, longest, policy.digest, Forecast())


def _of_server(
    config: EvalConfig,
    folder: Folder[EvalConfig],
    context: Context,
    evaluation: Evaluation,
    engine: OpenAIEngine,
) -> Opened:
    stage = served_outputs_stage(context, evaluation, engine)
    longest = evaluation.settings.max_new_tokens
    cost = Forecast()
    if folder.store.find(stage) is None:
        cost = engine.forecast(evaluation.benchmark.prompts, evaluation.spec("policy"))
    return Opened(folder, context, config, evaluation, stage, longest, engine.chat.name, cost)


def _of_file(
    config: EvalConfig, folder: Folder[EvalConfig], context: Context, evaluation: Evaluation
) -> Opened:
    """Score what a file holds; prompts that it has no output for are left out and counted."""
    path = Path(config.model).expanduser()
    everything = config.benchmark.model_copy(update={"prompts": None})
    given = read_outputs(path, load_benchmark(everything, fetch=True).prompts)
    benchmark = evaluation.benchmark
    prompts = tuple(prompt for prompt in benchmark.prompts if prompt.id in given.texts)
    missing = len(benchmark.prompts) - len(prompts)
    if not prompts:
        raise HarnessError(
            f"{path} has an output for none of the {missing} prompts of {benchmark.name}; raise "
            "benchmark.prompts or give more outputs."
        )
    evaluation = replace(
        evaluation,
        benchmark=replace(benchmark, prompts=prompts, missing=missing),
        decoding="as given",
    )
    stage = given_outputs_stage(evaluation, given)
    longest = max(tokens(given.texts[prompt.id]) for prompt in prompts)
    return Opened(
        folder, context, config, evaluation, stage, longest, sha256_file(path), Forecast()
    )


def _compute(opened: Opened, access: Access) -> None:
    folder, context, evaluation = opened.folder, opened.context, opened.evaluation
    benchmark = evaluation.benchmark
    folder.begin(
        opened.config,
        {
            "command": " ".join(["harness", *sys.argv[1:]]),
            "model_digest": opened.model_digest,
            "benchmark": benchmark.name,
            "benchmark_digest": digest(benchmark.prompts),
            "missing": benchmark.missing,
            "judge": evaluation.judge.identity,
            "opponent": evaluation.opponent,
        },
    )
    context.reporter.say(
        f"{opened.config.model} on {benchmark.name} against {evaluation.opponent}, judge "
        f"{evaluation.judge.identity} → {folder.path}"
    )
    with access.kept_in(folder.path / CALLS, context.reporter.say):
        if not _is_scored(opened):
            most = opened.asking + scoring(evaluation, 1, opened.longest)
            access.say_forecast(most.calls, most.usd, context.reporter.say)
        outputs = _ensure(opened, opened.outputs)
        _ensure(opened, _scoring(opened, outputs))


def _scoring(opened: Opened, outputs: Artifact) -> Stage:
    anchors = Anchors(initial=outputs, previous=outputs)  # a model alone is its own start
    return scores_stage(opened.context, opened.evaluation, outputs, anchors)


def _is_scored(opened: Opened) -> bool:
    """Whether nothing is left to ask."""
    outputs = opened.folder.store.find(opened.outputs)
    scores = opened.folder.store.find(_scoring(opened, outputs)) if outputs else None
    return scores is not None and not scores.manifest.failed


def _ensure(opened: Opened, stage: Stage) -> Artifact:
    artifact, computed = opened.folder.ensure(stage)
    if computed:
        opened.context.reporter.say(f"  {stage.label} · {artifact.manifest.seconds:.1f} s")
    return artifact


def _check_opponent(evaluation: Evaluation, config: EvalConfig) -> None:
    """A model alone has no other opponent than the gold answers."""
    without = [prompt.id for prompt in evaluation.benchmark.prompts if prompt.gold is None]
    if without:
        raise HarnessError(
            f"The opponent in an evaluation is the benchmark's gold answer, and {len(without)} "
            f"prompts of '{config.benchmark.name}' have none (first: '{without[0]}'); add a "
            "'gold' field to them, or name another --benchmark."
        )
    if evaluation.judge.reference_based:
        raise HarnessError(
            f"The judge '{config.judge}' scores by the gold answers, so these cannot be its "
            "opponent, and an evaluation has no other; name another --judge, or compare "
            "iterations with the start model by harness run."
        )


def _check_context(evaluation: Evaluation, policy: Policy) -> None:
    """Refuse prompts that are longer than the model's context; loads the tokenizer."""
    from harness.models.chat import ChatTokenizer, check_context, context_length

    tokenizer, limit = ChatTokenizer.load(policy.path), context_length(policy.path)
    new = evaluation.settings.max_new_tokens
    check_context(tokenizer, limit, evaluation.benchmark.prompts, new)


def _is_file(config: EvalConfig) -> bool:
    return config.model.endswith(".json")


def _name(config: EvalConfig) -> str:
    """Of the default folder: the model's own name and the benchmark's."""
    model = Path(config.model.partition("@http")[0])
    name = model.stem if _is_file(config) else model.absolute().name
    return f"{name}-{Path(config.benchmark.name).stem}"
