"""What a chat completion's server said: a reply, or a failure with a reason from a fixed list.

Everything that a server sends is read as untrusted data: it is checked against a shape and shown
only shortened and printable.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import BaseModel, Field, ValidationError

from harness.text import printable

Reason = Literal[
    "unparsable",
    "truncated",
    "empty answer",
    "refused",
    "content filtered",
    "missing id",
    "out of range",
    "no log-probs",
    "too long",
    "empty choices",
    "malformed reply",
    "rate limited",
    "timeout",
    "connection failed",
    "http error",
]
DETAIL = 160
"""Characters of a detail that are kept."""


class FailureError(Exception):
    """A question without an answer. `detail` is for people: one printable line."""

    def __init__(self, reason: Reason, detail: str = "") -> None:
        super().__init__(reason)
        self.reason: Reason = reason
        self.detail = printable(" ".join(detail[: 4 * DETAIL].split()))[:DETAIL]


@dataclass(frozen=True, slots=True)
class Reply:
    """One completion.

    `top` are the log-probs (natural logarithm) of the likeliest tokens in its first place, None
    where the server gives none. `model` is the model's version as the server reports it.
    """

    text: str
    finish_reason: str
    top: Mapping[str, float] | None
    model: str
    prompt_tokens: int
    completion_tokens: int

    def whole(self) -> str:
        """The text. Raises FailureError where the token limit cut it."""
        if self.finish_reason == "length":
            raise FailureError("truncated", f"…{self.text[-DETAIL:]}")
        return self.text


Count = Annotated[int, Field(ge=0)]


class _Token(BaseModel):
    token: str
    logprob: float


class _Place(BaseModel):
    top_logprobs: list[_Token] = []


class _LogProbs(BaseModel):
    content: list[_Place] | None = None


class _Message(BaseModel):
    content: str | None = None
    refusal: str | None = None


class _Choice(BaseModel):
    message: _Message
    finish_reason: str | None = None
    logprobs: _LogProbs | None = None


class _Usage(BaseModel):
    prompt_tokens: Count = 0
    completion_tokens: Count = 0


class _Body(BaseModel):
    choices: list[_Choice]
    model: str = ""
    usage: _Usage | None = None


class _Error(BaseModel):
    message: str = ""
    code: str | int | None = None


class _ErrorBody(BaseModel):
    error: _Error


def read_reply(body: bytes, asked_chars: int) -> Reply:
    """The reply in a response's body. Raises FailureError("malformed reply" or "empty choices").

    A server that counts no tokens is charged for a token every four characters, so that a budget
    is one there too.
    """
    try:
        said = _Body.model_validate_json(body)
    except ValidationError as error:
        raise FailureError("malformed reply", error.errors()[0]["msg"]) from None
    if not said.choices:
        raise FailureError("empty choices")
    choice = said.choices[0]
    text = choice.message.content or ""
    usage = said.usage or _Usage(prompt_tokens=asked_chars // 4, completion_tokens=len(text) // 4)
    places = choice.logprobs.content if choice.logprobs else None
    return Reply(
        text=choice.message.refusal or text,
        finish_reason="refusal" if choice.message.refusal else choice.finish_reason or "",
        top={t.token: t.logprob for t in places[0].top_logprobs} if places else None,
        model=printable(said.model)[:DETAIL],
        prompt_tokens=usage.prompt_tokens,
        completion_tokens=usage.completion_tokens,
    )


def check_answered(reply: Reply) -> None:
    """Raises FailureError where the model, or who watches over it, declined to answer."""
    if reply.finish_reason == "refusal":
        raise FailureError("refused", reply.text)
    if reply.finish_reason == "content_filter":
        raise FailureError("content filtered", reply.text)


def read_error(status: int, body: bytes) -> FailureError:
    """The failure that an error response stands for."""
    try:
        error = _ErrorBody.model_validate_json(body).error
    except ValidationError:
        error = _Error(message=body[: 4 * DETAIL].decode("utf-8", "replace"))
    filtered = str(error.code) in {"content_filter", "content_policy_violation"}
    reason: Reason = "content filtered" if filtered else "http error"
    return FailureError("rate limited" if status == 429 else reason, f"{status} {error.message}")
