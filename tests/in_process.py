"""The command in this process, and the files that it is given."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

METHOD = '''
from dataclasses import dataclass
from harness.types import Hyper, Plan
from trainers import rules

@dataclass(frozen=True)
class Mine:
    """A method of my own."""
    margin: float = 0.25
    samples: int = 2
    name = "mine"
    paper = "mine, 2025"
    defaults = Hyper(epochs=3)

    def plan(self, iteration, iterations):
        return Plan(samples=self.samples, sampler="previous", gold=False, judge="compare")

    def examples(self, group, rng):
        return rules.best_worst(group)

    def loss(self, policy, references, batch):
        raise NotImplementedError
'''

JUDGE = '''
class Loud:
    """Prefers exclamation marks."""
    identity = "loud-1"
    reference_based = False

    def compare(self, matches):
        from harness.types import Verdict
        for m in matches:
            a, b = m.a.text.count("!") + 1, m.b.text.count("!") + 1
            yield Verdict(m.id, a / (a + b), self.identity)
'''


@dataclass(frozen=True)
class Told:
    """How a command ended and what it said."""

    code: object
    out: str
    err: str

    @property
    def json(self) -> Any:
        assert (self.code, self.err) == (0, ""), self.err
        return json.loads(self.out)


Harness = Callable[..., Told]


def disk(folder: Path) -> dict[str, bytes | None]:
    """All that lies in a folder; the bytecode of a user's own file is Python's business."""
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None
        for path in folder.rglob("*")
        if "__pycache__" not in path.parts
    }


def line(*arguments: object, method: str = "dno") -> list[object]:
    return ["run", "--method", method, "--preset", "tiny", "--iters", 2, *arguments]


def rows(count: int) -> list[dict[str, Any]]:
    return [{"id": f"p{i}", "prompt": f"Say {i}.", "gold": f"It is {i}."} for i in range(count)]


def jsonl(path: str, *made: Any) -> str:
    Path(path).write_text("".join(json.dumps(row) + "\n" for row in made), "utf-8")
    return path
