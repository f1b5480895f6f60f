"""The optimisation itself: a transformers Trainer whose unit of data is one optimiser step."""

from __future__ import annotations

import tempfile
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset
from transformers import PreTrainedModel, PrinterCallback, Trainer, TrainingArguments

from harness.engines.logprobs import all_logprobs, completion_logprobs
from harness.errors import HarnessError
from harness.records import TrainStep
from harness.training.batches import Encoded, References, micro_batches, schedule
from harness.types import Method

if TYPE_CHECKING:
    from harness.training.train import TrainSettings

OnStep = Callable[[TrainStep, int], None]


def optimise(
    model: PreTrainedModel,
    data: Encoded,
    references: References,
    method: Method,
    settings: TrainSettings,
    on_step: OnStep,
) -> tuple[tuple[TrainStep, ...], int]:
    """Train `model` in place; returns the steps and the number of tokens trained on.

    HarnessError at the first loss that is not finite; the weights are then of no use.
    """
    with tempfile.TemporaryDirectory() as folder:  # the Trainer wants one, and leaves it empty
        trainer = StepTrainer(model, data, references, method, settings, on_step, folder)
        trainer.train()
    return tuple(trainer.done), trainer.tokens


class StepTrainer(Trainer):
    """One data item is one whole optimiser step; `training_step` cuts it into micro-batches.

    Each micro-batch's mean loss counts by its share of the step's examples. So a step's gradient is
    the mean over its examples whatever the micro-batches are and however few examples an epoch's
    last step has; the Trainer's own accumulation averages over micro-batches instead.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        data: Encoded,
        references: References,
        method: Method,
        settings: TrainSettings,
        on_step: OnStep,
        folder: str,
    ) -> None:
        self.data, self.references, self.method = data, references, method
        self.micro_batch_tokens = settings.micro_batch_tokens
        steps = schedule(len(data), settings.batch_size, settings.epochs, settings.seed)
        self.total, self.steps_an_epoch = len(steps), len(steps) // settings.epochs
        self.on_step = on_step
        self.done: list[TrainStep] = []
        self.tokens = 0
        self.sums: dict[str, float] = {}  # of each diagnostic over the step's examples so far
        super().__init__(
            model=model,
            args=_arguments(settings, len(steps), model.device, folder),
            train_dataset=_Steps(steps),
            data_collator=_only_item,
        )
        self.remove_callback(PrinterCallback)

    def training_step(
        self,
        model: nn.Module,
        inputs: dict[str, Any],
        num_items_in_batch: Tensor | int | None = None,
    ) -> Tensor:
        """Accumulate the gradient of one optimiser step; returns its mean loss, a scalar.

        The model stays in evaluation mode: dropout would tell policy from reference by noise.
        """
        step: list[int] = inputs["indices"].tolist()
        self.sums = defaultdict(float)
        total = torch.zeros((), device=self.args.device)
        mismatched = self._mismatched(model, step)
        for part in micro_batches(self.data, step, self.micro_batch_tokens):
            loss = self.compute_loss(
                model, {"indices": part, "step": step, "mismatched": mismatched}
            )
            assert isinstance(loss, Tensor)
            loss = loss * (len(part) / len(step))
            self.accelerator.backward(loss)
            total += loss.detach()
        self.sums = {name: value / len(step) for name, value in self.sums.items()}
        return total

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Tensor | int | None = None,
    ) -> Tensor:
        """The method's mean loss over the examples `inputs["indices"]` of `inputs["step"]`, one
        forward pass."""
        assert isinstance(model, PreTrainedModel)  # one process: nothing wraps it
        part: tuple[int, ...] = inputs["indices"]
        rows = self.data.select(part)
        policy = replace(completion_logprobs(model, rows), mismatched=inputs["mismatched"])
        device = policy.sums.device
        found = self.method.loss(
            policy,
            self.references.select(part, inputs["step"], len(self.data), device),
            self.data.batch(part, device),
        )
        if not torch.isfinite(found.mean):
            names = ", ".join(f"'{self.data.ids[i]}'" for i in part)
            raise HarnessError(
                f"the loss of step {self.state.global_step + 1} of {self.total} is "
                f"{found.mean.item()}, on the prompts {names}; lower the learning rate, or look at "
                "these prompts' examples. Nothing was saved."
            )
        for name, values in found.diagnostics.items():
            self.sums[name] += float(values.sum())
        self.tokens += sum(len(row.ids) for row in rows)
        return found.mean

    def _mismatched(self, model: nn.Module, step: Sequence[int]) -> Tensor | None:
        """The policy's log-probs of a whole step's prompts with other prompts' answers, where the
        method wants them: before the step, and so the same in each of its forward passes."""
        if self.data.others is None:
            return None
        assert isinstance(model, PreTrainedModel)
        rows = self.data.mismatched(step)
        return all_logprobs(model, rows, self.micro_batch_tokens).sums.to(model.device)

    def log(
        self,
        logs: dict[str, float],
        start_time: float | None = None,
    ) -> None:
        """The Trainer's word on a step that is over, handed on as a `TrainStep`."""
        if "grad_norm" not in logs:  # its summary at the end
            return
        step = TrainStep(
            step=self.state.global_step,
            epoch=self.state.global_step / self.steps_an_epoch,
            loss=logs["loss"],
            learning_rate=logs["learning_rate"],
            grad_norm=logs["grad_norm"],
            diagnostics=dict(self.sums),
        )
        self.done.append(step)
        self.on_step(step, self.total)


class _Steps(Dataset[dict[str, Tensor]]):
    """Optimiser steps, each as the indices of its examples."""

    def __init__(self, steps: Sequence[tuple[int, ...]]) -> None:
        self._steps = steps

    def __len__(self) -> int:
        return len(self._steps)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        return {"indices": torch.tensor(self._steps[index])}


def _only_item(items: list[dict[str, Any]]) -> dict[str, Any]:
    return items[0]


def _arguments(
    settings: TrainSettings, steps: int, device: torch.device, folder: str
) -> TrainingArguments:
    """AdamW without weight decay, linear warm-up and decay; nothing written, nothing said."""
    args = TrainingArguments(
        output_dir=folder,
        learning_rate=settings.learning_rate,
        lr_scheduler_type="linear",
        # Rounded down: in a run of few steps a first step at rate 0 would be a step lost.
        warmup_steps=int(settings.warmup * steps),
        weight_decay=0.0,
        max_grad_norm=settings.max_grad_norm,
        num_train_epochs=1,  # the steps of all epochs are in the data set
        per_device_train_batch_size=1,
        train_sampling_strategy="sequential",
        seed=settings.seed,
        use_cpu=device.type == "cpu",
        dataloader_pin_memory=False,
        remove_unused_columns=False,
        use_cache=True,  # only ever written into the saved config, where samplers want it
        logging_steps=1,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
    )
    if args.n_gpu > 1:
        args._n_gpu = 1  # else the Trainer splits every forward pass over all of them
    return args
