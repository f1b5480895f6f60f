"""An OpenAI-compatible server on loopback that does as a test says, a judge behind it that always
says the same of the same texts, and what a command needs to ask it."""

from __future__ import annotations

import json
import math
import re
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from conftest import Command

Body = dict[str, Any]
KEY = "sk-very-secret-0123456789"
QUICK = "import harness.client.client as c; c.BACKOFF = c.CROWDED = 0.002; c.ATTEMPTS = 2\n"
"""A command's prelude: it tries again at once, and soon gives up."""


def asking_env(command: Command, home: Path) -> dict[str, str]:
    """A home, and so a cache, of its own; the embedded models are there already."""
    home.mkdir(exist_ok=True)
    if not (home / "models").exists():
        (home / "models").symlink_to(command.home / "models")
    return {"HARNESS_HOME": str(home), "OPENAI_API_KEY": KEY}


def without_key(*folders: Path) -> bool:
    """Whether the key is in no file, the ledger of calls included."""
    files = [f for folder in folders for f in folder.rglob("*") if f.is_file()]
    assert any(file.name.endswith("calls.jsonl") for file in files)
    return not [file for file in files if KEY.encode() in file.read_bytes()]


@dataclass(frozen=True)
class Sent:
    """What the server does with a request: a response, or `hang` seconds, or a closed door."""

    body: bytes = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    hang: float = 0.0
    close: bool = False


def said(
    text: str | None,
    finish: str = "stop",
    top: dict[str, float] | None = None,
    model: str = "fake-2024",
    usage: tuple[int, int] | None = (1000, 10),
    **more: Any,
) -> Sent:
    """A chat completion; `top` are the first token's log-probs."""
    places = (
        [
            {
                "token": "x",
                "logprob": -1.0,
                "bytes": None,
                "top_logprobs": [
                    {"token": token, "logprob": value, "bytes": None}
                    for token, value in top.items()
                ],
            }
        ]
        if top is not None
        else None
    )
    choice = {
        "index": 0,
        "message": {"role": "assistant", "content": text, **more},
        "finish_reason": finish,
        "logprobs": {"content": places} if places else None,
    }
    body: Body = {"id": "c", "object": "chat.completion", "model": model, "choices": [choice]}
    if usage:
        body["usage"] = {"prompt_tokens": usage[0], "completion_tokens": usage[1]}
    return Sent(json.dumps(body).encode())


def error(status: int, message: str = "no", **headers: str) -> Sent:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Sent(json.dumps({"error": {"message": message}}).encode(), status, named)


Answer = Callable[[Body, int], Sent]
"""(request, its number from 0) → what to do."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256


class JudgeServer:
    """`asked` are the bodies of all requests, `keys` their authorisations."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        self.asked: list[Body] = []
        self.keys: list[str | None] = []
        self.at_once = self.most_at_once = 0
        self._lock = threading.Lock()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                outer._serve(self, body)

            def log_message(self, *_: object) -> None:
                pass

        self._server = _Server(("127.0.0.1", 0), Handler)
        self._stop = threading.Event()
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}/v1"

    def _serve(self, handler: BaseHTTPRequestHandler, body: Body) -> None:
        with self._lock:
            number = len(self.asked)
            self.asked.append(body)
            self.keys.append(handler.headers["Authorization"])
            self.at_once += 1
            self.most_at_once = max(self.at_once, self.most_at_once)
        try:
            sent = self.answer(body, number)
            self._stop.wait(sent.hang)
        finally:
            with self._lock:
                self.at_once -= 1
        if sent.close:
            handler.close_connection = True
            return
        head = {"Content-Type": "application/json", "Content-Length": str(len(sent.body))}
        lines = "".join(f"{k}: {v}\r\n" for k, v in {**head, **sent.headers}.items())
        try:
            handler.wfile.write(f"HTTP/1.1 {sent.status} X\r\n{lines}\r\n".encode() + sent.body)
        except OSError:  # the client gave up
            handler.close_connection = True

    def close(self) -> None:
        self._stop.set()
        self._server.shutdown()
        self._server.server_close()


def steady(body: Body, _number: int) -> Sent:
    """A judge of every protocol that likes long answers; its word follows from the texts alone."""
    asked = body["messages"][-1]["content"]
    if body.get("top_logprobs"):
        first, second = re.findall(r'"output": """(.*?)"""\n    }', asked, re.S)
        d = math.tanh((len(first) - len(second)) / 200)
        return said("m", "length", top={"m": d - 1.2, "M": -d - 1.2, "The": -9.0})
    last = asked.splitlines()[-1]
    if last.startswith("Reply with one line"):
        (text,) = re.findall(r"<(?:answer[-x]*)>\n(.*)\n</answer[-x]*>", asked, re.S)
        return said(f"Score: {min(5, likes(text))}")
    answers = re.findall(r"<answer (\w+)>\n(.*?)\n</answer \1>", asked, re.S)
    if last.startswith("Better:"):
        better = max(answers, key=lambda answer: len(answer[1]) * (answer[0] in last))[0]
        return said(f"It says more.\nBetter: {better}")
    return said(f"All fine.\n{json.dumps({name: likes(text) for name, text in answers})}")


def likes(text: str) -> int:
    return min(6, len(text) // 20)


def listed(answers: Sequence[Sent], then: Answer = steady) -> Answer:
    """These in turn, then as the other says."""
    return lambda body, number: answers[number] if number < len(answers) else then(body, number)
