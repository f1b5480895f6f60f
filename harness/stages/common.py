"""What the stages share: the loaded policy, the user's screen, pools."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from harness.config import Device
from harness.policy import Policy
from harness.progress import Reporter
from harness.types import Completion, Plan, Prompt

if TYPE_CHECKING:
    from harness.engines.transformers import TransformersEngine


@dataclass
class Context:
    """Where stages run and what the user sees of them. One policy at a time is in memory;
    `batch_size` completions at a time are sampled."""

    reporter: Reporter
    device: Device
    batch_size: int
    _loaded: tuple[str, TransformersEngine] | None = field(default=None, init=False)

    def engine(self, policy: Policy) -> TransformersEngine:
        """The sampling engine of a policy, loaded when it is first asked for."""
        if self._loaded is None or self._loaded[0] != policy.digest:
            self.release()
            from harness.engines.transformers import TransformersEngine

            engine = TransformersEngine.load(
                policy.path, device=self.device, batch_size=self.batch_size
            )
            self._loaded = (policy.digest, engine)
        return self._loaded[1]

    def release(self) -> None:
        """Give the engine's memory back (before training)."""
        if self._loaded is not None:
            self._loaded[1].close()
            self._loaded = None


def pool(prompt: Prompt, samples: Iterable[Completion], plan: Plan) -> tuple[Completion, ...]:
    """One prompt's candidates: the samples in order, then the gold answer where it joins; for
    fixed data, its own chosen and rejected answer."""
    if has_own_pair(prompt, plan):
        return (gold(prompt), Completion(prompt.id, 1, prompt.rejected or "", source="dataset"))
    ours = sorted(samples, key=lambda completion: completion.sample)
    return (*ours, gold(prompt)) if plan.gold and prompt.gold else tuple(ours)


def has_own_pair(prompt: Prompt, plan: Plan) -> bool:
    """Fixed data that brings its rejected answer needs no samples and no judge."""
    return plan.sampler != "previous" and plan.gold and prompt.rejected is not None


def gold(prompt: Prompt) -> Completion:
    return Completion(prompt.id, 0, prompt.gold or "", source="gold")


def by_prompt(completions: Iterable[Completion]) -> dict[str, list[Completion]]:
    grouped: dict[str, list[Completion]] = {}
    for completion in completions:
        grouped.setdefault(completion.prompt_id, []).append(completion)
    return grouped
