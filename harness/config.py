"""RunConfig: one run's settings. Method default < preset < file < --set; saved resolved."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_args

import yaml
from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError

from harness.errors import HarnessError, near_names

RESUMABLE: dict[str, JsonValue] = {"resumable": True}
"""Marks the fields that may change between two starts of one run: they change cost or extent,
never the content of a finished stage."""

Positive = Annotated[int, Field(gt=0)]
Device = Literal["auto", "cpu", "cuda"]
Tracker = Literal["none", "tensorboard", "wandb"]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class DataConfig(_Section):
    """Where prompts come from and how they are cut."""

    train: str = Field(
        "mini",
        description="'mini', a JSONL or parquet file of training prompts, or a hub's data set "
        "ORG/NAME[:SPLIT]",
    )
    validation: Annotated[float, Field(gt=0, lt=1)] = Field(
        0.1, description="share of the training prompts set aside (at least 16)"
    )
    per_iteration: Positive | None = Field(
        None, description="prompts an iteration; by default all, divided by the iterations"
    )
    reuse: bool = Field(False, description="use all training prompts in every iteration")
    allow_contamination: bool = Field(
        False,
        description="run although training prompts hold the benchmark's instructions",
        json_schema_extra=RESUMABLE,
    )


class EngineConfig(_Section):
    """What samples a policy, in training and evaluation; vLLM is the extra `vllm`."""

    engine: Literal["transformers", "vllm"] = Field(
        "transformers", description="what samples; log-probs are always measured by transformers"
    )
    batch_size: Positive = Field(
        64,
        description="completions at a time; with vllm, of each copy",
        json_schema_extra=RESUMABLE,
    )
    tensor_parallel: Positive = Field(
        1, description="vllm: GPUs that share each copy of the model", json_schema_extra=RESUMABLE
    )
    data_parallel: Positive = Field(
        1, description="vllm: copies of the model", json_schema_extra=RESUMABLE
    )
    gpu_memory: Annotated[float, Field(gt=0, le=1)] = Field(
        0.9, description="vllm: share of a GPU's memory that it takes", json_schema_extra=RESUMABLE
    )


class SamplingConfig(EngineConfig):
    """On-policy sampling."""

    temperature: Annotated[float, Field(ge=0)] = Field(0.7, description="0 is greedy")
    top_p: Annotated[float, Field(gt=0, le=1)] = Field(
        0.95, description="probability of the tokens that are sampled from"
    )
    max_new_tokens: Positive = Field(512, description="most tokens of an answer")


class BenchmarkConfig(_Section):
    """What each iteration is scored on, and how it decodes there (greedily by default)."""

    name: str = Field(
        "mini", description="'mini', 'alpaca_eval' or a JSONL or parquet file of prompts"
    )
    alpaca_dir: str | None = Field(
        None,
        description="folder of AlpacaEval's data, known by digest; by default from the hub",
        json_schema_extra=RESUMABLE,
    )
    prompts: Positive | None = Field(
        None, description="the first N prompts only; of alpaca_eval a fixed arbitrary N"
    )
    controls: Positive = Field(
        32, description="prompts on which null, padded and shortened answers are judged"
    )
    temperature: Annotated[float, Field(ge=0)] = Field(0.0, description="0 is greedy")
    top_p: Annotated[float, Field(gt=0, le=1)] = Field(
        1.0, description="probability of the tokens that are sampled from"
    )
    max_new_tokens: Positive = Field(512, description="most tokens of an answer")


class JudgeConfig(_Section):
    """Who judges training candidates (`train`) and who judges the outputs (`eval`): NAME,
    NAME:MODEL, NAME:MODEL@BASE_URL or file.py:Class. Where a method has the policy judge itself,
    `self` says how."""

    train: str = Field("offline", description="judge of training candidates")
    eval: str | None = Field(None, description="by default the training judge")
    self: Literal["digits", "additive"] = Field(
        "digits",
        description="the expected digit after 'Score: ', or the judge 'additive' with the policy "
        "itself, which then has to write its scores",
    )


class JudgingConfig(_Section):
    """How judges are asked, and what those that are models may cost."""

    votes: Positive = Field(3, description="votes of the judges 'additive' and 'pairwise'")
    both_orders: bool = Field(False, description="ask pair judges in both orders")
    concurrency: Positive = Field(
        32, description="most requests at a time", json_schema_extra=RESUMABLE
    )
    timeout: Annotated[float, Field(gt=0)] = Field(
        120.0, description="seconds an attempt", json_schema_extra=RESUMABLE
    )
    budget_usd: Annotated[float, Field(gt=0)] | None = Field(
        None,
        description="most US dollars in all, earlier starts included; by default no limit",
        json_schema_extra=RESUMABLE,
    )


class LoraConfig(_Section):
    """LoRA on all linear layers; the adapter is merged into the saved policy."""

    r: Positive = Field(16, description="rank")
    alpha: Positive = Field(32, description="scale: the adapter counts alpha / r times")


class TrainConfig(_Section):
    """Training. Unset values are the method's own defaults."""

    learning_rate: Annotated[float, Field(gt=0)] | None = Field(
        None, description="at its highest, after the warm-up"
    )
    epochs: Positive | None = Field(None, description="passes over an iteration's examples")
    batch_size: Positive | None = Field(None, description="examples an optimiser step")
    micro_batch_tokens: Positive = Field(
        2048, description="most tokens a forward pass", json_schema_extra=RESUMABLE
    )
    max_examples: Positive | None = Field(
        None, description="a seeded subset of at most N new examples an iteration"
    )
    warmup: Annotated[float, Field(ge=0, lt=1)] = Field(
        0.1, description="share of the steps over which the rate rises"
    )
    max_grad_norm: Annotated[float, Field(gt=0)] = Field(
        1.0, description="a longer gradient is shortened to that"
    )
    lora: LoraConfig | None = None
    gradient_checkpointing: bool = Field(
        False,
        description="less memory for a third more time",
        json_schema_extra=RESUMABLE,
    )
    processes: Positive = Field(
        1,
        description="processes that share each step, as many as GPUs",
        json_schema_extra=RESUMABLE,
    )


