"""What tests of judges that ask a model are made of: matches, pools, judges at the server."""

from __future__ import annotations

from judge_server import JudgeServer

from harness import registry
from harness.access import Access
from harness.client.replies import Reply
from harness.types import Completion, Group, Match, Message, PairJudge, Prompt, ScoreJudge


def prompt(text: str, name: str = "p") -> Prompt:
    return Prompt(name, (Message("system", "Be kind."), Message("user", text)))


def match(a: str, b: str, text: str = "Why?", name: str = "m") -> Match:
    asked = prompt(text, name)
    return Match(name, asked, Completion(name, 0, a), Completion(name, 1, b))


def group(*texts: str, text: str = "Why?", name: str = "p") -> Group:
    pool = tuple(Completion(name, i, answer) for i, answer in enumerate(texts))
    return Group(prompt(text, name), pool)


def pair_judge(name: str, server: JudgeServer, access: Access) -> PairJudge:
    judge = registry.make_judge(f"{name}:fake@{server.url}", access)
    assert isinstance(judge, PairJudge)
    assert not judge.reference_based
    return judge


def score_judge(name: str, server: JudgeServer, access: Access) -> ScoreJudge:
    judge = registry.make_judge(f"{name}:fake@{server.url}", access)
    assert isinstance(judge, ScoreJudge)
    return judge


def reply(text: str, finish: str = "stop", top: dict[str, float] | None = None) -> Reply:
    return Reply(text, finish, top, "fake", 1, 1)
