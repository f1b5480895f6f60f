"""The documentation as tests read it: its pages, and the code blocks of a page."""

from __future__ import annotations

import re
import shlex
import textwrap
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
README = ROOT / "README.md"
DOCS = ROOT / "docs"
PAGES = [
    README,
    ROOT / "CONTRIBUTING.md",
    ROOT / "CHANGELOG.md",
    ROOT / "leaderboards" / "README.md",
    *sorted(DOCS.rglob("*.md")),
]

FENCE = re.compile(
    r'^(?P<indent> *)```(?P<language>\w*)(?: title="(?P<title>[^"]+)")?\n'
    r"(?P<text>.*?)^(?P=indent)```$",
    re.M | re.S,
)
MARK = re.compile(r"<!-- (planned|not run|refused)(?:: (.+?))? -->\n *\Z")


@dataclass(frozen=True)
class Block:
    """A code block. `title` is the file that it is to be saved as; `mark` says what becomes of its
    commands in place of running them, and `reason` why."""

    language: str
    title: str
    text: str
    mark: str
    reason: str

    def commands(self) -> list[list[str]]:
        """The commands of a shell's block, a list of words each."""
        if self.language != "sh":
            return []
        lines = self.text.replace("\\\n", " ").splitlines()
        return [words for line in lines if (words := shlex.split(line, comments=True))]


def name(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def blocks(page: Path) -> list[Block]:
    text = page.read_text("utf-8")
    found = []
    for fence in FENCE.finditer(text):
        mark = MARK.search(text, 0, fence.start("indent"))
        says = (mark[1], mark[2] or "") if mark else ("", "")
        content = textwrap.dedent(fence["text"])
        found.append(Block(fence["language"], fence["title"] or "", content, *says))
    return found


def prose(page: Path) -> str:
    """A page without its code blocks."""
    return FENCE.sub("", page.read_text("utf-8"))
