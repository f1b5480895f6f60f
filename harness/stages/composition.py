"""What an iteration's data is made of: DNO's Table 2, and the figures that show what goes wrong."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from harness.judges.adapters import hard_win
from harness.records import Composition, Spread
from harness.types import Completion, Demo, Example, Group, Labelled, Pair

FAILED = "judgement failed"
"""The one reason for a prompt without an example that another attempt may do away with."""


def kind_of(example: Example) -> str:
    return type(example).__name__.lower()


def label(example: Example) -> str:
    """A pair's type by who wrote its two sides, else kind and source."""
    match example:
        case Pair():
            if "dataset" in (example.chosen.source, example.rejected.source):
                return "dataset"
            return f"{_who(example.chosen)}>{_who(example.rejected)}"
        case Demo():
            return f"demo:{_who(example.completion)}"
        case Labelled():
            return (
                f"{'desirable' if example.desirable else 'undesirable'}:{_who(example.completion)}"
            )


def why_nothing(group: Group) -> str:
    """Why a prompt gave no example, as far as its judgements tell."""
    judged = [
        (completion.text.strip(), value)
        for completion, value in zip(group.completions, _values(group), strict=True)
        if value is not None
    ]
    if not group.completions:
        return "no candidate"
    if len(group.completions) == 1:
        return "one candidate"
    if len({completion.text.strip() for completion in group.completions}) == 1:
        return "identical candidates"
    if group.scores is not None and len(judged) < len(group.completions):
        return FAILED
    if group.scores is not None and len({value for _, value in judged}) == 1:
        return "all tied"
    return "no pair passed the method's rule"


def composition(
    groups: Sequence[Group],
    made: Sequence[Example],
    kept: Sequence[Example],
    replayed: Sequence[Example],
    unused: Mapping[str, int],
    judge: str,
    failures: Mapping[str, int],
) -> Composition:
    students = [
        (group, index)
        for group in groups
        for index, completion in enumerate(group.completions)
        if completion.source in ("initial", "policy")
    ]
    texts = [group.completions[index] for group, index in students]
    scored = [(c, v) for g in groups for c, v in zip(g.completions, _values(g), strict=True)]
    student_values = [v for c, v in scored if c.source in ("initial", "policy") and v is not None]
    teacher_values = [v for c, v in scored if c.source == "gold" and v is not None]
    compared = [p for group in groups for p in _off_diagonal(group)]
    pairs = [example for example in kept if isinstance(example, Pair)]
    return Composition(
        inputs=len(groups),
        student_length=_spread([len(c.text) for c in texts]),
        best_student_vs_teacher=_mean(_best_against_teacher(groups)),
        student_wins=_mean(_student_wins(groups)),
        student_score=_mean(student_values),
        teacher_score=_mean(teacher_values),
        pairs=_counts(made),
        trained=_counts(kept),
        replayed=len(replayed),
        unused_prompts=dict(sorted(unused.items())),
        judge=judge,
        judge_failures=dict(sorted(failures.items())),
        tie_rate=_mean([float(hard_win(p) == 0.5) for p in compared]),
        length_score_correlation=_correlation(
            [(len(c.text), v) for c, v in scored if v is not None and c.source != "gold"]
        ),
        chosen_length=_spread([len(pair.chosen.text) for pair in pairs]),
        rejected_length=_spread([len(pair.rejected.text) for pair in pairs]),
        sampled_limit_share=_mean([float(c.finish_reason == "length") for c in texts]),
    )


def _who(completion: Completion) -> str:
    return {"gold": "teacher", "dataset": "dataset"}.get(completion.source, "student")


def _counts(examples: Iterable[Example]) -> dict[str, int]:
    return dict(sorted(Counter(label(example) for example in examples).items()))


def _values(group: Group) -> list[float | None]:
    if group.scores is None:
        return [None] * len(group.completions)
    return [score.value for score in group.scores]


def _off_diagonal(group: Group) -> list[float]:
    if group.preferences is None:
        return []
    return [p for i, row in enumerate(group.preferences) for p in row[i + 1 :] if p is not None]


def _best_against_teacher(groups: Sequence[Group]) -> list[float]:
    """The hard win of each pool's best student against the teacher."""
    wins = []
    for group in groups:
        values = _values(group)
        gold = [i for i, c in enumerate(group.completions) if c.source == "gold"]
        ours = [
            (value, i)
            for i, (c, value) in enumerate(zip(group.completions, values, strict=True))
            if c.source in ("initial", "policy") and value is not None
        ]
        if not gold or not ours:
            continue
        best, teacher = max(ours)[1], gold[0]
        if group.preferences is not None:
            p = group.preferences[best][teacher]
            if p is not None:
                wins.append(hard_win(p))
        elif values[teacher] is not None:
            difference = max(ours)[0] - (values[teacher] or 0.0)
            wins.append(0.5 if difference == 0 else float(difference > 0))
    return wins


def _student_wins(groups: Sequence[Group]) -> list[float]:
    """For each prompt, how many of the students beat the teacher."""
    wins = []
    for group in groups:
        values = _values(group)
        gold = [i for i, c in enumerate(group.completions) if c.source == "gold"]
        if not gold or group.scores is None:
            continue
        teacher, count = gold[0], 0.0
        for i, completion in enumerate(group.completions):
            if completion.source not in ("initial", "policy"):
                continue
            if group.preferences is not None:
                p = group.preferences[i][teacher]
                count += float(p is not None and hard_win(p) == 1)
            else:
                ours, theirs = values[i], values[teacher]
                count += float(ours is not None and theirs is not None and ours > theirs)
        wins.append(count)
    return wins


def _mean(values: Sequence[float]) -> float | None:
    return float(np.mean(values)) if values else None


def _spread(values: Sequence[float]) -> Spread | None:
    if not values:
        return None
    sd = float(np.std(values, ddof=1)) if len(values) > 1 else 0.0
    return Spread(float(np.mean(values)), sd)


def _correlation(points: Sequence[tuple[float, float]]) -> float | None:
    """Pearson's; None where either side does not vary."""
    if len(points) < 3:
        return None
    x, y = np.array(points, dtype=np.float64).T
    if x.std() == 0 or y.std() == 0:
        return None
    return float(np.corrcoef(x, y)[0, 1])
