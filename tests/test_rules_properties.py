"""Rules on groups: what holds for every pool."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from pools import (
    LOOP,
    PROMPT,
    compared,
    completions,
    dno,
    gate,
    samples,
)

from harness.types import Group, Labelled, Score
from trainers import rules

quick = settings(max_examples=150, deadline=None)


@st.composite
def score_groups(draw: st.DrawFn) -> Group:
    texts = draw(st.lists(st.sampled_from(["a", "b", "c", "d", LOOP]), max_size=7))
    one = st.none() | st.integers(0, 6) | st.floats(0, 6)
    values = draw(st.lists(one, min_size=len(texts), max_size=len(texts)))
    gold = draw(st.none() | st.integers(0, max(0, len(texts) - 1)))
    return Group(
        PROMPT, completions(texts, gold), scores=tuple(Score(value, "judge") for value in values)
    )


@st.composite
def pair_groups(draw: st.DrawFn) -> Group:
    texts = draw(st.lists(st.sampled_from(["a", "b", "c", "d", LOOP]), min_size=1, max_size=7))
    judged = st.sampled_from([0.0, 0.2, 0.5, 0.5, 0.7, 1.0]) | st.floats(0, 1)
    one = st.none() | judged if draw(st.booleans()) else judged
    upper = [[draw(one) for _ in texts[i + 1 :]] for i in range(len(texts) - 1)]
    return compared(upper, texts, draw(st.none() | st.integers(0, len(texts) - 1)))


groups = score_groups() | pair_groups()


def permuted(group: Group, order: Sequence[int]) -> Group:
    return Group(
        group.prompt,
        tuple(group.completions[i] for i in order),
        group.scores and tuple(group.scores[i] for i in order),
        group.preferences and tuple(tuple(group.preferences[i][j] for j in order) for i in order),
    )


@quick
@given(groups)
def test_no_pair_violates_gate_or_margin(group: Group) -> None:
    numbers = gate(group)
    for pair in dno(group):
        is_gold = pair.chosen.source == "gold"
        assert pair.chosen_value >= (numbers.gold if is_gold else numbers.student) - 1e-9
        assert pair.chosen.text != LOOP or is_gold
        if pair.rejected.text != LOOP or pair.rejected.source == "gold":
            margin = numbers.gold_margin if is_gold else numbers.student_margin
            assert pair.margin >= margin - 1e-9


@quick
@given(groups)
def test_every_pair_within_gate_and_margin_is_there(group: Group) -> None:
    assume(all(c.text != LOOP for c in group.completions))
    assume(group.preferences is not None or None not in rules.values(group))
    found = set(samples(dno(group)))
    for high, low in ((h, w) for h in rules.usable(group) for w in rules.usable(group)):
        numbers = gate(group)
        least, margin = (
            (numbers.gold, numbers.gold_margin)
            if high.is_gold
            else (numbers.student, numbers.student_margin)
        )
        fits = high.value >= least and high.value - low.value >= margin
        if fits and high.completion.text != low.completion.text:
            assert (high.completion.sample, low.completion.sample) in found


@quick
@given(groups)
def test_identical_candidates_never_pair(group: Group) -> None:
    soft = rules.all_pairs(group, 0, rules.soft_values)
    for pair in dno(group) + rules.best_worst(group) + rules.gold_wins(group) + soft:
        assert pair.chosen.text != pair.rejected.text
    labels: dict[str, set[bool]] = {}
    for example in rules.labelled(group):
        labels.setdefault(example.completion.text, set()).add(example.desirable)
    assert all(len(found) == 1 for found in labels.values())


def label(example: Labelled) -> tuple[int, bool]:
    return example.completion.sample, example.desirable


def soft(group: Group) -> list[float]:
    return [pair.margin for pair in rules.all_pairs(group, 0, rules.soft_values)]


@quick
@given(groups, st.data())
def test_the_order_of_candidates_does_not_matter(group: Group, data: st.DataObject) -> None:
    order = data.draw(st.permutations(range(len(group.completions))))
    other = permuted(group, order)
    assert Counter(samples(dno(other))) == Counter(samples(dno(group)))
    assert samples(rules.best_worst(other)) == samples(rules.best_worst(group))
    assert samples(rules.gold_wins(other)) == samples(rules.gold_wins(group))
    assert sorted(map(label, rules.labelled(other))) == sorted(map(label, rules.labelled(group)))
    assert sorted(soft(other)) == pytest.approx(sorted(soft(group)))


@quick
@given(groups)
def test_failed_judgements_are_never_used(group: Group) -> None:
    failed = {
        c.sample for c, v in zip(group.completions, rules.values(group), strict=True) if v is None
    }
    if group.preferences is not None:
        rows = {i for i, row in enumerate(group.preferences) if any(p is None for p in row)}
        assert rows <= failed
    for pair in dno(group) + rules.best_worst(group) + rules.all_pairs(group, 0, rules.soft_values):
        assert not failed & {pair.chosen.sample, pair.rejected.sample}
    assert not failed & {example.completion.sample for example in rules.labelled(group)}


@quick
@given(groups)
def test_best_worst_has_the_widest_margin(group: Group) -> None:
    pairs = rules.best_worst(group)
    assert len(pairs) <= 1
    for pair in pairs:
        assert pair.margin > 0
        wider = [
            (high, low)
            for high in rules.usable(group)
            for low in rules.usable(group)
            if high.value - low.value > pair.margin and not high.same_text(low)
        ]
        assert wider == []


@quick
@given(groups)
def test_values_of_a_pair_judge_are_win_rates(group: Group) -> None:
    found = rules.values(group)
    assert len(found) == len(group.completions)
    if group.preferences is not None:
        assert all(value is None or 0 <= value <= 1 for value in found)
        if found and None not in found and len(found) > 1:
            total = sum(value for value in found if value is not None)
            assert total == pytest.approx(len(found) / 2)