class DiagnosticsConfig(_Section):
    """On validation prompts: which iterate is best (at most `validation_prompts` of them), and the
    KL to the previous policy, on samples at temperature 1."""

    validation_prompts: Positive = Field(64, description="most prompts that name the best iterate")
    kl_prompts: Positive = Field(16, description="prompts that the KL is measured on")
    kl_samples: Positive = Field(2, description="samples a prompt for the KL")
    kl_max_new_tokens: Positive = Field(128, description="most tokens of such a sample")


class MatchConfig(_Section):
    """What several methods of one command are made to spend alike (`--match`), and which ones."""

    cost: Literal["steps", "tokens", "judgements"] = Field(description="what is made alike")
    methods: tuple[str, ...] = Field(description="the methods of the command")


class RunConfig(_Section):
    """Everything that decides a run's numbers."""

    method: str = Field(description="a name or file.py:Class (--method)")
    settings: dict[str, Any] = Field({}, description="the method's own fields (--set method.X=…)")
    iterations: Positive = Field(
        6, description="the start model's not counted", json_schema_extra=RESUMABLE
    )
    preset: str = Field("quickstart", description="the settings to begin with (--preset)")
    model: str = Field(
        "smollm2-135m", description="start model: an embedded name, a folder or a hub's ORG/NAME"
    )
    seed: Annotated[int, Field(ge=0)] = Field(0, description="of all that is random")
    device: Device = Field("auto", description="auto: a GPU if any", json_schema_extra=RESUMABLE)
    data: DataConfig = DataConfig()
    sampling: SamplingConfig = SamplingConfig()
    benchmark: BenchmarkConfig = BenchmarkConfig()
    judge: JudgeConfig = JudgeConfig()
    judging: JudgingConfig = JudgingConfig()
    train: TrainConfig = TrainConfig()
    diagnostics: DiagnosticsConfig = DiagnosticsConfig()
    match: MatchConfig | None = Field(None, description="set by --match")
    tracker: Tracker = Field(
        "none",
        description="where the run's numbers go as well: TensorBoard (`RUN/tensorboard`) or "
        "Weights & Biases, iteration by iteration",
        json_schema_extra=RESUMABLE,
    )

    @property
    def eval_judge(self) -> str:
        return self.judge.eval or self.judge.train


class EvalConfig(EngineConfig):
    """Everything that decides an evaluation's numbers; `model` may be a file of outputs."""

    model: str
    judge: str
    seed: Annotated[int, Field(ge=0)] = 0
    device: Device = Field("auto", json_schema_extra=RESUMABLE)
    benchmark: BenchmarkConfig = BenchmarkConfig()
    judging: JudgingConfig = JudgingConfig()


class GoldConfig(_Section):
    """Who answers which prompts, how it decodes, and how it is asked (as judges are)."""

    teacher: str
    data: str
    seed: Annotated[int, Field(ge=0)] = 0
    temperature: Annotated[float, Field(ge=0)] = 0.0
    top_p: Annotated[float, Field(gt=0, le=1)] = 1.0
    max_new_tokens: Positive = Field(2048, description="a longer answer is a failure")
    judging: JudgingConfig = JudgingConfig()


class AskingConfig(_Section):
    """Who judges texts that a command is given, and how it is asked."""

    judge: str
    judging: JudgingConfig = JudgingConfig()


C = TypeVar("C", bound=_Section)


# --- layers -----------------------------------------------------------------------------------


def preset_names() -> list[str]:
    return sorted(
        item.name.removesuffix(".yaml")
        for item in (files("harness") / "presets").iterdir()
        if item.name.endswith(".yaml")
    )


