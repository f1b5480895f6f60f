"""Who may import whom, what starts light, and that no method is anybody's special case."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import entry_points
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parent.parent
ROOMS = ("harness", "trainers", "leaderboards", "reports")
SOURCES = [file for room in ROOMS for file in sorted((ROOT / room).rglob("*.py"))]
BUILT_IN = {
    entry.name for entry in entry_points(group="harness.methods") if "trainers" in entry.value
}


class Import(NamedTuple):
    """`module` is as deep as the source says: `from harness import types` is `harness.types`."""

    file: str
    line: int
    module: str
    typing_only: bool

    def within(self, *names: str) -> bool:
        return any(self.module == name or self.module.startswith(f"{name}.") for name in names)

    @property
    def standard(self) -> bool:
        return self.module.partition(".")[0] in sys.stdlib_module_names

    @property
    def ours(self) -> bool:
        return self.within(*ROOMS)


def imports_of(file: Path) -> Iterator[Import]:
    tree = ast.parse(file.read_text("utf-8"), str(file))
    guarded = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for statement in node.body
        for inner in ast.walk(statement)
    }
    where = file.relative_to(ROOT).as_posix()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            modules = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{where}:{node.lineno}: write imports in full"
            modules = [_deepest(str(node.module), alias.name) for alias in node.names]
        else:
            continue
        for module in modules:
            yield Import(where, node.lineno, module, id(node) in guarded)


def _deepest(module: str, name: str) -> str:
    inside = ROOT.joinpath(*module.split("."), name)
    is_module = module.partition(".")[0] in ROOMS and (
        inside.is_dir() or inside.with_suffix(".py").is_file()
    )
    return f"{module}.{name}" if is_module else module


IMPORTS = [found for file in SOURCES for found in imports_of(file)]


def of(*places: str) -> list[Import]:
    """The imports of rooms (`trainers/`) or files (`harness/plan.py`)."""
    found = [i for i in IMPORTS if i.file.startswith(places)]
    assert found, places
    return found


def said(imports: list[Import]) -> list[str]:
    return [f"{i.file}:{i.line} imports {i.module}" for i in imports]


def test_the_types_need_nothing_and_torch_for_the_checker_only() -> None:
    allowed = [
        i
        for i in of("harness/types/")
        if i.standard or i.within("harness.types") or (i.typing_only and i.within("torch"))
    ]
    assert said([i for i in of("harness/types/") if i not in allowed]) == []
    assert any(i.within("torch") for i in allowed)


ALLOWED = {
    "harness/rubric.py": (),
    "harness/errors.py": (),
    "trainers/": ("harness.types", "harness.rubric", "trainers"),
    "leaderboards/": (
        *("harness.types", "harness.records", "harness.scoring", "harness.errors", "harness.codec"),
        "harness.text",
        "leaderboards",
    ),
    "reports/": (
        *("harness.types", "harness.records", "harness.errors", "harness.config", "harness.codec"),
        *("harness.scoring", "harness.text", "leaderboards", "reports"),
    ),
    # whoever judges or scores knows the types, and no run, stage or engine
    "harness/judges/": (
        *("harness.types", "harness.rubric", "harness.judges", "harness.client", "harness.errors"),
    ),
    "harness/client/": (
        *("harness.types", "harness.errors", "harness.codec", "harness.places", "harness.text"),
        "harness.client",
    ),
    "harness/scoring/": ("harness.types", "harness.judges.adapters", "harness.scoring"),
}


@pytest.mark.parametrize("place", ALLOWED)
def test_a_room_imports_of_ours_only_what_it_may(place: str) -> None:
    files = [i for i in IMPORTS if i.file.startswith(place)]
    wrong = [i for i in files if i.ours and not i.within(*ALLOWED[place])]
    checker = [i for i in wrong if place == "leaderboards/" and i.typing_only]
    assert said([i for i in wrong if i not in checker or not i.within("harness.config")]) == []


def test_methods_need_torch_and_numpy_only() -> None:
    other = [i for i in of("trainers/") if not (i.ours or i.standard or i.within("torch", "numpy"))]
    assert said(other) == []


def test_only_the_command_knows_boards_and_reports_and_nobody_knows_a_method() -> None:
    boards = [i for i in of("harness/") if i.within("leaderboards", "reports")]
    assert {i.file for i in boards if not i.file.startswith("harness/commands/")} == {
        "harness/app.py",
        "harness/boards.py",
    }
    assert said([i for i in of("harness/") if i.within("trainers")]) == []
    assert said([i for i in of("leaderboards/") if i.within("reports", "trainers")]) == []
    above = [i for i in of("harness/") if i.within("harness.app", "harness.cli")]
    top = ("harness/cli.py", "harness/commands/", "harness/several.py")
    outside = [i for i in above if not i.file.startswith(top)]
    assert said(outside) == []


# --- no method's name is known to the harness -------------------------------------------------


def strings_of(file: Path) -> Iterator[tuple[int, str]]:
    """The string literals of a file, f-strings' parts too, without docstrings."""
    tree = ast.parse(file.read_text("utf-8"))
    bare = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in bare:
            yield node.lineno, node.value


