"""A Hugging Face hub on loopback with the data sets that a test gives it."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

COMMIT = "1" * 40
Files = Mapping[str, bytes]


@contextmanager
def hub(sets: Mapping[str, Files], gated: str = "") -> Iterator[tuple[str, list[str]]]:
    """(address, paths asked for) of a hub with these data sets, path by path."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._answer(b"")

        def do_HEAD(self) -> None:
            self._answer(b"")

        def do_POST(self) -> None:
            self._answer(self.rfile.read(int(self.headers["Content-Length"])))

        def _answer(self, body: bytes) -> None:
            path = urlsplit(self.path).path
            asked.append(path)
            parts = path.strip("/").split("/")
            if parts[:1] == ["datasets"]:
                self._resolve("/".join(parts[1:3]), "/".join(parts[5:]))
            elif parts[:2] == ["api", "datasets"] and len(parts) >= 4:
                self._api("/".join(parts[2:4]), parts[4:], body)
            else:
                self._send(404, b"{}", {"X-Error-Code": "EntryNotFound"})

        def _resolve(self, name: str, path: str) -> None:
            if name == gated:
                self._send(401, b"{}", {"X-Error-Code": "GatedRepo"})
            elif name not in sets:
                self._send(404, b"{}", {"X-Error-Code": "RepoNotFound"})
            elif path not in sets[name]:
                self._send(404, b"{}", {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": COMMIT})
            else:
                body = sets[name][path]
                etag = f'"{hashlib.sha1(body).hexdigest()}"'
                self._send(200, body, {"ETag": etag, "X-Repo-Commit": COMMIT})

        def _api(self, name: str, rest: list[str], body: bytes) -> None:
            if name not in sets:
                self._send(404, b"{}", {"X-Error-Code": "RepoNotFound"})
                return
            files = sets[name]
            entries: list[dict[str, Any]] = [
                {"type": "file", "path": p, "size": len(b), "oid": hashlib.sha1(b).hexdigest()}
                for p, b in files.items()
            ]
            folders = sorted({p.rpartition("/")[0] for p in files} - {""})
            entries += [{"type": "directory", "path": p, "oid": "2" * 40} for p in folders]
            answer: Any = {
                "id": name,
                "sha": COMMIT,
                "siblings": [{"rfilename": path} for path in files],
            }
            if rest[:1] == ["tree"]:
                under = "/".join(rest[2:])
                answer = [e for e in entries if not under or e["path"].startswith(f"{under}/")]
            elif rest[:1] == ["paths-info"]:
                text = body.decode()
                paths = json.loads(text)["paths"] if text[:1] == "{" else parse_qs(text)["paths"]
                answer = [e for e in entries if e["path"] in paths]
            self._send(200, json.dumps(answer).encode(), {"Content-Type": "application/json"})

        def _send(self, status: int, body: bytes, headers: Mapping[str, str]) -> None:
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
