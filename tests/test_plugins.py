"""Somebody else's method: `harness new-method` writes its package, pip installs it, the command
runs it. `tests/plugin_package` is what the command writes, so that it can be read and linted."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import Command

from harness.testing import check_method

PACKAGE = Path(__file__).parent / "plugin_package"
NAME = "example"


def files_of(folder: Path) -> dict[str, str]:
    return {
        file.relative_to(folder).as_posix(): file.read_text("utf-8")
        for file in folder.rglob("*")
        if file.is_file() and "cache" not in str(file.relative_to(folder))
    }


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that the package is installed in."""
    folder = tmp_path_factory.mktemp("plugin")
    source, target = folder / "source", folder / "installed"
    shutil.copytree(PACKAGE, source)  # a build leaves its own files beside the sources
    options = ["--quiet", "--no-deps", "--no-build-isolation", "--no-index", "--target", target]
    subprocess.run([sys.executable, "-m", "pip", "install", *options, source], check=True)
    return target


def test_the_package_is_what_new_method_writes(command: Command, tmp_path: Path) -> None:
    told = command("new-method", NAME, "--out", tmp_path / "new").ok()
    assert told.out.startswith(f"{tmp_path / 'new'}: ")
    assert files_of(tmp_path / "new") == files_of(PACKAGE)


def test_an_installed_method_runs_like_a_built_in_one(
    command: Command, installed: Path, tmp_path: Path
) -> None:
    seen = f"import sys; sys.path.insert(0, {str(installed)!r})\n"  # PYTHONPATH, once started
    (listed,) = [m for m in command("methods", "--json", prelude=seen).json if m["name"] == NAME]
    assert listed["loaded_from"] == "harness-example 0.1.0 (harness_example:ExampleMethod)"
    assert listed["settings"] == {"beta": 0.1, "samples": 4}

    checked = f"{seen}from harness.testing import check_method; check_method({NAME!r})\n"
    out = tmp_path / "run"
    command.run(out, "--iters", 1, method=NAME, prelude=checked).ok()
    assert (out / "iter-1" / "policy" / "model.safetensors").is_file()
    assert len((out / "leaderboard.jsonl").read_text("utf-8").splitlines()) == 2

    told = command("new-method", NAME, prelude=seen).sentence()
    assert told.startswith(f"The name '{NAME}' is taken by harness-example 0.1.0")


@pytest.mark.slow
def test_the_package_s_own_tests_pass(installed: Path, tmp_path: Path) -> None:
    shutil.copytree(PACKAGE / "tests", tmp_path / "tests")
    paths = {"PYTHONPATH": str(installed), "HARNESS_HOME": str(tmp_path / "home")}
    line = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", tmp_path / "tests"]
    subprocess.run(line, check=True, cwd=tmp_path, env={**os.environ, **paths})


@pytest.mark.parametrize(
    ("name", "cls"), [("none", "NoneMethod"), ("my-method", "MyMethod"), ("x1-2", "X12Method")]
)
def test_any_name_gives_code_that_works(
    command: Command, tmp_path: Path, name: str, cls: str
) -> None:
    folder = tmp_path / f"harness-{name}"
    command("new-method", name, "--out", folder).ok()
    check_method(f"{folder}/src/harness_{name.replace('-', '_')}.py:{cls}")
    for check in (["check"], ["format", "--check"]):  # by ruff's own rules, not this project's
        subprocess.run([sys.executable, "-m", "ruff", *check, "--isolated", folder], check=True)


@pytest.mark.parametrize(
    "name", ["", "Foo", "1st", "a--b", "a-", "a_b", "../up", "a b", "ä", "a\n"]
)
def test_what_is_no_name_is_refused(command: Command, tmp_path: Path, name: str) -> None:
    told = command("new-method", "--out", tmp_path / "new", "--", name).sentence()
    assert "is no name for a method" in told
    assert not (tmp_path / "new").exists()


def test_names_and_folders_that_are_taken_are_refused(command: Command, tmp_path: Path) -> None:
    told = command("new-method", "spin", "--out", tmp_path / "new").sentence()
    assert told.startswith("The name 'spin' is taken by posttrain-harness")
    assert not (tmp_path / "new").exists()
    told = command("new-method", "mine", "--out", tmp_path).sentence()
    assert told == f"{tmp_path} exists; give another folder with --out, or remove it."
    assert not any(tmp_path.iterdir())
