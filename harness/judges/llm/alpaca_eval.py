"""`alpaca-eval:MODEL`: the judgement of AlpacaEval 2.0 (weighted_alpaca_eval_gpt4_turbo).

Prompt and settings are read from the files of the installed alpaca-eval package, which is found and
never imported. The judge answers with one token, "m" for the first output or "M" for the second,
and their log-probs make the preference.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from random import Random
from typing import Any, ClassVar, Literal

import yaml

from harness.client.chat import Chat, Question
from harness.client.replies import FailureError, Reply
from harness.errors import HarnessError
from harness.judges.forecast import CHARS_A_TOKEN, Forecast
from harness.judges.llm.prompts import fill
from harness.types import Match, Message, Verdict

CONFIG = "weighted_alpaca_eval_gpt4_turbo"
FIRST, SECOND = "m", "M"
_TURN = re.compile(r"<\|im_start\|>(\w+)\n(.*?)<\|im_end\|>", re.S)


@dataclass(frozen=True)
class Protocol:
    """What alpaca-eval's files say."""

    turns: tuple[Message, ...]
    max_tokens: int
    temperature: float
    top_logprobs: int

    def messages(self, match: Match, swapped: bool) -> tuple[Message, ...]:
        """output_1 is the opponent's (b), unless the order is swapped."""
        first, second = (match.a, match.b) if swapped else (match.b, match.a)
        slots = {
            "instruction": match.prompt.instruction,
            "output_1": first.text,
            "output_2": second.text,
        }
        return tuple(Message(turn.role, fill(turn.content, slots)) for turn in self.turns)


@cache
def protocol() -> Protocol:
    """Raises HarnessError where alpaca-eval is not there, or another version of it."""
    spec = find_spec("alpaca_eval")
    places = (spec.submodule_search_locations if spec else None) or []
    for place in places:
        folder = Path(place) / "evaluators_configs"
        try:
            settings = yaml.safe_load((folder / CONFIG / "configs.yaml").read_text("utf-8"))[CONFIG]
            return _read(settings, (folder / settings["prompt_template"]).read_text("utf-8"))
        except (OSError, KeyError, TypeError, ValueError, yaml.YAMLError) as error:
            raise HarnessError(
                f"{folder / CONFIG} does not hold AlpacaEval 2.0's judge ({error}); install "
                "alpaca-eval==0.6.6."
            ) from None
    raise HarnessError("The judge alpaca-eval needs that package; install alpaca-eval==0.6.6.")


def _read(settings: dict[str, Any], template: str) -> Protocol:
    tokens = settings["completion_parser_kwargs"]
    if (tokens["numerator_token"], tokens["denominator_tokens"]) != (FIRST, [FIRST, SECOND]):
        raise ValueError(f"it answers with {tokens['denominator_tokens']}")
    turns = tuple(Message(role, text.strip()) for role, text in _TURN.findall(template))
    if not turns:
        raise ValueError("its prompt has no turns")
    sampling = settings["completions_kwargs"]
    return Protocol(
        turns, sampling["max_tokens"], sampling["temperature"], sampling["top_logprobs"]
    )


def is_swapped(instruction: str) -> bool:
    """Whether AlpacaEval shows the outputs in the other order; the same for every model."""
    seed = f"is_switched_outputs{instruction}0"
    # as bytes, which seed as the text does, since half a surrogate pair is no text
    return Random(seed.encode("utf-8", "surrogatepass")).choices([False, True])[0]


def first_share(reply: Reply) -> float:
    """P(m) / (P(m) + P(M)) from the first token's log-probs; a token that is not among them counts
    0. Raises FailureError where neither is, or where there are none."""
    if not reply.top:
        raise FailureError("no log-probs", "the server gave none for the first token")
    first, second = (reply.top.get(token, -math.inf) for token in (FIRST, SECOND))
    most = max(first, second)
    if not math.isfinite(most):
        raise FailureError("unparsable", f"neither m nor M among {list(reply.top)}")
    weights = math.exp(first - most), math.exp(second - most)
    return weights[0] / sum(weights)


@dataclass(frozen=True)
class AlpacaEval:
    """AlpacaEval 2.0's question to a model; its one-token answer, weighted by log-probs.

    p is the share of a's token. Each match is asked once, in AlpacaEval's own random order, and
    equal outputs are ½ without a call.
    """

    chat: Chat
    version: ClassVar[str] = "alpaca-eval-1"
    reference_based: ClassVar[bool] = False

    @classmethod
    def of(cls, chat: Chat, votes: int) -> AlpacaEval:  # noqa: ARG003 - its log-probs are the votes
        protocol()  # a request is checked before anything runs
        return cls(chat)

    @property
    def identity(self) -> str:
        return f"{self.version}({self.chat.name})"

    def forecast(self, instruction: int, answers: Sequence[int]) -> Forecast:
        own = sum(len(turn.content) for turn in protocol().turns) // CHARS_A_TOKEN
        size = own + instruction + sum(answers)
        return Forecast.of(1, size, protocol().max_tokens, self.chat.price)

    def compare(self, matches: Sequence[Match]) -> Iterator[Verdict]:
        asked = [match for match in matches if match.a.text != match.b.text]
        answers = self.chat.ask([self._question(match) for match in asked])
        for match in matches:
            if match.a.text == match.b.text:
                yield Verdict(match.id, 0.5, self.identity)
                continue
            answer = next(answers)
            swapped = is_swapped(match.prompt.instruction)
            order: Literal["ab", "ba"] = "ab" if swapped else "ba"
            share = answer.value
            p = None if share is None else share if swapped else 1 - share
            yield Verdict(match.id, p, self.identity, answer.error, order, answer.usage)

    def _question(self, match: Match) -> Question[float]:
        asked = protocol()
        return Question(
            messages=asked.messages(match, is_swapped(match.prompt.instruction)),
            max_tokens=asked.max_tokens,
            temperature=asked.temperature,
            rule=self.version,
            read=first_share,
            top_logprobs=asked.top_logprobs,
        )
