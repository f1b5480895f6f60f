"""What tests share: whole commands, a finished run to look at, a server that judges."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from command import (
    NO_REPORT as NO_REPORT,
)
from command import (
    Command as Command,
)
from command import (
    Done as Done,
)
from command import (
    Running as Running,
)
from command import (
    contents as contents,
)
from command import (
    differing as differing,
)
from command import (
    rows as rows,
)
from command import (
    run_line as run_line,
)
from command import (
    state as state,
)
from command import (
    store_folder as store_folder,
)
from in_process import Harness, Told, disk

if TYPE_CHECKING:
    from judge_server import JudgeServer
    from transformers import PreTrainedModel

    from harness.access import Access

collect_ignore = ["plugin_package"]  # a package of its own: tests/test_plugins.py installs it


@pytest.fixture(scope="session")
def command(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Command]:
    server = Command(tmp_path_factory.mktemp("home"), tmp_path_factory.mktemp("calls"))
    yield server
    server.close()


@pytest.fixture(scope="session")
def reference(command: Command, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An undisturbed run of DNO, two iterations. Never written to: take `reference_copy`."""
    out = tmp_path_factory.mktemp("reference") / "dno"
    command.run(out, report=True).ok()
    return out


@pytest.fixture(scope="module")
def judge_server() -> Iterator[JudgeServer]:
    """One for all tests of a module: its port is part of a judge's identity."""
    from judge_server import JudgeServer, steady

    found = JudgeServer(steady)
    yield found
    found.close()


@pytest.fixture
def server(judge_server: JudgeServer) -> JudgeServer:
    """The same, as if nothing had been asked yet."""
    from judge_server import steady

    judge_server.answer = steady
    judge_server.asked.clear()
    return judge_server


@pytest.fixture
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """For judges in this process: a cache of their own, no key, no patience."""
    from harness.client import client

    monkeypatch.setenv("HARNESS_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    monkeypatch.setattr(client, "BACKOFF", 0.005)


@pytest.fixture
def access(own_home: None) -> Iterator[Access]:
    from harness.access import Access
    from harness.config import JudgingConfig

    found = Access.by(JudgingConfig())
    yield found
    found.client.close()


@pytest.fixture
def reference_copy(reference: Path, tmp_path: Path) -> Path:
    """The same run elsewhere, its store beside it, hard links and times as they were."""
    subprocess.run(["cp", "-a", reference.parent, tmp_path / "copy"], check=True)
    return tmp_path / "copy" / reference.name


@pytest.fixture(scope="session")
def models_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A HARNESS_HOME in which the tiny model is already there."""
    from harness.models.store import pull

    home = tmp_path_factory.mktemp("cli-home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HARNESS_HOME", str(home))
        pull("tiny", lambda _line: None)
    return home


@pytest.fixture(scope="session")
def start(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny model's folder. Never written to."""
    from harness.models import tiny

    folder = tmp_path_factory.mktemp("tiny")
    tiny.build(folder, lambda _line: None)
    return folder


@pytest.fixture
def model(start: Path) -> PreTrainedModel:
    import torch

    from harness.models.load import load_model

    return load_model(start, torch.device("cpu"), torch.float32)


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Waking a second thread for a model this small costs more than it brings."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def harness(
    models_home: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Iterator[Harness]:
    """`harness ARGUMENTS` in this process, in a folder of its own."""
    from harness import cli

    monkeypatch.setenv("HARNESS_HOME", str(models_home))
    monkeypatch.delenv("HARNESS_DEBUG", raising=False)
    monkeypatch.chdir(tmp_path)
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def call(*arguments: object) -> Told:
        monkeypatch.setattr(sys, "argv", ["harness", *map(str, arguments)])
        with pytest.raises(SystemExit) as stop:
            cli.main()
        return Told(stop.value.code, *capsys.readouterr())

    yield call
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture
def refuses(
    harness: Harness, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., str]:
    """The one sentence that a command ends with; the disk is as it was, and nothing ran."""
    from harness.folders import Folder

    def ran(*_: object) -> None:
        pytest.fail("the experiment began")

    monkeypatch.setattr(Folder, "ensure", ran)

    def call(*arguments: object) -> str:
        before = disk(tmp_path)
        told = harness(*arguments)
        assert told.code == 1, told
        assert told.out == ""
        (line,) = told.err.splitlines()
        assert line.startswith("harness: ")
        assert line.endswith((".", "?"))
        assert "Traceback" not in line
        assert disk(tmp_path) == before
        return line.removeprefix("harness: ")

    return call
