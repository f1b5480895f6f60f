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
from harness.config import RunConfig
from harness.data.partition import Partition, partition, per_iteration
from harness.data.sources import MINI_VERSION, digest, load_prompts
from harness.errors import HarnessError
from harness.judges.adapters import Judge, as_pair_judge
from harness.store import sha256_file, sha256_text
from harness.types import Completion, Method, PairJudge, Plan, Prompt


@dataclass(frozen=True, slots=True)
class Policy:
    """Weights in a Hugging Face folder, and the digest of what is in it."""

    path: Path
    digest: str


@dataclass(frozen=True, slots=True)
class Benchmark:
    """Evaluation prompts under a name that says version and size."""

    name: str
    prompts: tuple[Prompt, ...]

    @property
    def has_gold(self) -> bool:
        return all(prompt.gold is not None for prompt in self.prompts)

    def gold(self) -> tuple[Completion, ...]:
        """The reference answers, as completions."""
        return tuple(
            Completion(prompt.id, 0, prompt.gold, source="gold")
            for prompt in self.prompts
            if prompt.gold is not None
        )


@dataclass(frozen=True)
class Experiment:
    """What the loop needs, all of it checked."""

    config: RunConfig
    method: Method
    plugin: registry.Plugin
    start: Policy
    partition: Partition
    benchmark: Benchmark
    train_judge: Judge
    eval_judge: PairJudge

    @property
    def method_identity(self) -> dict[str, Any]:
        """What decides a method's examples and loss: class, revision, settings."""
        cls = self.plugin.cls
        return {
            "class": f"{cls.__module__}.{cls.__qualname__}",
            "revision": self.plugin.revision,
            "settings": self.config.settings,
        }

    @property
    def decoding(self) -> str:
        bench = self.config.benchmark
        how = "greedy" if bench.temperature == 0 else f"T={bench.temperature} top-p {bench.top_p}"
        return f"{how}, {bench.max_new_tokens} tokens"

    @property
    def opponent_is_gold(self) -> bool:
        """A judge that scores by the gold answer must not rank it: then the opponent is the
        start model's own output."""
        return self.benchmark.has_gold and not self.eval_judge.reference_based

    @property
    def opponent(self) -> str:
        if self.opponent_is_gold:
            return "the reference answers"
        return f"iteration 0 ({Path(self.config.model).name})"

    def plan(self, iteration: int) -> Plan:
        return self.method.plan(iteration, self.config.iterations)

    def prompts(self, iteration: int) -> tuple[Prompt, ...]:
        return self.partition.parts[iteration - 1]


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
    config = configs.validate(layers)
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

    Without `pull` a missing model is left out: `start.digest` is then empty.
    """
    train = load_prompts(config.data.train, "train")
    if not config.data.reuse and config.data.per_iteration is None:
        size = per_iteration(len(train), config.data, config.iterations)
        data = config.data.model_copy(update={"per_iteration": size})
        config = config.model_copy(update={"data": data})
    cut = partition(train, config.data, config.iterations, config.seed)
    benchmark = load_benchmark(config)
    train_judge = registry.make_judge(config.judge.train)
    eval_judge = as_pair_judge(registry.make_judge(config.eval_judge))
    plans = [method.plan(t, config.iterations) for t in range(1, config.iterations + 1)]
    _check_plans(method, plans)
    _check_data(config, method, plans, train, benchmark, train_judge, eval_judge)
    start = find_policy(config.model, say, pull)
    return Experiment(config, method, plugin, start, cut, benchmark, train_judge, eval_judge)


def find_policy(model: str, say: Callable[[str], None], pull: bool = True) -> Policy:
    """A model by name or folder; its digest is empty where it is missing and not pulled."""
    from harness.models.store import present, resolve

    if not pull and not present(model):
        return Policy(Path(model), "")
    path = resolve(model, say)
    return Policy(path, policy_digest(path))


def load_benchmark(config: RunConfig) -> Benchmark:
    """The evaluation prompts; the name carries what identifies them."""
    prompts = load_prompts(config.benchmark.name, "eval")
    wanted = config.benchmark.prompts
    if wanted and wanted > len(prompts):
        raise HarnessError(
            f"benchmark.prompts is {wanted}, but {config.benchmark.name} has {len(prompts)}; "
            "ask for fewer."
        )
    chosen = tuple(prompts[:wanted])
    if config.benchmark.name == "mini":
        name = MINI_VERSION
    else:
        name = f"{Path(config.benchmark.name).name}@{digest(chosen)[:8]}"
    return Benchmark(f"{name} ({len(chosen)} prompts)", chosen)


def policy_digest(path: Path) -> str:
    """sha256 over the names and contents of a model folder's files that decide its outputs."""
    used = [
        file
        for file in sorted(path.iterdir())
        if file.suffix in {".safetensors", ".json", ".jinja", ".model", ".txt"}
        and file.name != "provenance.json"
    ]
    return sha256_text("\n".join(f"{file.name} {sha256_file(file)}" for file in used))


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
    benchmark: Benchmark,
    train_judge: Judge,
    eval_judge: PairJudge,
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
    if eval_judge.reference_based and not benchmark.has_gold:
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
    check_context(tokenizer, limit, experiment.benchmark.prompts, config.benchmark.max_new_tokens)
    drift = config.diagnostics
    measured = experiment.partition.validation[: drift.kl_prompts]
    check_context(tokenizer, limit, measured, drift.kl_max_new_tokens)
    for t, part in enumerate(experiment.partition.parts, start=1):
        new = config.sampling.max_new_tokens if experiment.plan(t).samples else 1
        check_context(tokenizer, limit, part, new)
        if config.data.reuse:
            break