@pytest.mark.parametrize("room", ["harness", "leaderboards", "reports"])
def test_no_branch_on_a_methods_name(room: str) -> None:
    """No literal *is* a method's name; in the harness none even mentions one, or its class."""
    classes = {entry.value.partition(":")[2] for entry in entry_points(group="harness.methods")}
    # a report may say DNO, which is a paper too
    names = sorted(BUILT_IN | classes if room == "harness" else BUILT_IN)
    mention = re.compile(rf"(?<![\w-])({'|'.join(names)})(?![\w-])")
    assert len(BUILT_IN) >= 5
    for file in sorted((ROOT / room).rglob("*.py")):
        for line, text in strings_of(file):
            known = mention.fullmatch(text) or (room == "harness" and mention.search(text))
            assert not known, f"{file.relative_to(ROOT)}:{line}: {text!r}"


def test_every_method_is_one_file_with_one_class() -> None:
    for entry in entry_points(group="harness.methods"):
        if entry.name in BUILT_IN:
            module, _, name = entry.value.partition(":")
            tree = ast.parse(
                ROOT.joinpath(*module.split(".")).with_suffix(".py").read_text("utf-8")
            )
            assert [node.name for node in tree.body if isinstance(node, ast.ClassDef)] == [name]


# --- light starts -----------------------------------------------------------------------------

HEAVY = (
    "httpx2",
    "openai",
    "torch",
    "transformers",
    "pandas",
    "matplotlib",
    "numpy",
    "pyarrow",
    "pydantic",
    "rich",
)


def test_help_loads_nothing_heavy() -> None:
    code = (
        "import sys, harness.cli\n"
        "sys.argv = ['harness', '--help']\n"
        "try:\n    harness.cli.main()\n"
        f"finally:\n    print([m for m in {HEAVY} if m in sys.modules], file=sys.stderr)\n"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert told.returncode == 0, told.stderr
    assert "run" in told.stdout
    loaded = ast.literal_eval(told.stderr.strip().splitlines()[-1])
    assert loaded == [], loaded


def test_no_module_does_work_at_import() -> None:
    """At a file's top level there are definitions, constants and guards; no bare call (but the
    command line's, which hangs one group of commands into another)."""
    for file in SOURCES:
        if file.name == "cli.py":
            continue
        for node in ast.parse(file.read_text("utf-8")).body:
            if isinstance(node, ast.Expr) and not isinstance(node.value, ast.Constant):
                pytest.fail(f"{file.relative_to(ROOT)}:{node.lineno}: {ast.unparse(node)}")
            assert not isinstance(node, ast.For | ast.While | ast.With), f"{file}:{node.lineno}"
