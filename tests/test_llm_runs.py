"""Whole commands by judges that ask a model, against a server that misbehaves."""

from __future__ import annotations

import json
import re
import signal
import time
from collections import Counter
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from conftest import Command, Running, differing, rows
from judge_server import (
    KEY,
    QUICK,
    Body,
    JudgeServer,
    Sent,
    asking_env,
    error,
    said,
    steady,
    without_key,
)

from harness.client.account import CALLS

FAULTS: list[tuple[Sent, str]] = [
    (error(429, "slow", Retry_After="0"), "rate limited"),
    (error(500, "ill"), "http error"),
    (Sent(close=True), "connection failed"),
    (Sent(b'{"choices": [{"mess'), "malformed reply"),
    (Sent(b'{"choices": []}'), "empty choices"),
    (said("I like both."), "unparsable"),  # and without log-probs
    (said('Fine. {"BCDFG": 4, "HJ', "length"), "truncated"),
    (said(None, refusal="I would rather not."), "refused"),
]
HANGS = Sent(hang=4.0), "timeout"


def fault(body: Body) -> tuple[Sent, str] | None:
    """What the broken server does with a request: half of them fail, each always alike."""
    digest = sha256(body["messages"][-1]["content"].encode()).digest()
    if digest[0] % 2 == 0:
        return None
    sent, reason = FAULTS[digest[1] % len(FAULTS)]
    if not body.get("top_logprobs"):  # few, and a server that hangs takes its time
        return HANGS if digest[1] % 2 else (sent, reason)
    return sent, "no log-probs" if reason in ("unparsable", "truncated") else reason


def broken(body: Body, number: int) -> Sent:
    found = fault(body)
    return found[0] if found else steady(body, number)


@dataclass(frozen=True)
class Commands:
    """`harness run` by judges at the server, each with a home (and so a cache) of its own."""

    command: Command
    server: JudgeServer

    def line(self, *more: object) -> list[object]:
        url = self.server.url
        judges = ("--judge", f"listwise:fake@{url}", "--eval-judge", f"alpaca-eval:fake@{url}")
        return ["--iters", 1, *judges, *more]

    def env(self, home: Path) -> dict[str, str]:
        return asking_env(self.command, home)

    def run(self, out: Path, home: Path, *more: object, prelude: str = QUICK) -> Any:
        return self.command.run(out, *self.line(*more), prelude=prelude, env=self.env(home))


@pytest.fixture
def commands(command: Command, reference: Path, server: JudgeServer) -> Commands:
    return Commands(command, server)


