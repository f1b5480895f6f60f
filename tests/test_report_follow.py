"""A report that follows its runs, and is served on loopback only."""

from __future__ import annotations

import http.client
import threading
import time
from pathlib import Path
from urllib.parse import urlsplit

from conftest import Command

from harness.follow import serve


def test_the_page_is_written_again_until_all_is_done(
    command: Command, reference_copy: Path
) -> None:
    scores = reference_copy / "iter-2" / "scores.manifest.json"
    hidden = scores.rename(scores.with_name("hidden"))
    page = reference_copy / "report" / "index.html"
    page.unlink()
    going = command.start("report", reference_copy, "--follow")
    deadline = time.monotonic() + 300
    while not (going.stderr.exists() and "to come: 1" in going.stderr.read_text("utf-8")):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    text = page.read_text("utf-8")
    assert "of iterations 0 to 2, 2 are scored, and iteration 2 has samples" in text
    hidden.rename(scores)
    done = going.wait().ok()
    assert done.out.strip() == str(page)
    assert done.err.strip().endswith("written; all is done")
    assert "is not finished" not in page.read_text("utf-8")


def test_a_folder_without_a_run_is_a_sentence(command: Command, tmp_path: Path) -> None:
    assert "holds no run" in command("report", tmp_path, "--follow").sentence()


def test_the_page_is_served_to_this_machine_alone(tmp_path: Path) -> None:
    (tmp_path / "index.html").write_text("hello", "utf-8")
    live = threading.Event()
    address = urlsplit(serve(tmp_path, live))
    assert address.hostname == "127.0.0.1"
    assert address.port

    def asked(path: str, host: str) -> http.client.HTTPResponse:
        connection = http.client.HTTPConnection("127.0.0.1", address.port or 0)
        connection.request("GET", path, headers={"Host": host})
        answer = connection.getresponse()
        answer.body = answer.read()  # type: ignore[attr-defined]
        connection.close()
        return answer

    here = f"127.0.0.1:{address.port}"
    answer = asked("/", here)
    assert (answer.status, answer.body) == (200, b"hello")  # type: ignore[attr-defined]
    assert answer.getheader("Refresh") is None
    live.set()
    assert asked("/", here).getheader("Refresh") == "20"
    assert asked("/", "evil.test").status == 403
    assert asked("/../secret", here).status == 404
