"""`check_method`, for anyone's tests: does a method keep the contract (docs/adding-a-method.md)?"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import FrozenInstanceError, asdict, dataclass, field, replace
from random import Random
from typing import Any, NoReturn, cast

import torch
from pydantic import TypeAdapter, ValidationError
from torch import Tensor

from harness import registry
from harness.codec import dump
from harness.testing_pools import Case, cases
from harness.training.batches import Encoded, References, parts_of
from harness.types import Demo, Example, Hyper, Labelled, LogProbs, Loss, Method, Pair, Plan

EXAMPLES = 8
"""Examples of a step."""
CPU = torch.device("cpu")


def check_method(method: Method | str) -> None:
    """Every promise of a method that needs no model, for an instance, a name or `file.py:Class`.

    Its settings are a frozen dataclass; its plans are valid and repeatable; its examples are
    pure, of one kind an iteration, from the group's answers, and there are some under judges
    that compare and judges that score, whatever these say or fail to say; its loss is finite,
    differentiable, weighted, shaped as promised, the same however a step is cut, and reads the
    references that its plan names. AssertionError with a sentence that says which promise is
    broken; HarnessError where there is no such method or it is none.
    """
    if isinstance(method, str):
        method = registry.make_method(registry.find(registry.METHODS, method), {})
    contract = _Contract(method)
    contract.check_class()
    for plan, when in contract.plans().items():
        examples = contract.check_examples(plan, when)
        contract.check_loss(plan, when, examples)


@dataclass(frozen=True)
class _Contract:
    """The checks of one method. `when` is where in a run a plan is used, for messages."""

    method: Method

    def fail(self, sentence: str, error: Exception | None = None) -> NoReturn:
        why = f" ({type(error).__name__}: {error})" if error else ""
        raise AssertionError(f"The method {type(self.method).__name__}: {sentence}{why}") from error

    def require(self, holds: object, sentence: str) -> None:
        if not holds:
            self.fail(sentence)

    # --- class and plans ----------------------------------------------------------------------

    def check_class(self) -> None:
        cls = type(self.method)
        plugin = registry.Plugin(cls.__name__, cls, cls.__module__, "")
        settings = registry.method_fields(plugin)
        with suppress(FrozenInstanceError):
            cast(Any, self.method).name = self.method.name
            self.fail("it is not frozen; write @dataclass(frozen=True).")
        for part in ("name", "paper", "defaults"):
            self.require(part not in settings, f"'{part}' is a setting: write it as ClassVar.")
        again = registry.make_method(plugin, registry.settings_of(self.method))
        self.require(again == self.method, "made anew from its own settings, it is another one.")
        for part, text in (("name", self.method.name), ("paper", self.method.paper)):
            self.require(isinstance(text, str) and text, f"'{part}' is no text.")
        self.require(isinstance(self.method.defaults, Hyper), "'defaults' is no Hyper.")
        for name, number in dump(self.method.defaults).items():
            self.require(number > 0, f"'defaults' has {name}={number}, which must be positive.")

    def plans(self) -> dict[Plan, str]:
        """Each different plan of runs of one to four iterations, and where it first occurs."""
        found: dict[Plan, str] = {}
        for iterations in range(1, 5):
            for t in range(1, iterations + 1):
                when = f"iteration {t} of {iterations}"
                plan = self._plan(t, iterations, when)
                found.setdefault(plan, when)
        return found

    def _plan(self, t: int, iterations: int, when: str) -> Plan:
        try:
            plan = self.method.plan(t, iterations)
            again = self.method.plan(t, iterations)
        except Exception as error:
            self.fail(f"plan() fails in {when}", error)
        self.require(isinstance(plan, Plan), f"plan() gives no Plan in {when}.")
        self.require(plan == again, f"plan() gives two answers for {when}.")
        try:
            checked = TypeAdapter(Plan).validate_python(asdict(plan))
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"])
            self.fail(f"the plan of {when} is wrong in '{where}': {first['msg']}.")
        self.require(
            checked == plan, f"the plan of {when} has lists for tuples, or text for numbers."
        )
        sampled = plan.samples > 0
        self.require(
            plan.samples >= 0 and sampled == (plan.sampler != "none"),
            f"the plan of {when} has {plan.samples} samples of the sampler '{plan.sampler}'.",
        )
        self.require(
            sampled or plan.judge == "none",
            f"the plan of {when} judges without a sampler; nothing would be judged.",
        )
        self.require(
            all(0 <= share <= 1 for share in plan.replay),
            f"the plan of {when} replays {plan.replay}; shares are from 0 to 1.",
        )
        return plan

    # --- examples -----------------------------------------------------------------------------

    def check_examples(self, plan: Plan, when: str) -> list[Example]:
        """All that the method makes of the pools of a plan, of every kind of judge."""
        made: list[Example] = []
        for judge, pools in cases(plan).items():
            where = f"in {when} under {judge}"
            found = [self._examples(case, where) for case in pools]
            for case, examples in zip(pools, found, strict=True):
                for example in examples:
                    self._check_example(example, case, f"{where}, {case}")
            for case, before in zip(reversed(pools), reversed(found), strict=True):
                self.require(
                    self._examples(case, where) == before,
                    f"examples() answers differently to the same group and rng {where}, {case}.",
                )
            self.require(any(found), f"examples() gives none {where}, whatever the pool.")
            made += [example for examples in found for example in examples]
        kinds = sorted({type(example).__name__ for example in made})
        self.require(len(kinds) == 1, f"the examples of {when} are of several kinds: {kinds}.")
        return made

    def _examples(self, case: Case, where: str) -> list[Example]:
        try:
            return list(self.method.examples(case.group, Random(0)))
        except Exception as error:
            self.fail(f"examples() fails {where}, {case}", error)

    def _check_example(self, example: Example, case: Case, where: str) -> None:
        self.require(
            isinstance(example, Demo | Pair | Labelled),
            f"examples() gives a {type(example).__name__} {where}: no Demo, Pair or Labelled.",
        )
        answers, values, _ = parts_of(example)
        self.require(
            all(math.isfinite(number) for number in (example.weight, *values)),
            f"an example has a weight or a value that is not finite {where}.",
        )
        self.require(
            len({answer.text.strip() for answer in answers}) == len(answers),
            f"a pair is of two equal texts {where}; there is nothing to prefer.",
        )
        if example.prompt != case.group.prompt:
            return  # an example of the method's own making, such as how to grade
        self.require(
            set(answers) <= set(case.group.completions),
            f"an example has an answer that is not among the group's completions {where}.",
        )
        self.require(
            not set(answers) & case.failed,
            f"an example uses a candidate whose judgement failed {where}; skip it.",
        )
        if isinstance(example, Pair) and case.ordered:
            self.require(
                case.worth(example.chosen) > case.worth(example.rejected),
                f"a pair prefers the answer that the judge finds worse {where}.",
            )

    # --- loss ---------------------------------------------------------------------------------

    def check_loss(self, plan: Plan, when: str, made: Sequence[Example]) -> None:
        """At log-probs made up: where policy and reference are equal, and where they differ."""
        spread = made[:: max(1, len(made) // EXAMPLES)][:EXAMPLES]
        step = _Step.of([spread[i % len(spread)] for i in range(EXAMPLES)])
        for apart in (0.0, 1.0):
            loss, gradient = self._loss(step, plan, when, apart, range(EXAMPLES))
            parts = [self._loss(step, plan, when, apart, [i]) for i in range(EXAMPLES)]
            means = torch.stack([part.mean for part, _ in parts]).mean()
            slopes = torch.stack([slope for _, slope in parts]).mean(dim=0)
            self.require(
                _close(means, loss.mean) and _close(slopes, gradient),
                f"the loss of {when} depends on how a step is cut: the mean over {EXAMPLES} "
                "batches of one is not that of one batch; divide by the number of examples.",
            )
            heavy = replace(step, data=replace(step.data, weights=2 * step.data.weights))
            doubled, _ = self._loss(heavy, plan, when, apart, range(EXAMPLES))
            self.require(
                _close(doubled.mean, 2 * loss.mean),
                f"the loss of {when} is not batch.weights times each example's loss.",
            )
        self.require(gradient.any(), f"the loss of {when} has no gradient: nothing is learnt.")

    def _loss(
        self, step: _Step, plan: Plan, when: str, apart: float, part: Sequence[int]
    ) -> tuple[Loss, Tensor]:
        """The loss of a part of a step, and its gradient."""
        known = step.log_probs(plan, apart, part)
        policy, references = known.pop("policy"), _Read(known)
        sums = policy.sums.requires_grad_()
        try:
            loss = self.method.loss(policy, references, step.data.batch(part, CPU))
        except Exception as error:
            self.fail(f"loss() fails in {when} with the references {plan.references}", error)
        self.require(isinstance(loss, Loss), f"loss() gives no Loss in {when}.")
        self.require(
            references.read == set(plan.references),
            f"the plan of {when} names the references {plan.references}, but loss() reads "
            f"{sorted(references.read)}.",
        )
        self.require(
            isinstance(loss.mean, Tensor) and loss.mean.shape == () and loss.mean.isfinite(),
            f"the loss of {when} is {loss.mean}, no finite scalar.",
        )
        for name, values in loss.diagnostics.items():
            self.require(
                isinstance(values, Tensor)
                and values.shape == (len(part),)
                and not values.requires_grad,
                f"the diagnostic '{name}' of {when} is not one detached value an example.",
            )
            self.require(values.isfinite().all(), f"'{name}' of {when} is not finite.")
        try:
            (gradient,) = torch.autograd.grad(loss.mean, sums)
        except RuntimeError as error:
            self.fail(f"the loss of {when} does not depend on the policy's log-probs", error)
        self.require(gradient.isfinite().all(), f"the gradient of {when} is not finite.")
        whole = torch.zeros(step.sides, EXAMPLES)
        whole[:, list(part)] = gradient.view(step.sides, -1)
        return loss, whole.flatten()


@dataclass(frozen=True)
class _Step:
    """The examples of one optimiser step, without a tokenizer; `sides` is rows an example."""

    data: Encoded
    sides: int

    @classmethod
    def of(cls, examples: Sequence[Example]) -> _Step:
        parts = [parts_of(example) for example in examples]
        data = Encoded(
            ids=tuple(example.prompt.id for example in examples),
            sides=(),
            weights=torch.linspace(0.5, 2, len(examples)),
            values=torch.tensor([values for _, values, _ in parts], dtype=torch.float32),
            desirable=torch.tensor([desirable for _, _, desirable in parts]),
        )
        return cls(data, len(parts[0][0]))

    def log_probs(self, plan: Plan, apart: float, part: Sequence[int]) -> dict[str, LogProbs]:
        """The policy's and the references' for a part of the step, cut as training cuts them."""
        rows = self.sides * EXAMPLES
        lengths = torch.arange(1, rows + 1)
        others = torch.linspace(-50, -2, rows) if plan.mismatched else None
        sums = torch.linspace(-90, -1, rows)
        known = {"policy": LogProbs(sums, lengths, others)}
        for k, name in enumerate(plan.references, start=1):
            shifted = sums + apart * k * torch.linspace(-5, 9, rows)
            known[name] = LogProbs(shifted, lengths, None if others is None else others - k)
        return References(known).select(part, range(EXAMPLES), EXAMPLES, CPU)


@dataclass(frozen=True)
class _Read(Mapping[str, LogProbs]):
    """References that remember which of them were read."""

    known: Mapping[str, LogProbs]
    read: set[str] = field(default_factory=set)

    def __getitem__(self, name: str) -> LogProbs:
        found = self.known[name]
        self.read.add(name)
        return found

    def __iter__(self) -> Iterator[str]:
        return iter(self.known)

    def __len__(self) -> int:
        return len(self.known)


def _close(a: Tensor, b: Tensor) -> bool:
    scale = float(b.detach().abs().max())
    return torch.allclose(a, b, rtol=1e-4, atol=1e-5 * max(1.0, scale))