@pytest.fixture(scope="module")
def undisturbed(
    command: Command,
    reference: Path,  # by it the tiny model is there
    judge_server: JudgeServer,
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[Path, int]:
    """A run by judges that never fail, and the number of calls that it took."""
    folder = tmp_path_factory.mktemp("undisturbed")
    judge_server.answer = steady
    judge_server.asked.clear()
    Commands(command, judge_server).run(folder / "dno", folder / "home").ok()
    return folder / "dno", len(judge_server.asked)


def failures(run: Path) -> Counter[str]:
    """By reason, in judgements of candidates and of outputs."""
    files = [*run.glob("iter-*/verdicts.jsonl"), *run.glob("iter-*/*matches.jsonl")]
    return Counter(row["error"] for file in files for row in rows(file) if row["error"])


def test_a_run_by_a_broken_judge_counts_and_later_ends_as_if_nothing_had_been(
    commands: Commands, undisturbed: tuple[Path, int], tmp_path: Path
) -> None:
    server, run, home = commands.server, tmp_path / "dno", tmp_path / "home"
    server.answer = broken
    setting = ("--set", "judging.timeout=1.5")
    commands.run(run, home, *setting).ok()
    matches = rows(run / "iter-0" / "matches.jsonl")
    sent = {body["messages"][-1]["content"]: body for body in server.asked}
    outputs = [body for body in sent.values() if "top_logprobs" in body][: len(matches)]
    verdicts = rows(run / "iter-1" / "verdicts.jsonl")  # three samples and the gold answer each
    pools = [body for body in sent.values() if "top_logprobs" not in body][: len(verdicts) // 4]
    assert len(outputs) == len(matches)
    for bodies, judged, times in ((outputs, matches, 1), (pools, verdicts, 4)):
        expected = Counter(found[1] for body in bodies if (found := fault(body)))
        failed = Counter(row["error"] for row in judged if row["error"])
        assert failed == {reason: count * times for reason, count in expected.items()}
    reasons = set(failures(run))
    assert len(reasons) > 5
    assert reasons <= {reason for _, reason in (*FAULTS, HANGS)} | {"no log-probs"}
    scores = json.loads((run / "iter-0" / "scores.json").read_text("utf-8"))
    of_scores = Counter(
        row["error"] for row in matches if row["error"] and row["id"].endswith("/opponent")
    )
    assert scores["win_rate"]["failures"] == dict(of_scores)

    server.answer = steady
    commands.run(run, home, *setting).ok()
    assert differing(run, undisturbed[0]) == []
    assert failures(run) == Counter()
    asked = len(server.asked)
    commands.run(run, home, *setting).ok()
    # another run of the same: not one call, the cache knows them all
    commands.run(tmp_path / "again" / "dno", home, *setting).ok()
    assert len(server.asked) == asked
    assert differing(tmp_path / "again" / "dno", undisturbed[0]) == []
    assert set(server.keys) >= {f"Bearer {KEY}"}
    assert without_key(tmp_path)


def test_killed_a_run_loses_no_more_than_the_calls_under_way(
    commands: Commands, undisturbed: tuple[Path, int], tmp_path: Path
) -> None:
    server, run, home = commands.server, tmp_path / "dno", tmp_path / "home"
    line = commands.command
    for kill_at in (9, 40):
        running: list[Running] = []

        def deadly(body: Body, number: int, at: int = kill_at, it: list[Running] = running) -> Sent:
            if number == at:
                while not it:
                    time.sleep(0.01)
                it[0].signal(signal.SIGKILL)
            return steady(body, number)

        server.answer = deadly
        arguments = commands.line("--set", "judging.concurrency=4", "--out", run)
        full = ["run", "--method", "dno", "--preset", "tiny", *arguments]
        running.append(line.start(*full, prelude=QUICK, env=commands.env(home)))
        assert running[0].wait().code == -signal.SIGKILL
    server.answer = steady
    commands.run(run, home, "--set", "judging.concurrency=4").ok()
    assert differing(run, undisturbed[0]) == []
    assert len(server.asked) <= undisturbed[1] + 2 * 4


def test_a_budget_stops_a_run_that_a_larger_one_goes_on_with(
    commands: Commands, undisturbed: tuple[Path, int], tmp_path: Path
) -> None:
    server, run, home = commands.server, tmp_path / "dno", tmp_path / "home"
    one = ("--set", "judging.concurrency=1")
    unknown = commands.run(run, home, *one, "--budget-usd", 30).sentence()
    assert "No price is known for fake, so --budget-usd could not stop it" in unknown
    assert not run.exists()
    (home / "prices.yaml").write_text("fake: {prompt: 1000, completion: 100000}\n", "utf-8")
    for budget, calls in ((30, 15), (30, 15), (31, 16), (77, 39)):  # a call costs 2 dollars
        done = commands.run(run, home, *one, "--budget-usd", budget)
        assert f"The budget of ${budget} is spent" in done.sentence(3)
        assert "raise --budget-usd and run the same command again" in done.sentence(3)
        assert re.search(r"judging: at most [\d,]+ calls and \$[\d,.]+ to come", done.err)
        assert f", with earlier starts ${2 * calls:.2f} → {run / CALLS}\n" in done.err
        assert len(server.asked) == calls
    plan = commands.command(
        "plan", "-m", "dno", "--preset", "tiny", "--out", run,
        *commands.line(*one, "--budget-usd", 77), "--json", env=commands.env(home),
    ).ok().json  # fmt: skip
    left = plan["to_do"]
    assert left["calls"] >= undisturbed[1] - 39
    assert left["usd_at_most"] > 0
    assert left["judge_tokens_at_most"] > 1000
    commands.run(run, home, *one, "--budget-usd", 1000).ok()
    assert differing(run, undisturbed[0]) == []
    assert len(server.asked) == undisturbed[1]
    spent = [row["usd"] for row in rows(run / CALLS)]
    assert (len(spent), sum(spent)) == (undisturbed[1], 2 * undisturbed[1])
    manifests = [json.loads(p.read_text("utf-8")) for p in run.glob("iter-*/*.manifest.json")]
    assert sum(m["usage"]["usd"] for m in manifests) == sum(spent)


def test_plan_and_eval(commands: Commands, undisturbed: tuple[Path, int], tmp_path: Path) -> None:
    command, server = commands.command, commands.server
    env = commands.env(tmp_path / "home")
    plan = command("plan", "-m", "dno", "--preset", "tiny", *commands.line(), "--json", env=env)
    stages = plan.ok().json["stages"]
    assert plan.json["to_do"]["usd_at_most"] is None  # no price is known
    assert [s["calls"] for s in stages if s["stage"] == "verdicts"] == [6]
    assert all(s["calls"] == s["judgements"] for s in stages if s["stage"] == "scores")
    assert undisturbed[1] <= plan.json["to_do"]["calls"]
    assert server.asked == []
    told = command("plan", "-m", "dno", "--preset", "tiny", *commands.line(), env=env).ok().out
    assert re.search(r"Judges: \d+ calls; at most [\d,]+ tokens,\s+no price is known", told)

    def some(body: Body, number: int) -> Sent:
        return said("Well.") if "seed" in body and body["seed"] == 2 else steady(body, number)

    openai = {**env, "OPENAI_API_KEY": ""}
    named = ("-m", "dno", "--preset", "tiny", "--eval-judge", "alpaca-eval:gpt-4o", "--out")
    assert command("plan", *named, tmp_path / "no-key", env=openai).ok()
    told = command("run", *named, tmp_path / "no-key", env=openai).sentence()
    assert "gpt-4o is asked at OpenAI, and OPENAI_API_KEY is not set" in told
    assert not (tmp_path / "no-key").exists() or not list((tmp_path / "no-key").iterdir())

    line = ("eval", "tiny", "--benchmark", "mini", "--judge", f"pairwise:fake@{server.url}",
            "--set", "benchmark.prompts=6", "--set", "benchmark.max_new_tokens=8",
            "--set", "benchmark.controls=2", "--out", tmp_path / "eval")  # fmt: skip
    server.answer = some
    failed = command(*line, "--json", prelude=QUICK, env=env).ok().json
    assert failed["result"]["win_rate"]["failures"] == {"unparsable": 6}
    assert failed["result"]["win_rate"]["value"] is None
    server.answer = steady
    shown = command(*line, prelude=QUICK, env=env).ok().out
    assert "100% consistent over both orders, first shown wins 50%" in shown
    assert len(server.asked) == (6 + 6) * 6 + (6 + 6) * 2
    assert without_key(tmp_path)
