"""`harness report --follow` and `--serve`: the page as its runs go on, on loopback only."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from harness.folders import RUN
from harness.runs import read_run

LOOPBACK = "127.0.0.1"
SECONDS = 2.0
"""Between two looks at the runs' folders."""
REFRESH = 20
"""Seconds after which a browser asks a served page again."""

State = tuple[tuple[str, int], ...]


def state(runs: Sequence[Path]) -> State:
    """What changes whenever a stage of a run finishes: its settings and manifests, with times."""
    files = [
        file
        for run in runs
        for file in (run / RUN.file, *sorted(run.glob("iter-*/*.manifest.json")))
        if file.exists()
    ]
    return tuple((str(file), file.stat().st_mtime_ns) for file in files)


def follow(runs: Sequence[Path], write: Callable[[], Path], say: Callable[[str], None]) -> Path:
    """Write whenever a stage has finished, until the runs have all that they were asked for;
    returns what was written last.

    Raises HarnessError where a folder holds no run.
    """
    seen: State | None = None
    while True:
        now = state(runs)  # before the page is written: what comes in meanwhile is news again
        if now != seen:
            missing = sum(read_run(run).missing for run in runs)
            page = write()
            say(f"written; iterations to come: {missing}" if missing else "written; all is done")
            if not missing:
                return page
            seen = now
        time.sleep(SECONDS)


class _Handler(SimpleHTTPRequestHandler):
    """Files of one folder, to this machine alone; nothing is kept, and while the runs are `live`
    the page comes again."""

    def __init__(self, *request: Any, live: threading.Event, directory: str) -> None:
        self.live = live  # the parent's constructor answers the request
        super().__init__(*request, directory=directory)

    def end_headers(self) -> None:
        self.send_header("Cache-Control", "no-store")
        if self.live.is_set():
            self.send_header("Refresh", str(REFRESH))
        super().end_headers()

    def send_head(self) -> Any:
        # a page elsewhere that has its name resolve to loopback must not read along
        port = self.connection.getsockname()[1]
        if self.headers.get("Host") not in (f"{LOOPBACK}:{port}", f"localhost:{port}"):
            self.send_error(403, "another host's name")
            return None
        return super().send_head()

    def log_message(self, format: str, *args: object) -> None:
        """Requests are no news."""


def serve(folder: Path, live: threading.Event) -> str:
    """Serve a folder on a free port of loopback for as long as the process lives; its address."""
    handler = partial(_Handler, live=live, directory=str(folder))
    server = ThreadingHTTPServer((LOOPBACK, 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return f"http://{LOOPBACK}:{server.server_address[1]}/"
