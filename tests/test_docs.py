"""The pages are true: their method trains, their commands parse, their files and names exist.

That the commands run is `test_docs_commands.py`; links and the site, `test_docs_site.py`."""

from __future__ import annotations

import json
import math
import os
import re
import shlex
import subprocess
import sys
import tomllib
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import pytest
import typer
from pages import DOCS, PAGES, README, ROOT, blocks, name, prose
from typer.core import TyperGroup

from harness import registry
from harness.cli import app
from harness.commands.boards import ShowByDefault
from harness.config import preset_names
from harness.experiment import resolve_config

TUTORIAL = DOCS / "adding-a-method.md"
JUDGES = DOCS / "how-to" / "judges.md"
ROOMS = {item.name for item in ROOT.iterdir() if item.is_dir()} - {"runs", "build", "dist"}


def code(page: Path, language: str) -> list[str]:
    return [block.text for block in blocks(page) if block.language == language]


def commands(page: Path) -> list[list[str]]:
    """The arguments of each `harness …` line in a page's code blocks."""
    lines = [words for block in blocks(page) for words in block.commands()]
    return [words[1:] for words in lines if words[0] == "harness"]


def table(page: Path, heading: str) -> list[str]:
    """The names in the first column of the table under a heading."""
    section = re.split(rf"^#+ {heading}\n", page.read_text("utf-8"), flags=re.M)[1]
    section = section.split("\n## ")[0]
    first = [row.split("|")[1] for row in section.splitlines() if row.startswith("| `")]
    return [name for cell in first for name in re.findall(r"`([^`]+)`", cell)]


def parse(arguments: list[str]) -> dict[str, Any]:
    """The parameters of one command line; a mistake in it raises. Nothing is run."""
    command: Any = typer.main.get_command(app)
    context = None
    while True:
        context = command.make_context("harness", list(arguments), parent=context)
        if not isinstance(command, TyperGroup):
            return dict(context.params)
        rest = [*context._protected_args, *context.args]
        _, command, arguments = command.resolve_command(context, rest)


def command_names() -> list[str]:
    """All commands, `models pull` and the like included; `board show` is `board`."""
    command: Any = typer.main.get_command(app)
    names = [
        f"{name} {inner}".strip()
        for name, found in command.commands.items()
        for inner in (found.commands if isinstance(found, TyperGroup) else [""])
    ]
    return sorted(name.removesuffix(f" {ShowByDefault.default}") for name in names)


def built_in(group: str) -> list[str]:
    """Names of this distribution's own plugins; others may be installed beside it."""
    found = entry_points(group=group)
    return sorted(e.name for e in found if e.dist and e.dist.name == "posttrain-harness")


# --- the tutorial's method --------------------------------------------------------------------


@pytest.fixture
def method_file(tmp_path: Path) -> Path:
    path = tmp_path / "online_ipo.py"
    path.write_text(code(TUTORIAL, "python")[0], "utf-8")
    return path


def test_the_tutorial_s_method_is_short(method_file: Path) -> None:
    assert len(method_file.read_text("utf-8").splitlines()) < 40


