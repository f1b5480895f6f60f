"""Help that can be trusted: every example works, and the same option is the same everywhere."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from conftest import Command
from in_process import Harness
from typer.core import TyperGroup

from harness.cli import app


def walk(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    yield path, command
    if isinstance(command, TyperGroup):
        for name, inner in command.commands.items():
            yield from walk(inner, (*path, name))


COMMANDS = dict(walk(typer.main.get_command(app)))


def examples(text: str) -> list[list[str]]:
    """The arguments of each example in a help."""
    told = text.replace("\\\n", " ")
    return [shlex.split(found) for found in re.findall(r"Example: harness ((?:.+\n?)+)", told)]


def parse(arguments: list[str]) -> None:
    """A mistake raises; nothing is run."""
    command, context = COMMANDS[()], None
    while isinstance(command, TyperGroup):
        context = command.make_context("harness", list(arguments), parent=context)
        _, command, arguments = command.resolve_command(
            context, [*context._protected_args, *context.args]
        )
    command.make_context("harness", list(arguments), parent=context)


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_help_fits_a_terminal_and_its_examples_parse(
    harness: Harness, monkeypatch: pytest.MonkeyPatch, path: tuple[str, ...]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    told = harness(*path, "--help")
    assert (told.code, told.err) == (0, "")
    assert max(len(line) for line in told.out.splitlines()) <= 80
    assert "..." not in told.out.partition("\n")[2]  # no sentence is cut short
    found = examples(COMMANDS[path].help)
    assert found == examples(told.out) != []  # no line of them was broken
    for example in found:
        parse(example)


OWN_MEANING = {"--out", "--set", "--judge", "--method", "--iters", "--model", "--reference"}
"""What these are about differs from command to command; the rest may not."""


def test_the_same_option_is_the_same_everywhere() -> None:
    found: dict[str, set[tuple[object, ...]]] = defaultdict(set)
    for command in COMMANDS.values():
        for option in command.params:
            if option.param_type_name == "option":
                name = max(option.opts, key=len)
                meaning = () if name in OWN_MEANING else (option.help.replace("Training p", "P"),)
                found[name].add((tuple(option.opts), option.metavar, *meaning))
                value = not (option.is_flag or option.type_descriptor.is_choice)
                assert bool(option.metavar) == value, name
    for differ in ("--out", "--reference"):  # a folder, a file, or a choice
        del found[differ]
    twice = {name: variants for name, variants in found.items() if len(variants) > 1}
    assert twice == {}


def test_numbers_come_as_json_from_every_command() -> None:
    leaves = {path: c for path, c in COMMANDS.items() if not isinstance(c, TyperGroup)}
    assert len(leaves) > 15
    for path, command in leaves.items():
        assert any("--json" in option.opts for option in command.params), path


def test_examples_work(command: Command, tmp_path: Path) -> None:
    """For real, all that the tiny model can stand in for."""
    runs = tmp_path / "runs"
    for method in ("dno", "sft"):
        line = ("--method", method, "--preset", "tiny", "--iters", 1, "--quiet")
        command("run", *line, "--out", runs / f"{method}-quickstart").ok()
    scored = runs / "dno-quickstart" / "iter-1"
    for name in ("a.json", "b.json"):
        shutil.copy(scored / "outputs.json", tmp_path / name)
    results = tmp_path / "results" / "my-model"
    results.mkdir(parents=True)
    shutil.copy(scored / "annotations.json", results)
    (tmp_path / "nowhere").mkdir()

    elsewhere = {
        ("run",): "takes minutes: the README's commands are these",
        ("calibrate",): "needs AlpacaEval's archive",
        ("gold",): "needs a server",
        ("doctor",): "needs a server",
        ("models",): "the second one fetches",
        ("models", "pull"): "fetches",
        ("board", "add"): "enters into the checkout",
        ("board",): "its second one enters into the checkout",
        (): "is a run",
    }
    ran = 0
    for path in COMMANDS:
        # what a plan is of must not be there yet, under other settings
        folder = tmp_path / "nowhere" if path == ("plan",) else tmp_path
        move = f"import os; os.chdir({str(folder)!r})"
        for example in [] if path in elsewhere else examples(COMMANDS[path].help):
            done = command(*example, "--json", prelude=move)
            assert done.code == 0, (example, done.err)
            json.loads(done.out)
            ran += 1
    assert ran == len(COMMANDS) - len(elsewhere)


# --- the shell completes ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("mod", {"models"}),
        ("run --method sft", {"sft", "sft-positives"}),
        ("run --method dno,sft", {"dno,sft", "dno,sft-positives"}),
        ("plan --preset t", {"tiny"}),
        ("compare --judge o", {"offline"}),
        ("eval sm", {"smollm2-135m"}),
        ("eval tiny --benchmark al", {"alpaca_eval"}),
        ("models p", {"pull"}),
        ("lab --game r", {"rps", "random"}),
        ("run --set sampling.to", {"sampling.top_p="}),
        ("judge --set judging.v", {"judging.votes="}),
        ("run --match s", {"steps"}),
        ("board runs", set()),  # files, which the shell knows
    ],
)
def test_the_shell_completes_names_without_torch(line: str, words: set[str]) -> None:
    code = (
        "import sys, harness.cli\n"
        "sys.argv = ['harness']\n"
        "try:\n    harness.cli.main()\n"
        "finally:\n    print([m for m in ('torch', 'transformers', 'httpx2', 'rich') "
        "if m in sys.modules], file=sys.stderr)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={
            **os.environ,
            "_HARNESS_COMPLETE": "complete_bash",
            "COMP_WORDS": f"harness {line}",
            "COMP_CWORD": str(len(line.split())),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert set(done.stdout.split()) == words
    assert done.stderr.strip().splitlines()[-1] == "[]"
