"""What an iteration's data is said to be made of."""

from __future__ import annotations

import pytest

from harness.judges.adapters import matrix, pool_scores
from harness.stages.composition import composition, label, why_nothing
from harness.types import Completion, Group, Message, Pair, Prompt, Score

PROMPT = Prompt("p", (Message("user", "Name a river."),), gold="The Danube.")


def students(*texts: str) -> tuple[Completion, ...]:
    return tuple(Completion("p", i, text) for i, text in enumerate(texts))


GOLD = Completion("p", 0, "The Danube.", source="gold")


def compared(completions: tuple[Completion, ...], *verdicts: float | None) -> Group:
    """`verdicts` are those on (0, 1), (0, 2), …, (1, 2), …"""
    size = len(completions)
    places = [(i, j) for i in range(size) for j in range(i + 1, size)]
    preferences = matrix(size, dict(zip(places, verdicts, strict=True)))
    return Group(PROMPT, completions, pool_scores(preferences, "judge"), preferences)


def scored(completions: tuple[Completion, ...], *values: float | None) -> Group:
    return Group(PROMPT, completions, tuple(Score(value, "judge") for value in values))


@pytest.mark.parametrize(
    ("group", "why"),
    [
        (Group(PROMPT, ()), "no candidate"),
        (Group(PROMPT, students("a")), "one candidate"),
        (scored(students("a", "a "), 6, 0), "identical candidates"),
        (scored(students("a", "b"), 6, None), "judgement failed"),
        (compared(students("a", "b", "c"), None, 0.9, 0.9), "judgement failed"),
        (scored(students("a", "b"), 3, 3), "all tied"),
        (compared(students("a", "b", "c"), 0.9, 0.1, 0.9), "all tied"),  # a cycle
        (scored(students("a", "b"), 1, 2), "no pair passed the method's rule"),
    ],
)
def test_a_prompt_without_examples_has_a_reason(group: Group, why: str) -> None:
    assert why_nothing(group) == why


def test_the_table_of_one_pool_by_hand() -> None:
    # the first student loses to the teacher and beats the second, who loses to both
    group = compared((*students("The Elbe", "No"), GOLD), 0.8, 0.3, 0.1)
    first, second, gold = group.completions
    made = [Pair(PROMPT, gold, second, 1.0, 0.0), Pair(PROMPT, first, second, 0.5, 0.0)]
    table = composition([group], made, made[:1], [], {"all tied": 2}, "judge", {"timeout": 1})
    assert table.inputs == 1
    assert table.student_length is not None
    assert table.student_length.mean == 5
    assert (table.best_student_vs_teacher, table.student_wins) == (0.0, 0.0)
    assert (table.student_score, table.teacher_score) == (0.25, 1.0)
    assert table.pairs == {"student>student": 1, "teacher>student": 1}
    assert table.trained == {"teacher>student": 1}
    assert (table.unused_prompts, table.judge_failures) == ({"all tied": 2}, {"timeout": 1})
    assert table.tie_rate == 0
    assert table.chosen_length is not None
    assert table.chosen_length.mean == len(GOLD.text)


def test_a_student_that_beats_the_teacher_is_counted() -> None:
    group = scored((*students("The Elbe", "No"), GOLD), 6.0, 2.0, 5.0)
    table = composition([group], [], [], [], {}, "judge", {})
    assert (table.best_student_vs_teacher, table.student_wins) == (1.0, 1.0)
    assert label(Pair(PROMPT, group.completions[0], GOLD, 6, 5)) == "student>teacher"
