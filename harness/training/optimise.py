"""The optimisation itself: a transformers Trainer whose unit of data is one optimiser step."""

from __future__ import annotations

import math
import tempfile
from collections import defaultdict
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from transformers import PreTrainedModel, PrinterCallback, Trainer, TrainingArguments

from harness.engines.logprobs import all_logprobs, completion_logprobs
from harness.errors import HarnessError
from harness.records import TrainStep
from harness.training.batches import Encoded, References, micro_batches, schedule, share_of
from harness.training.processes import add_up, count, rank
from harness.types import Loss, Method

if TYPE_CHECKING:
    from harness.training.train import TrainSettings

OnStep = Callable[[TrainStep, int], None]


class NotFiniteError(HarnessError):
    """A loss or gradient at step `step` that is not finite. The weights are those before it."""

    def __init__(self, message: str, step: int) -> None:
        super().__init__(message)
        self.step = step


def optimise(
    model: PreTrainedModel,
    data: Encoded,
    references: References,
    method: Method,
    settings: TrainSettings,
    on_step: OnStep,
    say: Callable[[str], None],
) -> tuple[tuple[TrainStep, ...], int]:
    """Train `model` in place; returns the steps and the number of tokens trained on.

    NotFiniteError, before the weights change, at the first loss or gradient that is not finite.
    """
    with tempfile.TemporaryDirectory() as folder:  # the Trainer wants one, and leaves it empty
        trainer = StepTrainer(model, data, references, method, settings, on_step, say, folder)
        trainer.train()
    return tuple(trainer.done), trainer.tokens


class StepTrainer(Trainer):
    """One data item is one whole optimiser step; `training_step` cuts it into micro-batches.

    Each micro-batch's mean loss counts by its share of the step's examples. So a step's gradient is
    the mean over its examples whatever the micro-batches are, however many processes share them
    and however few examples an epoch's last step has; the Trainer's own accumulation averages over
    micro-batches instead.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        data: Encoded,
        references: References,
        method: Method,
        settings: TrainSettings,
        on_step: OnStep,
        say: Callable[[str], None],
        folder: str,
    ) -> None:
        self.language_model = model  # `model` becomes what wraps it for several processes
        self.data, self.references, self.method = data, references, method
        self.micro_batch_tokens = settings.micro_batch_tokens
        steps = schedule(len(data), settings.batch_size, settings.epochs, settings.seed)
        self.total, self.steps_an_epoch = len(steps), len(steps) // settings.epochs
        self.on_step, self.say = on_step, say
        self.done: list[TrainStep] = []
        self.tokens = 0
        self.means: dict[str, float] = {}  # of each diagnostic over the step's examples
        super().__init__(
            model=model,
            args=_arguments(settings, len(steps), model.device, folder),
            train_dataset=_Steps(steps),
        )
        self.remove_callback(PrinterCallback)

    def get_train_dataloader(self) -> DataLoader[dict[str, Tensor]]:
        """Every process gets every step: they share its examples."""
        assert isinstance(self.train_dataset, _Steps)
        return DataLoader(self.train_dataset, batch_size=None)

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
        while True:
            try:
                return self._accumulate(model, step)
            except torch.OutOfMemoryError:
                if self.micro_batch_tokens < self.data.length(step) / len(step) or count() > 1:
                    raise
                self.micro_batch_tokens //= 2
                self.say(
                    "out of memory: going on with forward passes of at most "
                    f"{self.micro_batch_tokens} tokens (train.micro_batch_tokens)"
                )
            model.zero_grad()
            torch.cuda.empty_cache()

    def _accumulate(self, model: nn.Module, step: list[int]) -> Tensor:
        mismatched = self._mismatched(step)
        mine = share_of(self.data, step, rank(), count())
        parts = list(micro_batches(self.data, mine, self.micro_batch_tokens))
        # One without examples reads one all the same, for nothing: all must meet in the backward.
        weights = [len(part) / len(step) for part in parts] or [0.0]
        parts = parts or [(step[0],)]
        loss = torch.zeros(())
        bad = torch.zeros(len(self.data))
        sums: dict[str, float] = defaultdict(float)
        for number, (part, weight) in enumerate(zip(parts, weights, strict=True), start=1):
            last = number == len(parts)
            with nullcontext() if last else self.accelerator.no_sync(model):
                found = self._loss(model, part, step, mismatched)
                # DDP's gradients are means over processes; ours are sums of shares.
                self.accelerator.backward(found.mean * (weight * count()))
            if not torch.isfinite(found.mean):
                bad[list(part)] = 1
            loss += found.mean.detach().cpu() * weight
            for name, values in sorted(found.diagnostics.items()):
                sums[name] += float(values.mean()) * weight
        total, *means = self._all(torch.tensor([float(loss), *sums.values()])).tolist()
        self._check(step, total, self._all(bad))
        self.tokens += self.data.length(step)
        self.means = dict(zip(sums, means, strict=True))
        return torch.tensor(total, dtype=torch.float32, device=self.args.device)

    def _loss(
        self, model: nn.Module, part: tuple[int, ...], step: list[int], mismatched: Tensor | None
    ) -> Loss:
        """The method's loss over the examples `part` of `step`, one forward pass."""
        policy = replace(completion_logprobs(model, self.data.select(part)), mismatched=mismatched)
        device = policy.sums.device
        references = self.references.select(part, step, len(self.data), device)
        return self.method.loss(policy, references, self.data.batch(part, device))

    def _mismatched(self, step: Sequence[int]) -> Tensor | None:
        """The policy's log-probs of a whole step's prompts with other prompts' answers, where the
        method wants them: before the step, and so the same in each of its forward passes."""
        if self.data.others is None:
            return None
        rows = self.data.mismatched(step)
        found = all_logprobs(self.language_model, rows, self.micro_batch_tokens).sums
        return found.to(self.language_model.device)

    def _check(self, step: Sequence[int], loss: float, bad: Tensor) -> None:
        """NotFiniteError where the step's loss or gradient is not finite."""
        number = self.state.global_step + 1
        named = [i for i in step if bad[i]]
        what, value = "loss", loss
        if not named:
            weights = self.language_model.parameters()
            grads = [weight.grad for weight in weights if weight.grad is not None]
            what, value = "gradient's norm", float(torch.nn.utils.get_total_norm(grads))
            if math.isfinite(value):
                return
            named = list(step)
        names = ", ".join(dict.fromkeys(f"'{self.data.ids[i]}'" for i in named))
        raise NotFiniteError(
            f"the {what} of step {number} of {self.total} is {value}, on the prompts {names}; "
            "lower the learning rate, or look at these prompts' examples.",
            number,
        )

    def _all(self, values: Tensor) -> Tensor:
        return add_up(values, self.language_model.device)

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
            diagnostics=self.means,
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
        ddp_find_unused_parameters=False,
        ddp_broadcast_buffers=False,
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
