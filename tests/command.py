"""The real command, many times over: a server that has imported everything once forks a process a
call, so that each is a whole `harness` of its own (killed, interrupted, out of disk) in a second.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

SERVER = """
import faulthandler, gc, json, os, sys, traceback, warnings

os.environ["HARNESS_HOME"] = sys.argv[1]
import harness.app, harness.cli, harness.engines.transformers, harness.judges.self_score
import harness.plan, harness.progress, harness.show, harness.training.train
import leaderboards.board, leaderboards.table, reports.html
import matplotlib.backends.backend_agg, matplotlib.backends.backend_svg
import transformers.models.llama.modeling_llama
from transformers import Trainer

gc.collect()
gc.freeze()  # else each child walks through all that was imported
channel = os.fdopen(os.dup(1), "w", buffering=1)


def child(call):
    code = 1
    try:
        os.setsid()
        for fd, path in ((1, call["stdout"]), (2, call["stderr"])):
            os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), fd)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        faulthandler.dump_traceback_later(300, exit=True)  # a command that hangs says where
        os.chdir(call["cwd"])
        os.environ.update(call["env"])
        sys.argv = ["harness", *call["arguments"]]
        warnings.simplefilter("error")
        exec(compile(call["prelude"], "prelude", "exec"), {})
        harness.cli.main()
    except SystemExit as stop:
        code = stop.code or 0
    except BaseException:
        traceback.print_exc()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


print("ready", file=channel)
for line in sys.stdin:
    call = json.loads(line)
    if "wait" in call:
        answer = os.waitstatus_to_exitcode(os.waitpid(call["wait"], 0)[1])
    else:
        answer = os.fork()
        if not answer:
            child(call)
    print(answer, file=channel)
"""


NO_REPORT = """
import harness.app
def page(paths, out, **_):
    out.mkdir(parents=True, exist_ok=True)
    (out / "index.html").write_text(f"{paths}", "utf-8")
harness.app.write_run_report = page
"""


@dataclass(frozen=True)
class Done:
    """What a finished command left."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    def sentence(self, code: int = 1) -> str:
        """The one sentence that a failed command must end with, its exit code and no traceback."""
        assert self.code == code, self.err
        assert "Traceback" not in self.err, self.err
        last = self.err.strip().splitlines()[-1]
        assert last.startswith("harness: "), self.err
        return last.removeprefix("harness: ")

    def ok(self) -> Done:
        assert self.code == 0, self.err
        assert "Traceback" not in self.err, self.err
        return self


@dataclass
class Running:
    """A command at work."""

    pid: int
    stdout: Path
    stderr: Path
    server: Command

    def signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def wait(self) -> Done:
        code = int(self.server.ask({"wait": self.pid}))
        return Done(code, self.stdout.read_text("utf-8"), self.stderr.read_text("utf-8"))


@dataclass
class Command:
    """`harness ARGUMENTS` in processes of their own; `prelude` is code that runs before it."""

    home: Path
    folder: Path
    _server: subprocess.Popen[str] = field(init=False)
    _calls: int = 0

    def __post_init__(self) -> None:
        self._server = subprocess.Popen(
            [sys.executable, "-c", SERVER, str(self.home)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            # one thread: two are slower where others use the cores as well; no GPU: equal bytes
            env={
                **os.environ,
                "OMP_NUM_THREADS": "1",
                "CUDA_VISIBLE_DEVICES": "",
                "COLUMNS": "200",
                # pyarrow's allocator starts a thread, and a process that forks should have none
                "JE_ARROW_MALLOC_CONF": "background_thread:false",
            },
        )
        assert self._server.stdout
        assert self._server.stdout.readline() == "ready\n"

    def ask(self, call: dict[str, Any]) -> str:
        assert self._server.stdin
        assert self._server.stdout
        self._server.stdin.write(json.dumps(call) + "\n")
        self._server.stdin.flush()
        return self._server.stdout.readline()

    def start(
        self,
        *arguments: object,
        prelude: str = "",
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
    ) -> Running:
        self._calls += 1
        stdout, stderr = (self.folder / f"{self._calls}.{name}" for name in ("out", "err"))
        pid = self.ask(
            {
                "arguments": [str(argument) for argument in arguments],
                "prelude": prelude,
                "env": dict(env or {}),
                "cwd": str(cwd or self.folder),
                "stdout": str(stdout),
                "stderr": str(stderr),
            }
        )
        return Running(int(pid), stdout, stderr, self)

    def __call__(
        self,
        *arguments: object,
        prelude: str = "",
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
    ) -> Done:
        return self.start(*arguments, prelude=prelude, env=env, cwd=cwd).wait()

    def run(
        self,
        out: Path,
        *arguments: object,
        method: str = "dno",
        prelude: str = "",
        env: Mapping[str, str] | None = None,
        report: bool = False,
    ) -> Done:
        """`harness run` of the tiny preset, two iterations unless `--iters` says otherwise.

        Without `report` the page is a line of text: drawing it takes longer than the iterations.
        """
        before = "" if report else NO_REPORT
        return self(*run_line(out, *arguments, method=method), prelude=before + prelude, env=env)

    def plan(self, out: Path, *arguments: object, method: str = "dno") -> Any:
        """`harness plan --json` of the same command line."""
        _, *rest = run_line(out, *arguments, method=method)
        return self("plan", *rest, "--json").ok().json

    def close(self) -> None:
        assert self._server.stdin
        assert self._server.stdout
        self._server.stdin.close()
        self._server.wait(timeout=60)
        self._server.stdout.close()


def run_line(out: Path, *arguments: object, method: str = "dno") -> list[object]:
    iters = () if "--iters" in arguments else ("--iters", 2)
    return ["run", "--method", method, "--preset", "tiny", *iters, "--out", out, *arguments]


def contents(run: Path) -> dict[str, bytes]:
    """All that must not vary between two runs of one command: every file of the iterations but
    the manifests, which keep the seconds."""
    found = {
        file.relative_to(run).as_posix(): file.read_bytes()
        for file in run.glob("iter-*/**/*")
        if file.is_file() and not file.name.endswith("manifest.json")
    }
    assert found
    return found


def differing(a: Path, b: Path) -> list[str]:
    """The names of the files in which two runs differ; a name rather than a thousand bytes."""
    ours, theirs = contents(a), contents(b)
    return sorted(n for n in ours.keys() | theirs.keys() if ours.get(n) != theirs.get(n))


def state(*folders: Path) -> dict[str, tuple[int, int, int]]:
    """Inode, size and time of everything in the folders: what 'nothing changed' means."""
    return {
        str(path): (stat.st_ino, stat.st_size if path.is_file() else 0, stat.st_mtime_ns)
        for folder in folders
        for path in (folder, *folder.rglob("*"))
        for stat in (path.stat(),)
    }


def rows(path: Path) -> list[Any]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def store_folder(run: Path, iteration: int, stage: str) -> Path:
    """Where the artefact lies that a run's folder shows."""
    shown = run / f"iter-{iteration}" / f"{stage}.manifest.json"
    return run.parent / ".store" / json.loads(shown.read_text("utf-8"))["fingerprint"]
