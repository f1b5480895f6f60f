"""Questions to one model, through cache and account: what judges use."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import wait
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from harness.client.account import BudgetSpentError, Price
from harness.client.client import Client
from harness.client.endpoint import Endpoint
from harness.client.replies import FailureError, Reason, Reply, check_answered
from harness.types import Message, Usage

T = TypeVar("T", float, list[float], list[str])


@dataclass(frozen=True)
class Question(Generic[T]):
    """One request and how its reply is read.

    `read` raises FailureError where the reply is no answer. `rule` names protocol and reading with
    their version: a change of either is another cache key. `seed` tells votes apart; `top_logprobs`
    asks for so many log-probs of the first token; None leaves it to the server.
    """

    messages: tuple[Message, ...]
    max_tokens: int
    temperature: float
    rule: str
    read: Callable[[Reply], T]
    seed: int | None = None
    top_logprobs: int | None = None
    top_p: float | None = None


@dataclass(frozen=True, slots=True)
class Answer(Generic[T]):
    """`value` is None where there is none, and `error` says why; `usage` is what was paid now, so
    nothing for an answer from the cache."""

    value: T | None
    error: Reason | None
    usage: Usage


class Respondent(Protocol):
    """Whoever can be asked: a model behind a server (`Chat`), or a policy of the run."""

    @property
    def name(self) -> str: ...
    @property
    def price(self) -> Price | None: ...

    def ask(self, questions: Sequence[Question[T]]) -> Iterator[Answer[T]]: ...


@dataclass(frozen=True)
class Chat:
    """One model, asked by a client. Answers are cached, failures never."""

    endpoint: Endpoint
    client: Client

    def __post_init__(self) -> None:
        self.client.account.check_price(self.endpoint.model)

    @property
    def name(self) -> str:
        return self.endpoint.name

    @property
    def price(self) -> Price | None:
        return self.client.account.price(self.endpoint.model)

    def ask(self, questions: Sequence[Question[T]]) -> Iterator[Answer[T]]:
        """One answer a question, in order, as they come; all are asked at the same time, as far as
        the client's pace allows. Each answer is in the cache before it is given.

        Raises BudgetSpentError in place of the first answer that there was no budget for; requests
        under way by then are waited for and kept.
        """
        answers = [self.client.submit(self._answer(question)) for question in questions]
        try:
            for answer in answers:
                yield answer.result()
        except BudgetSpentError:
            wait(answers)
            raise
        finally:
            for answer in answers:
                answer.cancel()

    async def _answer(self, question: Question[T]) -> Answer[T]:
        endpoint, account, cache = self.endpoint, self.client.account, self.client.cache
        body = self._body(question)

        def key() -> str:
            return cache.key(endpoint.host, endpoint.model, question.rule, body)

        known = cache.get(key())
        if known is not None:
            return Answer(known, None, Usage())
        model, tokens, detail = "", (0, 0), ""
        value: T | None = None
        error: Reason | None = None
        try:
            reply = await self.client.complete(endpoint, body)
            model, tokens = reply.model, (reply.prompt_tokens, reply.completion_tokens)
            cache.note_version(endpoint.host, endpoint.model, reply.model)
            check_answered(reply)
            value = question.read(reply)
            cache.put(key(), value)  # under the version that answered
        except FailureError as failure:
            error, detail = failure.reason, failure.detail
        return Answer(value, error, account.enter(endpoint.model, model, tokens, error, detail))

    def _body(self, question: Question[T]) -> bytes:
        """JSON in ASCII, so that half a surrogate pair in a model's output can be sent, too."""
        body = {
            "model": self.endpoint.model,
            "messages": [{"role": m.role, "content": m.content} for m in question.messages],
            self.endpoint.limit_name: question.max_tokens,
            "temperature": question.temperature,
        }
        if question.seed is not None:
            body["seed"] = question.seed
        if question.top_p is not None:
            body["top_p"] = question.top_p
        if question.top_logprobs is not None:
            body |= {"logprobs": True, "top_logprobs": question.top_logprobs}
        return json.dumps(body, allow_nan=False).encode("ascii")
