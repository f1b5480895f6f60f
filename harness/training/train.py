"""Train a policy on examples: model folder in, model folder out."""

from __future__ import annotations

import gc
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import torch

from harness.config import LoraConfig
from harness.engines.logprobs import all_logprobs
from harness.engines.packing import Row
from harness.errors import HarnessError
from harness.models.chat import ChatTokenizer, context_length
from harness.models.linear import use_onednn
from harness.models.load import load_model, pick_device
from harness.records import TrainStep, TrainSummary
from harness.training.batches import Encoded, References, encode
from harness.training.optimise import optimise
from harness.types import Example, LogProbs, Method

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel

_TOKENIZER_FILES = (
    "tokenizer*",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab*",
    "merges.txt",
    "*.model",
    "*.tiktoken",
    "chat_template*",
)


@dataclass(frozen=True, slots=True)
class TrainSettings:
    """Training's numbers with nothing left open.

    `batch_size` counts examples an optimiser step, `micro_batch_tokens` tokens a forward pass
    (memory and speed only: results are the same up to float32 rounding); `warmup` is a share of
    all steps; `lora` None trains all weights.
    """

    learning_rate: float
    epochs: int
    batch_size: int
    micro_batch_tokens: int
    warmup: float
    max_grad_norm: float
    lora: LoraConfig | None
    seed: int
    device: Literal["auto", "cpu", "cuda"]


def train(
    *,
    start: Path,
    references: Mapping[str, Path],
    examples: Sequence[Example],
    method: Method,
    settings: TrainSettings,
    out: Path,
    on_step: Callable[[TrainStep, int], None],
    mismatched: bool = False,
) -> TrainSummary:
    """Train the model in `start` by `method` and save it to `out`, a whole model folder.

    `references` are the folders of the policies that the method's loss compares with; `on_step`
    gets each optimiser step and how many there will be; `mismatched` also measures prompts with
    other prompts' answers. Examples to which a reference gives no probability at all are left
    out: there is no log-ratio to learn from. Same arguments, same machine: same bytes,
    in float32. HarnessError, and no `out`, where the examples cannot be trained on or the loss
    is not finite.
    """
    device = pick_device(settings.device)

    def load(path: Path) -> PreTrainedModel:
        # Float32 on a GPU too: a small step on a bfloat16 weight rounds to no step at all.
        return load_model(path, device, torch.float32)

    data = encode(examples, ChatTokenizer.load(start), context_length(start), mismatched)
    model = load(start)
    compared = _references(references, start, model, load, data, settings.micro_batch_tokens)
    data, compared = _finite(data, compared)
    lora = None if settings.lora is None else _attach(model, settings.lora, settings.seed)
    steps, tokens = optimise(model, data, compared, method, settings, on_step)
    if lora is not None:
        model = lora.merge_and_unload()
    measured = all_logprobs(model, _all_rows(data), settings.micro_batch_tokens)
    policy = _split(measured, data)
    after = _after(method, policy, compared, data)
    _save(model, start, out)
    return TrainSummary(len(data), tokens, steps, after, len(examples) - len(data))


def _references(
    paths: Mapping[str, Path],
    start: Path,
    model: PreTrainedModel,
    load: Callable[[Path], PreTrainedModel],
    data: Encoded,
    tokens: int,
) -> References:
    """Log-probs of all rows under each reference; a path that occurs twice is computed once.

    `model` is the start policy before any step. Others are loaded one after another.
    """
    rows = _all_rows(data)
    found: dict[Path, LogProbs] = {}
    for path in paths.values():
        real = path.resolve()
        if real in found:
            continue
        if real == start.resolve():
            found[real] = all_logprobs(model, rows, tokens)
        else:
            found[real] = _path_logprobs(load, path, rows, tokens)
    return References({name: _split(found[path.resolve()], data) for name, path in paths.items()})


def _path_logprobs(
    load: Callable[[Path], PreTrainedModel], path: Path, rows: Sequence[Row], tokens: int
) -> LogProbs:
    """`all_logprobs` under a model that is loaded for this and freed again."""
    model = load(path)
    try:
        return all_logprobs(model, rows, tokens)
    finally:
        del model
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def _all_rows(data: Encoded) -> tuple[Row, ...]:
    """The rows to measure: the examples', then those with other prompts' answers."""
    return (*data.rows, *data.mismatched(range(len(data))))


def _split(found: LogProbs, data: Encoded) -> LogProbs:
    """The log-probs of `_all_rows`, the second part as `mismatched`."""
    own = len(data.rows)
    others = None if data.others is None else found.sums[own:]
    return LogProbs(found.sums[:own], found.lengths[:own], others)


def _finite(data: Encoded, references: References) -> tuple[Encoded, References]:
    """Without the examples of which a reference's log-prob is not finite."""
    count = len(data)
    tables = [found.sums.view(-1, count) for found in references.by_name.values()]
    kept = [i for i in range(count) if all(table[:, i].isfinite().all() for table in tables)]
    if len(kept) == count:
        return data, references
    if not kept:
        raise HarnessError(
            "no example has a finite log-prob under every reference policy; look at whether the "
            "model in use can write these answers at all."
        )
    chosen = references.select(kept, kept, count, torch.device("cpu"))
    return data.only(kept), References(chosen)


def _attach(model: PreTrainedModel, config: LoraConfig, seed: int) -> PeftModel:
    """Put low-rank adapters beside all linear layers of `model`, in place, and freeze the rest."""
    import peft

    torch.manual_seed(seed)
    adapters = peft.LoraConfig(
        task_type="CAUSAL_LM",
        r=config.r,
        lora_alpha=config.alpha,
        lora_dropout=0.0,
        target_modules="all-linear",
    )
    adapted = peft.get_peft_model(model, adapters)
    use_onednn(adapted)
    return adapted


def _after(
    method: Method, policy: LogProbs, references: References, data: Encoded
) -> dict[str, float]:
    """Mean loss and diagnostics over all examples; HarnessError where the loss is not finite."""
    everything = range(len(data))
    cpu = torch.device("cpu")
    with torch.no_grad():
        loss = method.loss(
            policy,
            references.select(everything, everything, len(data), cpu),
            data.batch(everything, cpu),
        )
    if not torch.isfinite(loss.mean):
        raise HarnessError(
            f"the loss over all examples is {loss.mean.item()} after the last step; lower the "
            "learning rate. Nothing was saved."
        )
    means = {name: float(values.float().mean()) for name, values in loss.diagnostics.items()}
    return {"loss": float(loss.mean), **means}


def _save(model: PreTrainedModel, start: Path, out: Path) -> None:
    """Weights and config of `model` with the tokenizer's files of `start`."""
    out.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(out)
    for pattern in _TOKENIZER_FILES:
        for file in sorted(start.glob(pattern)):
            if file.is_file():
                shutil.copyfile(file, out / file.name)