def preset(name: str) -> dict[str, Any]:
    """A preset's values. Raises HarnessError with near names."""
    if name not in preset_names():
        raise HarnessError(f"No preset '{name}': {near_names(name, preset_names())}")
    text = (files("harness") / "presets" / f"{name}.yaml").read_text(encoding="utf-8")
    values: dict[str, Any] = yaml.safe_load(text)
    return values


def config_file(path: Path) -> dict[str, Any]:
    """A user's YAML file, in the shape of RunConfig."""
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise HarnessError(f"{path}: {error.strerror}; check --config.") from None
    except (yaml.YAMLError, ValueError) as error:  # an impossible date is a ValueError
        raise HarnessError(f"{path}: not valid YAML ({' '.join(str(error).split())}).") from None
    if not isinstance(values, dict):
        raise HarnessError(f"{path}: expected settings by name, such as 'seed: 1'.")
    return _settings_name(values)


def parse_sets(sets: Iterable[str]) -> dict[str, Any]:
    """`a.b=c` texts as nested values; c is read as YAML. `method.x` are the method's fields."""
    values: dict[str, Any] = {}
    for text in sets:
        path, equals, value = text.partition("=")
        *parents, last = (part.strip() for part in path.split("."))
        if not equals or not all([*parents, last]):
            raise HarnessError(f"--set {text}: write it as --set name=value.")
        node = values
        for parent in parents:
            node = node.setdefault(parent, {})
            if not isinstance(node, dict):
                raise HarnessError(f"--set {text}: '{parent}' was given a value before; drop one.")
        try:
            node[last] = yaml.safe_load(value)
        except (yaml.YAMLError, ValueError):
            raise HarnessError(f"--set {text}: the value is not valid YAML.") from None
    return _settings_name(values)


def _settings_name(values: dict[str, Any]) -> dict[str, Any]:
    """Users write a method's fields under `method`, next to which its name has no place."""
    if isinstance(values.get("method"), dict):
        values = {**values, "settings": values["method"]}
        del values["method"]
    return values


def merge(*layers: Mapping[str, Any]) -> dict[str, Any]:
    """Nested mappings, the later over the earlier."""
    merged: dict[str, Any] = {}
    for layer in layers:
        for key, value in layer.items():
            old = merged.get(key)
            if isinstance(old, dict) and isinstance(value, Mapping):
                merged[key] = merge(old, value)
            else:
                merged[key] = value
    return merged


def validate(kind: type[C], values: Mapping[str, Any]) -> C:
    """Settings from merged layers. Raises HarnessError that names the field."""
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"])
        if first["type"] == "extra_forbidden":
            hint = near_names(name, field_names(kind))
            raise HarnessError(f"No setting '{name}': {hint}") from None
        if first["type"] == "model_type":
            inside = [known for known in field_names(kind) if known.startswith(f"{name}.")]
            raise HarnessError(
                f"Setting '{name}' is a group, got {first['input']!r}; set one of "
                f"{', '.join(inside)}."
            ) from None
        raise HarnessError(f"Setting '{name}': {first['msg']}, got {first['input']!r}.") from None


def field_names(model: type[BaseModel] = RunConfig, prefix: str = "") -> list[str]:
    """All settings, dotted; of a group that may be left out, its own name too."""
    names = []
    for name, field in model.model_fields.items():
        kinds = get_args(field.annotation) or (field.annotation,)
        groups = [kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)]
        if len(groups) < len(kinds):
            names.append(f"{prefix}{name}")
        for group in groups:
            names += field_names(group, f"{prefix}{name}.")
    return names


def deciding(section: BaseModel) -> dict[str, JsonValue]:
    """A section's settings less those marked `RESUMABLE`, for fingerprints."""
    fields = type(section).model_fields.items()
    free = {name for name, field in fields if field.json_schema_extra == RESUMABLE}
    return section.model_dump(mode="json", exclude=free)


def changed_field(old: C, new: C) -> tuple[str, Any, Any] | None:
    """The first setting that decides finished stages and differs: (name, old, new)."""
    return _changed(old, new, "")


def _changed(old: BaseModel, new: BaseModel, prefix: str) -> tuple[str, Any, Any] | None:
    for name, field in type(old).model_fields.items():
        before, after = old.__dict__[name], new.__dict__[name]
        if before == after or field.json_schema_extra == RESUMABLE:
            continue
        if isinstance(before, BaseModel) and type(before) is type(after):
            found = _changed(before, after, f"{prefix}{name}.")
            if found:
                return found
        elif isinstance(before, dict) and isinstance(after, dict):
            gone = object()
            key = next(k for k in {**before, **after} if before.get(k, gone) != after.get(k, gone))
            return f"{prefix}{name}.{key}", before.get(key), after.get(key)
        else:
            return f"{prefix}{name}", before, after
    return None
