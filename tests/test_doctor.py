"""`harness doctor`: what it looks at, a server included, and when it fails."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from conftest import Command

KEY = "sk-not-to-be-seen"


@pytest.fixture
def server() -> Iterator[tuple[str, dict[str, Any]]]:
    """An endpoint's address, and the models that it lists."""
    models: dict[str, Any] = {}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            assert self.path == "/v1/models"
            models["asked_with"] = self.headers.get("Authorization")
            body = json.dumps({"data": models.get("data", [])}).encode()
            self.send_response(models.get("status", 200))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *arguments: object) -> None: ...

    with HTTPServer(("127.0.0.1", 0), Handler) as listening:
        thread = threading.Thread(target=listening.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{listening.server_port}/v1", models
        listening.shutdown()
        thread.join()


def findings(command: Command, *arguments: object, code: int = 0) -> dict[str, Any]:
    done = command("doctor", "--json", *arguments, env={"OPENAI_API_KEY": KEY})
    assert done.code == code, done.err
    assert KEY not in done.out + done.err
    return {finding["what"]: finding for finding in done.json}


def test_a_fresh_place_is_fine(command: Command) -> None:
    found = findings(command, "--model", "tiny")
    assert "problem" not in {finding["health"] for finding in found.values()}
    assert "transformers" in found["versions"]["says"]
    assert "CC BY-NC 4.0" in found["length control"]["says"]
    assert "not calibrated" in found["judge longer"]["says"]
    table = command("doctor").ok().out
    assert "HARNESS_HOME" in table


def test_the_chat_template_is_looked_at(command: Command, reference: Path) -> None:
    policy = reference / "iter-1" / "policy"
    says = findings(command, "--model", policy)[f"template of {policy}"]["says"]
    assert "turns end with" in says


@pytest.mark.parametrize(
    ("data", "status", "health", "says"),
    [
        ([{"id": "m"}], 200, "ok", "reachable, 1 models"),
        ([{"id": "other"}], 200, "problem", "has no model 'm'"),
        ([{"id": "m", "shutdown_date": "2001-02-03"}], 200, "problem", "was shut down on 2001"),
        ([{"id": "m", "deprecation_date": 32503680000}], 200, "note", "will be shut down on 3000"),
        ([], 401, "problem", "401"),
        ("text", 200, "problem", "TypeError"),
    ],
)
def test_an_endpoint_is_asked(
    command: Command,
    server: tuple[str, dict[str, Any]],
    data: Any,
    status: int,
    health: str,
    says: str,
) -> None:
    address, models = server
    models |= {"data": data, "status": status}
    code = 1 if health == "problem" else 0
    found = findings(command, "--endpoint", f"m@{address}", code=code)
    assert models["asked_with"] == f"Bearer {KEY}"
    assert any(f["health"] == health and says in f["says"] for f in found.values()), found


def test_an_endpoint_that_is_not_there_is_a_problem(command: Command) -> None:
    found = findings(command, "--endpoint", "m@http://127.0.0.1:9/v1", code=1)
    assert found["endpoint 127.0.0.1:9"]["health"] == "problem"
