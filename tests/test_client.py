"""The client of OpenAI-compatible servers, against a real one on loopback that misbehaves."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest
from judge_server import Answer, Body, JudgeServer, Sent, error, said

from harness.client import client as client_module
from harness.client.account import CALLS, Account, BudgetSpentError
from harness.client.chat import Chat, Question
from harness.client.client import REFUSALS, Client, _retry_after
from harness.client.endpoint import OPENAI, Endpoint
from harness.client.replies import DETAIL, FailureError, Reply
from harness.errors import HarnessError
from harness.types import Message

ATTEMPTS = 2
"""Here; the timeout is long, for a machine that is slow, and so attempts are few."""
KEY = "sk-very-secret-0123456789"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HARNESS_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    monkeypatch.setattr(client_module, "BACKOFF", 0.005)
    monkeypatch.setattr(client_module, "ATTEMPTS", ATTEMPTS)
    return tmp_path / "home"


@pytest.fixture
def serve() -> Iterator[Callable[[Answer], JudgeServer]]:
    servers: list[JudgeServer] = []

    def start(answer: Answer) -> JudgeServer:
        servers.append(JudgeServer(answer))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


def number(reply: Reply) -> float:
    try:
        return float(reply.whole())
    except ValueError:
        raise FailureError("unparsable", reply.text) from None


def question(text: str, rule: str = "number-1", seed: int | None = None) -> Question[float]:
    return Question((Message("user", text),), 8, 1.0, rule, number, seed)


def ask(
    server: JudgeServer,
    *questions: Question[float],
    client: Client | None = None,
    model: str = "fake",
) -> list[tuple[float | None, str | None]]:
    """What a fresh client (or this one) is told."""
    used = client or Client()
    chat = Chat(Endpoint.of(f"{model}@{server.url}"), used)
    try:
        return [(answer.value, answer.error) for answer in chat.ask(questions)]
    finally:
        if client is None:
            used.close()


NOT_JSON = '{"choices": [{"message": {"content": "3'
FAULTS: dict[str, tuple[Sent, str, int]] = {
    "429": (error(429, "slow", Retry_After="0"), "rate limited", REFUSALS),
    "500": (error(500, "ill"), "http error", ATTEMPTS),
    "400": (error(400, "unknown parameter"), "http error", 1),
    "redirect": (Sent(b"", 302, {"Location": "http://127.0.0.1:1/"}), "http error", 1),
    "hang": (Sent(hang=5.0), "timeout", ATTEMPTS),
    "closed": (Sent(close=True), "connection failed", ATTEMPTS),
    "half a body": (Sent(NOT_JSON.encode()), "malformed reply", 1),
    "no bytes": (Sent(b""), "malformed reply", 1),
    "a list": (Sent(b"[1]"), "malformed reply", 1),
    "no choices": (Sent(b'{"choices": []}'), "empty choices", 1),
    "prose": (said("I would say\x1b[31m three."), "unparsable", 1),
    "nothing": (said(None), "unparsable", 1),
    "cut": (said("3", "length"), "truncated", 1),
    "refusal": (said(None, refusal="I cannot."), "refused", 1),
    "filter": (said("", "content_filter"), "content filtered", 1),
    "filter as error": (
        Sent(b'{"error": {"message": "no", "code": "content_filter"}}', 400),
        "content filtered",
        1,
    ),
}  # fmt: skip


def test_each_fault_is_a_failure_with_its_reason_and_nothing_of_it_is_kept(
    serve: Callable[[Answer], JudgeServer], tmp_path: Path
) -> None:
    def broken(body: Body, _number: int) -> Sent:
        return FAULTS[body["messages"][0]["content"]][0]

    server = serve(broken)
    client = Client(concurrency=16, timeout=1.5)
    client.account.keep_in(tmp_path / CALLS)
    told = ask(server, *map(question, FAULTS), client=client)
    assert told == [(None, reason) for _, reason, _ in FAULTS.values()]
    for name, (_, _, times) in FAULTS.items():
        sent = [body for body in server.asked if body["messages"][0]["content"] == name]
        assert len(sent) == times, name
    lines = [json.loads(line) for line in (tmp_path / CALLS).read_text("utf-8").splitlines()]
    assert len(lines) == len(server.asked)
    assert all(len(line["detail"]) <= DETAIL and line["detail"].isprintable() for line in lines)
    # it recovers: the same questions are asked once more, and then never again
    before = len(server.asked)
    server.answer = lambda _body, _number: said("3")
    assert ask(server, *map(question, FAULTS), client=client) == [(3.0, None)] * len(FAULTS)
    assert ask(server, *map(question, FAULTS)) == [(3.0, None)] * len(FAULTS)
    assert len(server.asked) == before + len(FAULTS)
    client.close()
    client.account.close()


def test_what_cannot_succeed_is_a_sentence(serve: Callable[[Answer], JudgeServer]) -> None:
    for status, words in ((401, "refuses the key"), (404, "does not know this model")):
        server = serve(lambda _body, _number, status=status: error(status, "oh"))  # type: ignore[misc]
        with pytest.raises(HarnessError, match=rf"127.0.0.1:\d+ {words}.*{status} oh"):
            ask(server, question("a"))


def test_order_and_concurrency(serve: Callable[[Answer], JudgeServer]) -> None:
    server = serve(lambda body, n: Sent(said(body["messages"][0]["content"]).body, hang=n % 3 / 99))
    client = Client(concurrency=5)
    told = ask(server, *(question(str(n)) for n in range(60)), client=client)
    assert told == [(float(n), None) for n in range(60)]
    assert 3 <= server.most_at_once <= 5
    # a consumer that stops asks no more, and the client can be closed and used again
    chat = Chat(Endpoint.of(f"other@{server.url}"), client)
    next(answers := chat.ask([question(str(n)) for n in range(500)]))
    answers.close()  # type: ignore[attr-defined]
    client.close()
    assert len(server.asked) < 200
    assert ask(server, question("7"), client=client) == [(7.0, None)]
    client.close()


def test_the_pace_follows_a_server_that_takes_few_at_a_time(
    serve: Callable[[Answer], JudgeServer],
) -> None:
    """It takes 4 at a time. With 32 sent at once 28 are refused; soon hardly any is."""
    refused: list[int] = []

    def narrow(_body: Body, number: int) -> Sent:
        if server.at_once > 4:
            refused.append(number)
            return error(429, "busy", Retry_After="0.03")
        return Sent(said("1").body, hang=0.005)

    server = serve(narrow)
    client = Client(concurrency=32)
    told = ask(server, *(question(str(n)) for n in range(300)), client=client)
    assert told == [(1.0, None)] * 300
    assert client._pace.limit <= 16
    assert len(refused) < 150
    assert sum(n > 100 for n in refused) < 80
    client.close()


def test_retry_after_is_waited_out_by_all(serve: Callable[[Answer], JudgeServer]) -> None:
    times: list[float] = []

    def once(_body: Body, number: int) -> Sent:
        times.append(time.monotonic())
        return error(429, "wait", Retry_After="0.3") if number == 0 else said("1")

    client = Client(concurrency=1)
    assert ask(serve(once), question("a"), question("b"), client=client) == [(1.0, None)] * 2
    client.close()
    assert times[1] - times[0] >= 0.3
    later = format_datetime(datetime.now(UTC) + timedelta(seconds=40), usegmt=True)
    assert 38 < (_retry_after(later) or 0) <= 40
    assert _retry_after("Mon, 01 Jan 2001 00:00:00 GMT") == 0
    assert _retry_after("-3") == 0
    assert _retry_after("soon") is None
    assert _retry_after("") is None


def test_the_key_of_the_cache_is_all_that_decides_an_answer(
    serve: Callable[[Answer], JudgeServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    version = ["v1"]
    server = serve(lambda _body, _number: said("3", model=version[0]))
    other = serve(server.answer)
    a = question("a")
    asked = [(server, a, "fake")]
    asked += [(server, q, "fake") for q in (question("b"), question("a", "number-2"))]
    asked += [(server, question("a", seed=0), "fake"), (server, question("a", seed=1), "fake")]
    asked += [(server, a, "fake-2"), (other, a, "fake")]
    for place, what, model in asked * 2:
        monkeypatch.setenv(
            "OPENAI_API_KEY", f"key-{len(server.asked)}"
        )  # whose key decides nothing
        assert ask(place, what, model=model) == [(3.0, None)]
    assert (len(server.asked), len(other.asked)) == (6, 1)
    # the server moves on to another version: known once it has said so, and then all is asked anew
    version[0] = "v2"
    assert ask(server, a) == [(3.0, None)]
    assert len(server.asked) == 6
    ask(server, question("c"))
    ask(server, a, question("b"))
    ask(server, a, question("b"))
    assert len(server.asked) == 9


PRICES = "fake: {prompt: 1000, completion: 100000}\n"
"""Dollars: a call of 1,000 and 10 tokens costs 2."""


def priced(home: Path) -> None:
    home.mkdir(exist_ok=True)
    (home / "prices.yaml").write_text(PRICES, "utf-8")


@pytest.mark.parametrize("workers", [1, 6])
def test_a_budget_stops_at_the_request_that_it_does_not_cover(
    serve: Callable[[Answer], JudgeServer], home: Path, tmp_path: Path, workers: int
) -> None:
    priced(home)
    server = serve(lambda _body, _number: Sent(said("3").body, hang=0.01))
    questions = [question(str(n)) for n in range(40)]

    def go(limit: float) -> list[float | None]:
        client = Client(workers, account=Account(limit))
        client.account.keep_in(tmp_path / CALLS)
        found: list[float | None] = []
        try:
            chat = Chat(Endpoint.of(f"fake@{server.url}"), client)
            for answer in chat.ask(questions):
                found.append(answer.value)
        except BudgetSpentError:
            pass
        finally:
            client.close()
            client.account.close()
        return found

    found = go(25)  # the 13th call passes 25
    calls = len(server.asked)
    assert 13 <= calls <= 12 + workers
    assert found == [3.0] * len(found)
    assert calls - workers < len(found) <= calls
    # the same again: known answers cost nothing, and of new ones not one is asked for
    assert len(go(25)) >= len(found)
    assert len(server.asked) == calls
    with (tmp_path / CALLS).open("a", encoding="utf-8") as ledger:
        ledger.write('{"torn')
    assert go(1000) == [3.0] * 40
    assert len(server.asked) == 40
    lines = (tmp_path / CALLS).read_text("utf-8").splitlines()
    assert sum(json.loads(line)["usd"] for line in lines) == 80


def test_prices(home: Path, serve: Callable[[Answer], JudgeServer]) -> None:
    account = Account(1.0)
    price = account.price("gpt-4o-mini")
    assert price
    assert price.of(2_000_000, 1_000_000) == pytest.approx(0.9)
    with pytest.raises(HarnessError, match=r"No price is known for fake, so --budget-usd"):
        account.check_price("fake")
    Account().check_price("fake")
    priced(home)
    Account(1.0).check_price("fake")
    for wrong in ("fake: 3", "[", "fake: {prompt: -1, completion: 0}", "fake: {prompt: .nan}"):
        (home / "prices.yaml").write_text(wrong, "utf-8")
        with pytest.raises(HarnessError, match=r"prices\.yaml: .* correct it"):
            Account(1.0).check_price("fake")
    # a server that counts no tokens is charged by length
    priced(home)
    client = Client()
    assert ask(serve(lambda *_: said("3.0000", usage=None)), question("a"), client=client)
    assert client.account.usd > 0
    client.close()


def test_the_key_is_sent_and_shown_nowhere(
    serve: Callable[[Answer], JudgeServer], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    server = serve(lambda *_: said("3"))
    ask(server, question("a"))
    monkeypatch.setenv("OPENAI_API_KEY", f" {KEY}\n")
    ask(server, question("b"))
    assert server.keys == [None, f"Bearer {KEY}"]
    # a server that says the key back
    client = Client()
    client.account.keep_in(tmp_path / CALLS)
    server.answer = lambda *_: error(400, f"key {KEY} is odd")
    assert ask(server, question("c"), client=client) == [(None, "http error")]
    server.answer = lambda *_: said(KEY, model=KEY)
    assert ask(server, question("d"), client=client) == [(None, "unparsable")]
    server.answer = lambda *_: error(401, f"Incorrect API key: {KEY}")
    with pytest.raises(HarnessError) as refused:
        ask(server, question("e"), client=client)
    assert KEY not in str(refused.value)
    client.close()
    client.account.close()
    files = [file for file in tmp_path.rglob("*") if file.is_file()]
    assert {"calls.jsonl", "judge-cache.sqlite"} <= {file.name for file in files}
    assert not [file for file in files if KEY.encode() in file.read_bytes()]
    monkeypatch.setenv("OPENAI_API_KEY", "sk-ключ")
    with pytest.raises(HarnessError, match="holds characters that no key has"):
        ask(server, question("f"))


def test_endpoints(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Endpoint.of("gpt-4o") == Endpoint("gpt-4o", OPENAI)
    assert Endpoint.of("gpt-4o").name == "gpt-4o"
    local = Endpoint.of("org/m:q4@v2@http://LocalHost:8000/v1/")
    assert (local.model, local.base_url) == ("org/m:q4@v2", "http://LocalHost:8000/v1")
    assert local.name == "org/m:q4@v2@localhost:8000"
    assert (local.limit_name, Endpoint.of("m").limit_name) == (
        "max_tokens",
        "max_completion_tokens",
    )
    assert local.key() == ""
    with pytest.raises(HarnessError, match="OPENAI_API_KEY is not set"):
        Endpoint.of("gpt-4o").key()
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")
    assert Endpoint.of("m").host == "127.0.0.1:9"
    for wrong in (
        f"m@http://user:{KEY}@host/v1",
        f"m@http://host/v1?api-key={KEY}",
        "m@http://host:port/v1",
        "m@http:///v1",
        "m@http://ho st/v1",
        "m@http://host/\n",
        "",
    ):
        with pytest.raises(HarnessError) as told:
            Endpoint.of(wrong)
        assert KEY not in str(told.value)
    monkeypatch.setenv("OPENAI_BASE_URL", f"https://{KEY}@host/v1")
    with pytest.raises(HarnessError, match="OPENAI_BASE_URL holds more than host and path"):
        Endpoint.of("m")


def test_a_cache_that_cannot_be_read_is_a_sentence(
    serve: Callable[[Answer], JudgeServer], home: Path
) -> None:
    home.mkdir()
    (home / "judge-cache.sqlite").write_bytes(b"no database at all" * 100)
    with pytest.raises(HarnessError, match=r"judge-cache\.sqlite cannot be used"):
        ask(serve(lambda *_: said("3")), question("a"))
