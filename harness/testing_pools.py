"""Pools of candidates as the harness hands them to a method: what `harness.testing` tries."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations
from random import Random

from harness.codec import Json
from harness.stages.common import pool
from harness.stages.judging import judged
from harness.types import Completion, Group, Message, Plan, Prompt

GOLD = "The Danube rises in the Black Forest\nand reaches the Black Sea in Romania."
PROMPT = Prompt("p", (Message("user", "Name a river."),), gold=GOLD, source="mini")
TEXTS = ("The Danube.", "No idea.", "The Elbe.", "and so on " * 20)
RANDOM = 40
"""Pools of random answers and judgements, with each kind of judge."""

Said = Callable[..., float | None]
"""What a judge says from 0 to 1, None where it fails: of candidate i, or of i against j."""


@dataclass(frozen=True)
class Case:
    """A judged pool. `worths` are its candidates' where the judge is sure of their order."""

    what: str
    group: Group
    worths: tuple[float, ...] = ()

    def __str__(self) -> str:
        return f"where the pool has {self.what}"

    @property
    def ordered(self) -> bool:
        return bool(self.worths) and self.group.scores is not None

    def worth(self, answer: Completion) -> float:
        return self.worths[self.group.completions.index(answer)]

    @property
    def failed(self) -> set[Completion]:
        """Candidates that are known by a failed judgement only."""
        scored = zip(self.group.completions, self.group.scores or (), strict=False)
        return {answer for answer, score in scored if score.value is None}


def cases(plan: Plan) -> dict[str, list[Case]]:
    """The pools of a plan, by the kind of judge; the same ones every time."""
    if plan.judge == "none":
        return {"no judge": _pools(plan, [None])}
    scored = [(0.0, 6.0), (1.0, 10.0), (-1.0, 1.0)]
    if plan.judged_by == "self":
        return {"its own scores": _pools(plan, scored[:1])}
    return {"a judge that compares": _pools(plan, [None]), "one that scores": _pools(plan, scored)}


def _pools(plan: Plan, scales: Sequence[tuple[float, float] | None]) -> list[Case]:
    def case(what: str, prompt: Prompt, samples: Sequence[str], said: Said, scale: int = 0) -> Case:
        answers = [Completion(prompt.id, i, text) for i, text in enumerate(samples)]
        group = Group(prompt, pool(prompt, answers, plan))
        return Case(what, _judged(group, plan, scales[scale], said))

    def clear(what: str, best_first: bool) -> Case:
        """The samples in order, the gold answer (the pool's last) above or below them all."""
        size = plan.samples + plan.gold
        worths = [1 - i / max(1, size) for i in range(size)]
        if plan.gold and best_first:
            worths = [*worths[1:], worths[0]]
        made = case(what, PROMPT, rivers, _sure(worths))
        return Case(what, made.group, tuple(worths))

    rivers = [f"River {i}." for i in range(plan.samples)]
    order = [1 - i / (plan.samples + 1) for i in range(plan.samples + 1)]
    bare = Prompt("p", PROMPT.messages, source="mini")
    found = [
        clear("a clear order and the gold answer at its head", best_first=True),
        clear("a clear order and the gold answer at its end", best_first=False),
        case("ties only", PROMPT, rivers, _sure([0.5] * len(order))),
        case("one text only", bare, ["The Danube."] * plan.samples, _sure(order)),
        case("one candidate only", bare, rivers[:1], _sure(order)),
        case("no gold answer", bare, rivers, _sure(order)),
        case("failed judgements only", PROMPT, rivers, lambda *_: None),
        case("one failed judgement", PROMPT, rivers, _sure([None, *order[1:]])),
    ]
    if plan.gold and plan.sampler != "previous":
        own = Prompt("p", PROMPT.messages, gold=GOLD, rejected="No idea.", source="pairs")
        found.append(case("the data set's own pair", own, (), _sure(order)))
    for seed in range(RANDOM):
        rng = Random(seed)
        texts = rng.choices(TEXTS, k=plan.samples)
        prompt = rng.choice((PROMPT, bare))
        said = _noise(rng, failing=seed % 2 == 0)
        found.append(case(f"random judgements ({seed})", prompt, texts, said, seed % len(scales)))
    return found


def _sure(worths: Sequence[float | None]) -> Said:
    def said(i: int, j: int | None = None) -> float | None:
        mine, its = worths[i], worths[i if j is None else j]
        if mine is None or its is None or j is None:
            return mine if j is None else None
        return 0.5 if mine == its else 0.9 if mine > its else 0.1

    return said


def _noise(rng: Random, failing: bool) -> Said:
    choices = [0.0, 0.3, 0.5, 0.7, 1.0, *([None] * 3 if failing else [])]
    return lambda *_: rng.choice(choices)


def _judged(group: Group, plan: Plan, scale: tuple[float, float] | None, said: Said) -> Group:
    """The group by a judge with a scale, or by one that compares."""
    if plan.judge == "none":
        return group
    name, size = group.prompt.id, len(group.completions)
    rows: dict[str, dict[str, Json]] = {}
    if scale is None:
        for i, j in combinations(range(size), 2):
            p = said(i, j)
            rows[f"{name}/{i}-{j}"] = {"p": p, "error": None if p is not None else "timeout"}
    else:
        low, high = scale
        for i in range(size):
            share = said(i)
            value = None if share is None else low + share * (high - low)
            error = None if value is not None else "timeout"
            rows[f"{name}/{i}"] = {"value": value, "error": error}
    (found,) = judged([group], plan, "judge", scale, rows)
    return found