def test_the_tutorial_s_method_trains(method_file: Path) -> None:
    """For real: its own process, the tiny model, two iterations."""
    line = f"run --method {method_file.name}:OnlineIPO --iters 2 --preset tiny --json --quiet"
    done = subprocess.run(
        [sys.executable, "-m", "harness.cli", *shlex.split(line)],
        cwd=method_file.parent,
        # one thread: the model is too small to share out
        env={**os.environ, "HARNESS_HOME": str(method_file.parent), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    run = method_file.parent / "runs" / "OnlineIPO-tiny"
    assert Path(json.loads(done.stdout)["run"]) == run.resolve()
    rows = (run / "leaderboard.jsonl").read_text("utf-8").splitlines()
    assert [json.loads(row)["iteration"] for row in rows] == [0, 1, 2]
    for iteration in (1, 2):
        trained = json.loads((run / f"iter-{iteration}" / "train.json").read_text("utf-8"))
        assert trained["examples"] > 0
        # policy and reference are equal at first: (0 − 1/(2·0.1))² = 25, by the page's own loss
        assert trained["steps"][0]["loss"] == pytest.approx(25, rel=1e-3)
        assert math.isfinite(trained["after"]["loss"])
        assert trained["after"]["logratio_chosen"] != 0


def test_the_tutorial_s_package_registers_its_method(
    method_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = tomllib.loads(code(TUTORIAL, "toml")[0])
    methods = project["project"]["entry-points"]["harness.methods"]
    assert project["tool"]["setuptools"]["py-modules"] == [method_file.stem]
    name, version = project["project"]["name"], project["project"]["version"]
    installed = method_file.parent / f"{name.replace('-', '_')}-{version}.dist-info"
    installed.mkdir()
    entries = "".join(f"{key} = {value}\n" for key, value in methods.items())
    (installed / "entry_points.txt").write_text(f"[harness.methods]\n{entries}", "utf-8")
    (installed / "METADATA").write_text(f"Name: {name}\nVersion: {version}\n", "utf-8")
    monkeypatch.syspath_prepend(method_file.parent)
    monkeypatch.delitem(sys.modules, method_file.stem, raising=False)

    config, plugin, method = resolve_config("online-ipo", {}, "tiny", sets=("method.tau=0.5",))

    assert (method.name, plugin.revision) == ("online-ipo", version)
    assert config.settings == {"tau": 0.5, "samples": 3}  # the preset's samples


def test_the_tutorial_s_own_tests_pass(method_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(method_file.parent)
    monkeypatch.delitem(sys.modules, method_file.stem, raising=False)
    _, *tests = code(TUTORIAL, "python")
    assert len(tests) == 2
    for test in tests:
        exec(compile(test, "adding-a-method.md", "exec"), {})


# --- commands ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "line", sorted({shlex.join(line) for page in PAGES for line in commands(page)})
)
def test_a_command_in_a_code_block_is_right(line: str, method_file: Path) -> None:
    """It parses, and what it sets exists."""
    given = parse(shlex.split(line))
    if "preset" in given:
        for method in given["method"].split(","):
            # the tutorial's methods, as the page has them before and after they are installed
            spec = method.replace(method_file.name, str(method_file))
            spec = f"{method_file}:OnlineIPO" if spec in ("online-ipo", "my-dpo") else spec
            sets = tuple(given["set_"] or ())
            config, _, _ = resolve_config(spec, {}, given["preset"], sets=sets)
            assert config.iterations > 0


def test_a_wrong_command_would_be_noticed() -> None:
    for line in ("frobnicate", "run --method dno --itres 6", "models pull"):
        with pytest.raises(Exception, match=r"(?i)no such|missing"):
            parse(line.split())


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_commands_and_make_targets_in_the_text_exist(page: Path) -> None:
    for words in re.findall(r"`harness ([a-z][a-z-]*(?: [a-z]+)?)[^`]*`", prose(page)):
        assert any(f"{words} ".startswith(f"{known} ") for known in command_names()), words
    makefile = (ROOT / "Makefile").read_text("utf-8")
    for target in re.findall(r"`make ([a-z-]+)`", prose(page)):
        assert re.search(rf"^{target}:", makefile, re.M), f"make {target}"


# --- files and names --------------------------------------------------------------------------


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_files_named_in_the_text_exist(page: Path) -> None:
    named = re.findall(r"`([\w.*-]+/[\w./*-]*)`", prose(page))
    paths = [name for name in named if name.split("/")[0] in ROOMS]
    missing = [p for p in paths if not (any(ROOT.glob(p)) if "*" in p else (ROOT / p).exists())]
    # published/ and results/ are named in leaderboards/README.md from where it stands
    assert not [path for path in missing if not (page.parent / path).exists()]


def test_the_pages_list_what_is_registered() -> None:
    assert sorted(table(README, "Methods")) == built_in(registry.METHODS)
    assert sorted(table(JUDGES, "Choose or write a judge")) == built_in(registry.JUDGES)
    presets = prose(DOCS / "reference" / "configuration.md").split("## Presets")[1]
    assert sorted(re.findall(r"^- `(\w+)`", presets, re.M)) == preset_names()


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_nothing_is_left_to_fill_in(page: Path) -> None:
    assert not re.findall(r"\{\{|TODO|FIXME", page.read_text("utf-8"))
