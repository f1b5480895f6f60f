"""`harness gold` at a server: answers where there were none, paid once, failures asked again."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from in_process import Harness, Told, jsonl
from judge_server import KEY, JudgeServer, Sent, error, said

from harness.client.account import CALLS

Gold = Callable[..., Told]
PRICES = "fake: {prompt: 1000, completion: 100000}\n"
"""Two dollars a call, by the server's 1,000 and 10 tokens."""


def answers(body: dict[str, Any], _number: int) -> Sent:
    asked = body["messages"][-1]["content"]
    return said(f"An answer to {asked}")


@pytest.fixture
def gold(
    harness: Harness, server: JudgeServer, own_home: None, monkeypatch: pytest.MonkeyPatch
) -> Gold:
    """The command, on five prompts in `p.jsonl` of which one has a gold answer."""
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setattr("harness.client.client.ATTEMPTS", 2)
    server.answer = answers
    rows: list[dict[str, Any]] = [{"id": f"p{i}", "prompt": f"Say {i}."} for i in range(3)]
    rows.append({"id": "has", "prompt": "Say it.", "gold": "It.", "rejected": "No."})
    turns = [("system", "Be kind."), ("user", "Hi"), ("assistant", "Yes?"), ("user", "Say \u2028.")]
    rows.append({"id": "chat", "messages": [{"role": r, "content": c} for r, c in turns]})
    jsonl("p.jsonl", *rows)
    line = ("gold", "--data", "p.jsonl", "--out", "g.jsonl", "--set", "judging.concurrency=1")

    def call(*more: object) -> Told:
        return harness(*line, "--teacher", f"fake@{server.url}", *more)

    return call


def written() -> dict[str, dict[str, Any]]:
    lines = Path("g.jsonl").read_text("utf-8").split("\n")
    return {row["id"]: row for row in map(json.loads, filter(None, lines))}


def test_prompts_without_gold_get_one_and_the_file_can_be_trained_on(
    gold: Gold, harness: Harness, server: JudgeServer
) -> None:
    told = gold("--set", "max_new_tokens=77", "--json", "--quiet")
    assert told.json == {"out": "g.jsonl", "prompts": 5, "asked": 4, "failed": {}}
    rows = written()
    assert list(rows) == ["p0", "p1", "p2", "has", "chat"]
    assert rows["p1"]["gold"] == "An answer to Say 1."
    assert (rows["has"]["gold"], rows["has"]["rejected"]) == ("It.", "No.")
    assert [m["role"] for m in server.asked[-1]["messages"]] == [
        *("system", "user", "assistant", "user")
    ]
    assert {(b["max_tokens"], b["temperature"]) for b in server.asked} == {(77, 0.0)}
    assert not any(KEY.encode() in file.read_bytes() for file in Path().rglob("*.jsonl"))
    # --data takes it, and nothing in it is left to ask
    again = harness("gold", "--data", "g.jsonl", "--out", "h.jsonl", "--teacher", "fake")
    assert "All 5 prompts of g.jsonl have a gold answer; add --replace" in again.err
    # the same command asks nobody; with --replace the one that had an answer is asked about, too
    assert gold("--set", "max_new_tokens=77").code == 0
    assert len(server.asked) == 4
    assert gold("--set", "max_new_tokens=77", "--replace").code == 0
    assert len(server.asked) == 5
    assert written()["has"]["gold"] == "An answer to Say it."


def test_failures_stay_without_gold_and_are_asked_again(gold: Gold, server: JudgeServer) -> None:
    ill = {
        "Say 0.": error(400, "ill"),
        "Say 1.": said("An answer that", "length"),
        "Say 2.": said(" \n"),
    }

    def some_fail(body: dict[str, Any], number: int) -> Sent:
        return ill.get(body["messages"][-1]["content"]) or answers(body, number)

    server.answer = some_fail
    told = gold()
    assert told.code == 0
    assert "1 of 4 prompts answered → g.jsonl; without gold (" in told.out
    reasons = {"p0": "http error", "p1": "truncated", "p2": "empty answer"}
    rows = written()
    assert {name: row["error"] for name, row in rows.items() if "gold" not in row} == reasons
    server.answer = answers
    server.asked.clear()
    assert gold("--json", "--quiet").json["failed"] == {}
    assert len(server.asked) == 3
    assert not any("error" in row for row in written().values())


def test_a_budget_stops_before_the_call_it_does_not_cover(
    gold: Gold, server: JudgeServer, tmp_path: Path
) -> None:
    assert "No price is known for fake" in gold("--budget-usd", 3).err
    assert server.asked == []
    (tmp_path / "home" / "prices.yaml").parent.mkdir(exist_ok=True)
    (tmp_path / "home" / "prices.yaml").write_text(PRICES, "utf-8")
    stopped = gold("--budget-usd", 3)
    assert stopped.code == 3
    assert "asking the teacher: at most 4 calls and $" in stopped.err
    assert "The budget of $3 is spent ($4.0000 so far)" in stopped.err
    assert len(server.asked) == 2
    assert not Path("g.jsonl").exists()
    assert gold("--budget-usd", 30, "--quiet").code == 0
    assert len(server.asked) == 4
    spent = [json.loads(line)["usd"] for line in Path(f"g.{CALLS}").read_text().splitlines()]
    assert spent == [2.0] * 4


def test_what_cannot_be_asked_is_refused_before_anything_is(
    gold: Gold, server: JudgeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    for more, sentence in (
        (("--out", "g.json"), "prompts are written as JSONL"),
        (("--out", "p.jsonl"), "is the file of the prompts itself"),
        (("--set", "max_tokens=3"), "did you mean 'max_new_tokens'"),
        (("--data", "none.jsonl"), "No prompts 'none.jsonl'"),
        (("--teacher", "fake@http://me:pw@127.0.0.1/v1"), "holds more than host and path"),
    ):
        assert sentence in gold(*more).err, more
    monkeypatch.delenv("OPENAI_API_KEY")
    assert "OPENAI_API_KEY is not set" in gold("--teacher", "gpt-4.1").err
    assert server.asked == []


def test_a_served_model_is_evaluated_and_asked_once(
    gold: Gold, harness: Harness, server: JudgeServer
) -> None:
    line = ("eval", f"fake@{server.url}", "--benchmark", "mini", "--judge", "longer")
    small = ("--set", "benchmark.prompts=6", "--set", "benchmark.max_new_tokens=9")

    def first_fails(body: dict[str, Any], number: int) -> Sent:
        return error(400, "ill") if number == 0 else said("An answer, cut", "length")

    server.answer = first_fails
    refused = harness(*line, *small)
    assert refused.code == 1
    assert "left 1 of 6 requests without an answer (http error 1)" in refused.err
    assert "at most 6 calls to come, no price is known" in refused.err
    done = harness(*line, *small, "--json", "--quiet").json
    assert len(server.asked) == 7
    assert {body["max_tokens"] for body in server.asked} == {9}
    assert done["result"]["benchmark"] == "mini-1 (6 prompts)"
    (folder,) = Path("evals").glob("fake-mini")
    outputs = [json.loads(text) for text in (folder / "outputs.jsonl").read_text().splitlines()]
    assert [(o["text"], o["finish_reason"]) for o in outputs] == [("An answer, cut", "length")] * 6
    assert harness(*line, *small, "--json", "--quiet").json["result"] == done["result"]
    assert len(server.asked) == 7
