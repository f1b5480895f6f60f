"""The commands of the pages run, page by page in a folder of its own, so that each is a story.

Small presets take the numbers of `tiny`, SmolLM2 is the tiny model, and only `harness report` on
the tutorial's page draws one. What a page marks as `planned` goes through `harness plan`; what it
marks as `not run` is counted here, by its reason, and parsed in `test_docs.py`.
"""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from conftest import NO_REPORT, Command
from judge_server import QUICK, JudgeServer
from pages import DOCS, PAGES, Block, blocks, name

SMALL = """
import harness.config, harness.models.store
presets, models = harness.config.preset, harness.models.store._BUILTIN
harness.config.preset = lambda n: presets("tiny" if n in ("quickstart", "laptop") else n)
models["smollm2-135m"] = models["tiny"]
"""
OTHERS = {"python": sys.executable, "ls": "ls", "head": "head"}
SERVER = "http://127.0.0.1:8000/v1"
"""Where the pages' judges and teachers are."""

WITH_COMMANDS = [page for page in PAGES if any(block.commands() for block in blocks(page))]


@pytest.mark.parametrize("page", WITH_COMMANDS, ids=name)
def test_the_commands_of_a_page_run(
    page: Path, command: Command, models_home: Path, judge_server: JudgeServer, tmp_path: Path
) -> None:
    story = tmp_path / "story"
    story.mkdir()
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "models").symlink_to(models_home / "models")
    for block in blocks(page):
        if block.title:
            (story / block.title).write_text(block.text, "utf-8")
        for words in [] if block.mark == "not run" else block.commands():
            told = " ".join(words)
            program, *arguments = [word.replace(SERVER, judge_server.url) for word in words]
            if program in OTHERS:
                subprocess.run([OTHERS[program], *arguments], cwd=story, check=True)
                continue
            assert program == "harness", f"{told}: what is not run says why, above its block"
            if block.mark == "planned":
                assert arguments[0] == "run", f"{told}: only a run can be planned"
                arguments[0] = "plan"
            drawn = page == DOCS / "tutorial.md" and arguments[0] == "report"
            prelude = SMALL + QUICK + ("" if drawn else NO_REPORT)
            done = command(
                *arguments, prelude=prelude, env={"HARNESS_HOME": str(tmp_path / "home")}, cwd=story
            )
            if block.mark == "refused":
                done.sentence()
            else:
                assert done.code == 0, f"{told}\n{done.err}"


def marked(mark: str) -> Counter[str]:
    """Blocks by reason."""
    found = [block for page in PAGES for block in blocks(page) if block.mark == mark]
    return Counter(block.reason for block in found)


def test_what_is_not_run_is_counted() -> None:
    """A block that no test runs is an exception that somebody has looked at."""
    assert marked("not run") == {
        "enters a result, and the tests' tiny model is refused": 2,
        "installs packages": 7,
        "needs AlpacaEval's archive, which is not included": 1,
        "needs AlpacaEval's data, which are not included": 1,
        "needs a run on AlpacaEval's data": 1,
        "needs vLLM": 1,
        "serves until Ctrl-C": 1,
        "takes minutes": 1,
    }
    assert marked("planned") == {
        "fetches a model from the hub": 1,
        "needs AlpacaEval's data, which are not included": 1,
        "needs a GPU": 2,
        "needs a key": 3,
        "needs several GPUs": 1,
    }
    assert marked("refused").total() == 1


def test_marks_stand_above_commands() -> None:
    """A mark that slipped away from its block, or a reason left out, would hide a block."""
    for page in PAGES:
        written = page.read_text("utf-8")
        found: list[Block] = [block for block in blocks(page) if block.mark]
        assert sum(written.count(f"<!-- {m}") for m in ("planned", "not run", "refused")) == len(
            found
        ) + (written.count("`<!--") if name(page) == "CONTRIBUTING.md" else 0), name(page)
        assert all(block.commands() for block in found), name(page)
        assert all(block.reason for block in found if block.mark != "refused"), name(page)
