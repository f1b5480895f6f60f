"""`judge`, `compare`, `calibrate` and `eval` by judges that ask a model: what they cost is said
before and after, bounded, and never paid twice."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from conftest import Command, Done, rows
from judge_server import QUICK, JudgeServer, Sent, asking_env, error, steady, without_key

from harness.client.account import CALLS

COST = 2
"""Dollars a call, by `PRICES` and the server's 1,000 and 10 tokens."""
PRICES = "fake: {prompt: 1000, completion: 100000}\n"


def outputs(path: Path, name: str, lengths: int) -> Path:
    rows = [
        {"instruction": f"Task {i}", "output": "x" * (lengths + 7 * i % 50), "generator": name}
        for i in range(12)
    ]
    path.write_text(json.dumps(rows), "utf-8")
    return path


def archive(folder: Path) -> Path:
    """Twelve stored judgements of one model, in a checkout's form."""
    inside = folder / "results" / "a-model" / "weighted_alpaca_eval_gpt4_turbo"
    inside.mkdir(parents=True)
    rows = [
        {
            "instruction": f"Task {i}",
            "output_1": "b" * 60,
            "output_2": "m" * (10 + 9 * i),
            "preference": 1.1 + 0.8 * (i > 6),
        }
        for i in range(12)
    ]
    (inside / "annotations.json").write_text(json.dumps(rows), "utf-8")
    return folder


@dataclass(frozen=True)
class Asking:
    """One command by a judge at the server; `calls` is what it takes in all."""

    line: tuple[object, ...]
    calls: int
    ledger: str

    def spent(self, home: Path) -> list[float]:
        (ledger,) = home.parent.rglob(self.ledger)
        return [row["usd"] for row in rows(ledger)]


@pytest.fixture(params=["judge", "compare", "calibrate", "eval"])
def asking(request: pytest.FixtureRequest, server: JudgeServer, tmp_path: Path) -> Asking:
    a, b = outputs(tmp_path / "a.json", "a", 40), outputs(tmp_path / "b.json", "b", 60)
    judge = ("--judge", f"alpaca-eval:fake@{server.url}", "--set", "judging.concurrency=1")
    if request.param == "judge":
        files = ("--outputs", a, "--reference", b, "--out", tmp_path / "new" / "annotations.json")
        return Asking(("judge", *judge, *files), 12, f"annotations.{CALLS}")
    if request.param == "compare":
        c = outputs(tmp_path / "c.json", "c", 50)
        return Asking(("compare", a, b, c, *judge), 3 * 12, f"*.{CALLS}")
    if request.param == "calibrate":
        found = archive(tmp_path / "archive")
        return Asking(("calibrate", "--archive", found, *judge), 2 * 12, f"*.{CALLS}")
    few = ("--set", "benchmark.prompts=8", "--set", "benchmark.max_new_tokens=8")
    rest = ("--benchmark", "mini", "--set", "benchmark.controls=2", "--out", tmp_path / "eval")
    return Asking(("eval", "tiny", *few, *rest, *judge), 8 + 3 * 2, CALLS)


def test_a_budget_stops_a_command_and_a_larger_one_ends_as_if_nothing_had_been(
    asking: Asking, command: Command, reference: Path, server: JudgeServer, tmp_path: Path
) -> None:
    home = tmp_path / "home"
    env = asking_env(command, home)

    def ask(*more: object) -> Done:
        return command(*asking.line, *more, "--json", prelude=QUICK, env=env)

    unknown = ask("--budget-usd", 10).sentence()
    assert "No price is known for fake, so --budget-usd could not stop it" in unknown
    assert server.asked == []
    (home / "prices.yaml").write_text(PRICES, "utf-8")
    # a call is made as long as the budget is not spent: three of two dollars within five
    for budget, calls in ((5, 3), (5, 3), (14, 7)):
        before = len(server.asked)
        done = ask("--budget-usd", budget)
        assert f"The budget of ${budget} is spent (${calls * COST:.4f}" in done.sentence(3)
        assert len(server.asked) == calls
        paid = (calls - before) * COST
        assert re.search(
            rf"judging: at most {asking.calls} calls and \$[\d.]+ to come, "
            rf"\${before * COST:.2f} spent, budget \${budget}\n",
            done.err,
        )
        assert f"judges: {calls - before} calls, {(calls - before) * 1010:,} tokens, " in done.err
        assert f"${paid:.2f}, with earlier starts ${calls * COST:.2f} → " in done.err

    continued = ask("--budget-usd", 1000).ok()
    assert len(server.asked) == asking.calls
    assert asking.spent(home) == [COST] * asking.calls
    again = ask("--budget-usd", 1000).ok()
    assert len(server.asked) == asking.calls
    assert "judges: 0 calls, 0 tokens, $0.00" in again.err
    assert without_key(tmp_path)
    assert answer(again) == answer(continued)


def answer(done: Done) -> Any:
    """What a command says, less what starts cost."""
    return {k: v for k, v in done.json.items() if k not in ("costs", "provenance")}


def test_a_failure_is_counted_and_asked_for_again(
    asking: Asking, command: Command, reference: Path, server: JudgeServer, tmp_path: Path
) -> None:
    env = asking_env(command, tmp_path / "home")

    def third_fails(body: dict[str, Any], number: int) -> Sent:
        return error(400, "ill") if number == 2 else steady(body, number)

    server.answer = third_fails
    failed = command(*asking.line, "--json", prelude=QUICK, env=env).ok()
    assert "calls to come, no price is known\n" in failed.err
    assert "http error" in failed.out or '"n_failed": 1' in failed.out
    assert len(server.asked) == asking.calls
    mended = command(*asking.line, "--json", prelude=QUICK, env=env).ok()
    assert len(server.asked) == asking.calls + 1
    assert "http error" not in mended.out
    assert '"n_failed": 1' not in mended.out


def test_a_budget_needs_a_judge(command: Command, tmp_path: Path) -> None:
    a, b = outputs(tmp_path / "a.json", "a", 40), outputs(tmp_path / "b.json", "b", 60)
    refused = command("compare", a, b, "--budget-usd", 3)
    assert "--budget-usd and --set are for the --judge" in refused.sentence()
    line = ("compare", a, b, "--judge", "longer")
    assert "did you mean 'judging.votes'" in command(*line, "--set", "judging.vots=1").sentence()
