"""The policy as its own judge (self-rewarding, Yuan et al. 2024, arXiv 2401.10020): by the digits
that it would write (`self_score.py`), or asked through the sampling engine as a model behind a
server is, so that a judge that asks a model can be the policy itself."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, Protocol, TypeVar

from harness.client.chat import Answer, Question
from harness.client.replies import FailureError, Reply
from harness.errors import HarnessError
from harness.judges.llm.additive import Additive
from harness.judges.self_score import NextToken, SelfJudge
from harness.types import Completion, Prompt, SampleSpec, ScoreJudge, Usage

T = TypeVar("T", float, list[float], list[str])
Means = Literal["digits", "additive"]


class Writer(Protocol):
    """A policy in memory that can answer prompts."""

    def check_context(self, prompts: Sequence[Prompt], max_new_tokens: int) -> None: ...
    def sample(self, prompts: Sequence[Prompt], spec: SampleSpec) -> Iterator[Completion]: ...


def self_judge(
    means: Means,
    reader: Callable[[], NextToken],
    writer: Callable[[], Writer],
    digest: str,
    engine: str,
    votes: int,
    seed: int,
    batch: int,
) -> ScoreJudge:
    """The judge that a policy is of its own answers. `reader` or `writer` (by `engine`) loads it,
    once something is asked; `votes` and `seed` are those of the replies that `additive` averages,
    `batch` of them sampled at a time."""
    if means == "digits":
        return SelfJudge(reader, digest)
    by = "" if engine == "transformers" else f"@{engine}"
    return Additive(PolicyChat(writer, f"policy-{digest[:12]}{by}", seed, batch), votes)


@dataclass(frozen=True)
class PolicyChat:
    """A policy's replies to questions: what `Chat` is for a model behind a server.

    A reply's stream of random numbers follows from `seed` and the question, its own seed included,
    alone. Equal questions are asked once. One that leaves no room for the reply is a failure.
    """

    engine: Callable[[], Writer]
    name: str
    seed: int
    batch: int
    price: ClassVar[None] = None

    def ask(self, questions: Sequence[Question[T]]) -> Iterator[Answer[T]]:
        """One answer a question, in order, `batch` of them at a time."""
        known: dict[str, Reply | FailureError] = {}
        for at in range(0, len(questions), self.batch):
            named = [(_name(question), question) for question in questions[at : at + self.batch]]
            new = {name: question for name, question in named if name not in known}
            known |= self._replies(new)
            for name, question in named:
                yield _read(question, known[name], paid=new.pop(name, None) is not None)

    def _replies(self, questions: Mapping[str, Question[T]]) -> dict[str, Reply | FailureError]:
        engine = self.engine()
        replies: dict[str, Reply | FailureError] = {}
        asked: dict[SampleSpec, list[Prompt]] = {}
        for name, question in questions.items():
            prompt = Prompt(name, question.messages)
            try:
                engine.check_context([prompt], question.max_tokens)
            except HarnessError as error:
                replies[name] = FailureError("too long", str(error))
                continue
            spec = SampleSpec(1, question.temperature, 1.0, question.max_tokens, self.seed)
            asked.setdefault(spec, []).append(prompt)
        for spec, prompts in asked.items():
            for said in engine.sample(prompts, spec):
                tokens = len(said.token_ids)
                replies[said.prompt_id] = Reply(
                    said.text, said.finish_reason, None, self.name, 0, tokens
                )
        return replies


def _read(question: Question[T], reply: Reply | FailureError, paid: bool) -> Answer[T]:
    if isinstance(reply, FailureError):
        return Answer(None, reply.reason, Usage())
    usage = Usage(completion_tokens=reply.completion_tokens) if paid else Usage()
    try:
        return Answer(question.read(reply), None, usage)
    except FailureError as failure:
        return Answer(None, failure.reason, usage)


def _name(question: Question[T]) -> str:
    """Of the prompt that a question is to the engine: by all that tells questions apart."""
    turns = [[message.role, message.content] for message in question.messages]
    asked = json.dumps([turns, question.rule, question.max_tokens, question.seed])
    return hashlib.sha256(asked.encode()).hexdigest()
