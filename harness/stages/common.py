"""What the stages share: the loaded policy, the user's screen, pools."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from harness.config import Device, EngineConfig
from harness.policy import Policy
from harness.progress import Reporter
from harness.types import Completion, Plan, Prompt

if TYPE_CHECKING:
    from harness.engines.transformers import TransformersEngine
    from harness.engines.vllm import VLLMEngine


@dataclass
class Context:
    """Where stages run, by which engine, and what the user sees of them. One policy at a time is in
    memory, in one engine."""

    reporter: Reporter
    device: Device
    settings: EngineConfig
    _loaded: tuple[str, TransformersEngine | VLLMEngine] | None = field(default=None, init=False)

    def sampler(self, policy: Policy) -> TransformersEngine | VLLMEngine:
        """A policy that answers prompts, loaded when it is first asked for."""
        if self.settings.engine == "transformers":
            return self.engine(policy)
        from harness.engines.vllm import VLLMEngine

        held = self._held(policy)
        if not isinstance(held, VLLMEngine):
            self.release()
            held = VLLMEngine(policy.path, self.device, self.settings)
            self._loaded = (policy.digest, held)
        return held

    def engine(self, policy: Policy) -> TransformersEngine:
        """A policy that gives probabilities, too: always by transformers, whose arithmetic is that
        of training."""
        from harness.engines.transformers import TransformersEngine

        held = self._held(policy)
        if not isinstance(held, TransformersEngine):
            self.release()
            held = TransformersEngine.load(
                policy.path,
                device=self.device,
                batch_size=self.settings.batch_size,
                say=self.reporter.say,
            )
            self._loaded = (policy.digest, held)
        return held

    def _held(self, policy: Policy) -> TransformersEngine | VLLMEngine | None:
        return self._loaded[1] if self._loaded and self._loaded[0] == policy.digest else None

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
