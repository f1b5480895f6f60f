"""Sampling from a model behind an OpenAI-compatible server: a teacher, or a policy that is served.

Messages are sent, not token ids: the server applies the chat template, and completions come back
without ids. Its random numbers are its own: a seed is asked for, and what it does is not promised.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from harness.client.chat import Answer, Chat, Question
from harness.client.replies import Reply
from harness.errors import HarnessError
from harness.judges.forecast import Forecast, tokens
from harness.types import Completion, Prompt, SampleSpec

CHUNK = 1024
"""Questions that wait in memory at a time."""

Read = Callable[[Reply], list[str]]


@dataclass(frozen=True)
class OpenAIEngine:
    """A `Sampler`. Answers are cached, failures never, so that an interrupted command goes on."""

    chat: Chat

    def sample(self, prompts: Sequence[Prompt], spec: SampleSpec) -> Iterator[Completion]:
        """`spec.samples` completions a prompt, in order. Those that failed are missing, and after
        the last one a HarnessError says how many and why; the next call asks for them again."""
        failed: Counter[str] = Counter()
        for prompt, sample, answer in self.answers(prompts, spec, "sample-1", _sampled):
            if answer.value is None:
                failed[str(answer.error)] += 1
                continue
            text, finish = answer.value
            cut = finish == "length"
            yield Completion(prompt.id, sample, text, (), "length" if cut else "stop", spec.source)
        if failed:
            reasons = ", ".join(f"{reason} {count}" for reason, count in failed.most_common())
            raise HarnessError(
                f"{self.chat.name} left {failed.total()} of {len(prompts) * spec.samples} requests "
                f"without an answer ({reasons}); the others are kept: run the same command again."
            )

    def answers(
        self, prompts: Sequence[Prompt], spec: SampleSpec, rule: str, read: Read
    ) -> Iterator[tuple[Prompt, int, Answer[list[str]]]]:
        """(prompt, sample number, answer), in order; an answer is what `read` makes of a reply.

        `rule` names that reading in the cache. Raises BudgetSpentError once no budget is left."""
        asked = [(prompt, sample) for prompt in prompts for sample in range(spec.samples)]
        for start in range(0, len(asked), CHUNK):
            chunk = asked[start : start + CHUNK]
            questions = [_question(prompt, sample, spec, rule, read) for prompt, sample in chunk]
            for (prompt, sample), answer in zip(chunk, self.chat.ask(questions), strict=True):
                yield prompt, sample, answer

    def forecast(self, prompts: Sequence[Prompt], spec: SampleSpec) -> Forecast:
        """What these completions cost at most."""
        once = (
            Forecast.of(
                spec.samples,
                sum(tokens(message.content) for message in prompt.messages),
                spec.max_new_tokens,
                self.chat.price,
            )
            for prompt in prompts
        )
        return sum(once, Forecast())


def _question(
    prompt: Prompt, sample: int, spec: SampleSpec, rule: str, read: Read
) -> Question[list[str]]:
    stream = hashlib.sha256(f"{spec.seed}:{prompt.id}:{sample}".encode()).digest()
    greedy = spec.temperature == 0
    return Question(
        prompt.messages,
        spec.max_new_tokens,
        spec.temperature,
        rule,
        read,
        seed=None if greedy else int.from_bytes(stream[:4]) >> 1,
        top_p=None if greedy else spec.top_p,
    )


def _sampled(reply: Reply) -> list[str]:
    return [reply.text, reply.finish_reason]
