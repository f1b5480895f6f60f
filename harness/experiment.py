"""An experiment, resolved: settings in full, prompts cut, model found, judges made.

Everything that can be wrong with a request is found here, before anything runs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness import config as configs
from harness import registry
from harness.access import Access
from harness.config import RunConfig
from harness.data.contamination import overlaps, refusal
from harness.data.partition import Partition, partition, per_iteration
from harness.data.sources import load_prompts
from harness.data.standin import NotHereError
from harness.errors import HarnessError
from harness.evaluation import Evaluation, make_evaluation
from harness.judges.adapters import Judge
from harness.policy import Policy, find_policy
from harness.types import Method, Overlap, Plan, Prompt, Source


@dataclass(frozen=True)
class Experiment:
    """What the loop needs, all of it checked. `assumptions` says what a plan counts with where data
    are not here; a run has none."""

    config: RunConfig
    method: Method
    plugin: registry.Plugin
    start: Policy
    partition: Partition
    evaluation: Evaluation
    train_judge: Judge
    access: Access
    contamination: tuple[Overlap, ...] = ()
    assumptions: tuple[str, ...] = ()

    @property
    def method_identity(self) -> dict[str, Any]:
        """What decides a method's examples and loss: class, revision, settings."""
        cls = self.plugin.cls
        return {
            "class": f"{cls.__module__}.{cls.__qualname__}",
            "revision": self.plugin.revision,
            "settings": self.config.settings,
        }

    def plan(self, iteration: int) -> Plan:
        return self.method.plan(iteration, self.config.iterations)

    def prompts(self, iteration: int) -> tuple[Prompt, ...]:
        return self.partition.parts[iteration - 1]

    def source(self, policy: Policy) -> Source:
        """Whose completions a policy's are."""
        return "initial" if policy.digest == self.start.digest else "policy"


def resolve_config(
    method: str,
    options: Mapping[str, Any],
    preset: str,
    file: Path | None = None,
    sets: tuple[str, ...] = (),
) -> tuple[RunConfig, registry.Plugin, Method]:
    """Method's default < preset < file < --set and the command's options, made explicit.

    A preset's method settings apply to the methods that have them; a user's must exist.
    """
    plugin = registry.find(registry.METHODS, method)
    known = registry.method_fields(plugin)
    values = configs.preset(preset)
    values["settings"] = {k: v for k, v in values.get("settings", {}).items() if k in known}
    user = configs.merge(configs.config_file(file) if file else {}, configs.parse_sets(sets))
    for name, given in (("method", method), ("preset", preset)):
        if user.get(name, given) != given:
            raise HarnessError(
                f"The settings say {name} '{user[name]}', the command says '{given}'; "
                f"name it with --{name} alone."
            )
    layers = configs.merge(values, user, options, {"method": method, "preset": preset})
    config = configs.validate(RunConfig, layers)
    instance = registry.make_method(plugin, config.settings)
    defaults = instance.defaults
    train = config.train
    resolved = train.model_copy(
        update={
            "learning_rate": train.learning_rate
            or (defaults.lora_learning_rate if train.lora else defaults.learning_rate),
            "epochs": train.epochs or defaults.epochs,
            "batch_size": train.batch_size or defaults.batch_size,
        }
    )
    judges = config.judge.model_copy(update={"eval": config.eval_judge})
    config = config.model_copy(
        update={"settings": registry.settings_of(instance), "train": resolved, "judge": judges}
    )
    return config, plugin, instance


