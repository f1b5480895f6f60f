"""Train a policy on examples: model folder in, model folder out."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import torch

from harness.config import LoraConfig
from harness.errors import HarnessError
from harness.models.chat import ChatTokenizer, context_length
from harness.models.linear import use_onednn
from harness.records import TrainStep, TrainSummary
from harness.training.batches import Encoded, References, encode
from harness.training.checkpointing import checkpoint_layers
from harness.training.optimise import NotFiniteError, optimise
from harness.training.processes import rank
from harness.training.references import load_policy, measure
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


LAST_GOOD = "last-good"
"""The folder beside the policy's where training that fails leaves the weights it had."""


@dataclass(frozen=True, slots=True)
class TrainSettings:
    """Training's numbers with nothing left open.

    `batch_size` counts examples an optimiser step, `micro_batch_tokens` tokens a forward pass
    (memory and speed only: results are the same up to float32 rounding); `warmup` is a share of
    all steps; `gradient_checkpointing` computes each layer's activations again in the backward pass
    and holds none; `lora` None trains all weights.
    """

    learning_rate: float
    epochs: int
    batch_size: int
    micro_batch_tokens: int
    warmup: float
    max_grad_norm: float
    gradient_checkpointing: bool
    lora: LoraConfig | None
    seed: int
    device: Literal["auto", "cpu", "cuda"]


def train(
    *,
    start: Path,
    references: Mapping[str, LogProbs],
    examples: Sequence[Example],
    method: Method,
    settings: TrainSettings,
    out: Path,
    on_step: Callable[[TrainStep, int], None],
    say: Callable[[str], None],
    mismatched: bool = False,
) -> TrainSummary:
    """Train the model in `start` by `method` and save it to `out`, a whole model folder.

    `references` are what the method's loss compares with: `policy_logprobs` of the `encoded`
    examples, by name. `on_step` gets each optimiser step and how many there will be, `say` what the
    user should know. `mismatched` also measures prompts with other prompts' answers. Examples to
    which a reference gives no probability at all are left out: there is no log-ratio to learn
    from. Same arguments, same machine: same bytes, in float32. HarnessError where the examples
    cannot be trained on or the loss is not finite; then there is no `out`, but beside it
    `LAST_GOOD` where steps were taken before.

    Where several processes run this together, they share each step's examples, and the first one
    saves and speaks.
    """
    data, compared = _finite(encoded(start, examples, mismatched), References(references))
    model = load_policy(start, settings)
    lora = None if settings.lora is None else _attach(model, settings.lora, settings.seed)
    if settings.gradient_checkpointing:
        checkpoint_layers(model)

    try:
        steps, tokens = optimise(model, data, compared, method, settings, on_step, say)
    except NotFiniteError as error:
        if error.step == 1:
            raise
        last_good = out.with_name(LAST_GOOD)
        _save(_merged(model, lora), start, last_good)
        raise HarnessError(f"{error} The weights before that step are in {last_good}.") from None
    except torch.OutOfMemoryError as error:
        raise HarnessError(
            f"out of memory ({str(error).splitlines()[0]}); lower train.micro_batch_tokens, set "
            "train.gradient_checkpointing=true, or train LoRA adapters (train.lora.r=16)."
        ) from None
    model = _merged(model, lora)
    policy = measure(model, data, settings.micro_batch_tokens)
    after = _after(method, policy, compared, data)
    _save(model, start, out)
    return TrainSummary(len(data), tokens, steps, after, len(examples) - len(data))


def encoded(start: Path, examples: Sequence[Example], mismatched: bool) -> Encoded:
    """Examples as the model in `start` reads them; HarnessError where it cannot."""
    return encode(examples, ChatTokenizer.load(start), context_length(start), mismatched)


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


def _merged(model: PreTrainedModel, lora: PeftModel | None) -> PreTrainedModel:
    return model if lora is None else lora.merge_and_unload()


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
    """Weights and config of `model` with the tokenizer's files of `start`, by the first process."""
    if rank() > 0:
        return
    out.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(out)
    for pattern in _TOKENIZER_FILES:
        for file in sorted(start.glob(pattern)):
            if file.is_file():
                shutil.copyfile(file, out / file.name)