def prepare(
    config: RunConfig,
    plugin: registry.Plugin,
    method: Method,
    say: Callable[[str], None],
    pull: bool = True,
) -> Experiment:
    """Load and check all that a run needs; pulls the model where it is missing.

    Without `pull` a missing model is left out, and `start.digest` is then empty; for missing data
    stand-ins are counted with, where their size is known.
    """
    assumed = ""
    try:
        train = load_prompts(config.data.train, "train", say, pull)
    except NotHereError as missing:
        train, assumed = missing.assume()
    if not config.data.reuse and config.data.per_iteration is None:
        size = per_iteration(len(train), config.data, config.iterations)
        data = config.data.model_copy(update={"per_iteration": size})
        config = config.model_copy(update={"data": data})
    cut = partition(train, config.data, config.iterations, config.seed)
    start_name = f"iteration 0 ({Path(config.model).name})"
    access = Access.by(config.judging)
    evaluation = make_evaluation(
        config.benchmark, config.eval_judge, access, config.seed, start_name, pull
    )
    train_judge = registry.make_judge(config.judge.train, access)
    plans = [method.plan(t, config.iterations) for t in range(1, config.iterations + 1)]
    _check_plans(method, plans)
    _check_data(config, method, plans, train, evaluation, train_judge)
    # The whole file, the validation part and what no iteration reaches included: another seed, or
    # the new cut once some prompts are taken out, would train on them.
    assumptions = tuple(filter(None, (assumed, evaluation.benchmark.assumed)))
    found = () if assumptions else tuple(overlaps(train, evaluation.benchmark.prompts))
    if found and not config.data.allow_contamination:
        raise refusal(found, config.data.train, config.benchmark.name)
    start = find_policy(config.model, say, pull)
    return Experiment(
        config, method, plugin, start, cut, evaluation, train_judge, access, found, assumptions
    )


def _check_plans(method: Method, plans: list[Plan]) -> None:
    for t, plan in enumerate(plans, start=1):
        if plan.sampler != "none" and plan.samples < 1:
            raise HarnessError(
                f"The method '{method.name}' would sample {plan.samples} completions a prompt in "
                f"iteration {t}; it needs at least 1."
            )


def _check_data(
    config: RunConfig,
    method: Method,
    plans: list[Plan],
    train: list[Prompt],
    evaluation: Evaluation,
    train_judge: Judge,
) -> None:
    without = [prompt.id for prompt in train if prompt.gold is None]
    for kind, name, needed in (
        ("method", method.name, any(plan.gold for plan in plans)),
        (
            "judge",
            config.judge.train,
            train_judge.reference_based
            and any(p.judge != "none" and p.judged_by == "configured" for p in plans),
        ),
    ):
        if needed and without:
            raise HarnessError(
                f"The {kind} '{name}' needs a gold answer for each prompt, and {len(without)} of "
                f"{len(train)} in '{config.data.train}' have none (first: '{without[0]}'); add a "
                f"'gold' field to them, or choose another {kind}."
            )
    if evaluation.judge.reference_based and not evaluation.benchmark.has_gold:
        raise HarnessError(
            f"The judge '{config.eval_judge}' needs a gold answer for each evaluation prompt of "
            f"'{config.benchmark.name}'; add a 'gold' field to them, or name another --eval-judge."
        )


def check_contexts(experiment: Experiment) -> None:
    """Refuse prompts that are longer than the model's context.

    Apart from `prepare`, since it loads the tokenizer, which takes seconds: a run that has nothing
    left to do need not wait for that.
    """
    from harness.models.chat import ChatTokenizer, check_context, context_length

    path = experiment.start.path
    tokenizer, limit = ChatTokenizer.load(path), context_length(path)
    config = experiment.config
    benchmark = experiment.evaluation.benchmark
    check_context(tokenizer, limit, benchmark.prompts, config.benchmark.max_new_tokens)
    drift = config.diagnostics
    measured = experiment.partition.validation[: drift.kl_prompts]
    check_context(tokenizer, limit, measured, drift.kl_max_new_tokens)
    validated = experiment.partition.validation[: drift.validation_prompts]
    check_context(tokenizer, limit, validated, config.benchmark.max_new_tokens)
    for t, part in enumerate(experiment.partition.parts, start=1):
        new = config.sampling.max_new_tokens if experiment.plan(t).samples else 1
        check_context(tokenizer, limit, part, new)
        if config.data.reuse:
            break
