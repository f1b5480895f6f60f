"""Rules on groups: golden examples and degenerate pools."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import pytest
from pools import (
    LOOP,
    PAIR_GATE,
    PROMPT,
    SCORE_GATE,
    compared,
    completions,
    dno,
    samples,
    scored,
)

from harness.types import Completion, Group, Score
from trainers import rules
from trainers.dno import DNO

# --- values -----------------------------------------------------------------------------------


def test_values_are_mean_hard_wins() -> None:
    group = compared([[0.51, 0.99, 0.5], [0.5, 0.4], [0.1]])
    assert rules.values(group) == pytest.approx((2.5 / 3, 0.5 / 3, 0.5 / 3, 2.5 / 3))


def test_values_prefer_preferences_to_scores() -> None:
    group = Group(
        PROMPT,
        completions(["a", "b"]),
        scores=(Score(0.1, "j"), Score(0.9, "j")),
        preferences=((0.5, 0.9), (0.1, 0.5)),
    )
    assert rules.values(group) == (1.0, 0.0)


def test_identical_candidates_count_in_win_rates() -> None:
    texts = ["best", "same", "same"]
    assert rules.values(compared([[0.9, 0.9], [0.5]], texts)) == (1.0, 0.25, 0.25)


def test_a_tie_survives_rounding() -> None:
    assert rules.values(compared([[0.1 + 0.2 + 0.2]])) == (0.5, 0.5)
    assert rules.values(compared([[0.5 + 1e-12]])) == (0.5, 0.5)


def test_a_failed_comparison_takes_the_values_of_both_sides() -> None:
    group = compared([[None, 0.9, 0.9, 0.9], [0.9, 0.9, 0.9], [0.9, 0.9], [0.9]])
    assert rules.values(group) == (None, None, 0.5, 0.25, 0.0)


@pytest.mark.parametrize("bad", [None, float("nan"), float("inf"), -float("inf")])
def test_failed_values_are_none(bad: float | None) -> None:
    assert rules.values(scored([bad, 3.0])) == (None, 3.0)
    assert rules.values(compared([[bad]])) == (None, None)


def test_an_unjudged_group_has_no_values() -> None:
    assert rules.values(Group(PROMPT, completions(["a", "b"]))) == (None, None)
    assert rules.values(Group(PROMPT, ())) == ()


def test_gold_completion() -> None:
    group = Group(PROMPT, completions(["a", "gold"], gold=1))
    assert rules.gold_completion(group) == group.completions[1]
    assert rules.gold_completion(Group(PROMPT, completions(["a"]))) is None


def test_repeated_ngrams() -> None:
    assert rules.repeated_ngrams("one two three four five six", 4) == 0
    assert rules.repeated_ngrams("too short", 4) == rules.repeated_ngrams("", 4) == 0
    assert rules.repeated_ngrams("a b a b a b", 2) == pytest.approx(3 / 5)
    assert rules.repeated_ngrams(LOOP, 4) > 0.9


# --- best against worst -----------------------------------------------------------------------


def test_best_worst() -> None:
    (pair,) = rules.best_worst(scored([3, 5, 1, 4]))
    assert (pair.chosen.sample, pair.rejected.sample) == (1, 2)
    assert (pair.chosen_value, pair.rejected_value, pair.margin) == (5, 1, 4)
    assert pair.prompt is PROMPT


def test_best_worst_of_equals_takes_the_first_samples() -> None:
    assert samples(rules.best_worst(scored([1, 5, 5, 1]))) == [(1, 0)]


def test_best_worst_passes_over_failures() -> None:
    assert samples(rules.best_worst(scored([None, 2, 5, None]))) == [(2, 1)]


def test_best_worst_of_one_text_takes_the_next_widest_pair() -> None:
    assert samples(rules.best_worst(scored([5, 0, 3], ["same", "same ", "other"]))) == [(2, 1)]


def test_best_worst_reads_a_data_sets_own_pair() -> None:
    pool = (
        Completion("p", 0, "The Danube.", source="gold"),
        Completion("p", 1, "No idea.", source="dataset"),
    )
    group = Group(PROMPT, pool, scores=(Score(1.0, "dataset"), Score(0.0, "dataset")))
    (pair,) = rules.best_worst(group)
    assert (pair.chosen, pair.rejected) == pool


# --- DNO's pairs ------------------------------------------------------------------------------


def test_dno_under_a_score_judge() -> None:
    # The gold answer (5) needs a lead of 2, the student's own (6 and 5) a lead of 1: student 1
    # beats the teacher, and gold does not beat 4.
    group = scored([5, 6, 5, 4, 3], gold=0)
    expected = [(0, 4), (1, 0), (1, 2), (1, 3), (1, 4), (2, 3), (2, 4)]
    assert samples(dno(group)) == expected


def test_dno_under_a_score_judge_needs_a_good_positive() -> None:
    assert dno(scored([4, 4.9, 0, 0], gold=0)) == []


def test_dno_drops_a_prompt_whose_listwise_judgement_failed() -> None:
    assert dno(scored([6, 0, 0, None], gold=0)) == []


def test_dno_under_a_pair_judge() -> None:
    # Hard wins: gold 3 of 4, sample 1: 4 of 4 (it beats the teacher), 2: 1 of 4, 3: 2 of 4, 4: 0.
    group = compared([[0.4, 0.8, 0.7, 0.9], [0.6, 0.6, 0.6], [0.4, 0.6], [0.6]], gold=0)
    assert rules.values(group) == (0.75, 1.0, 0.25, 0.5, 0.0)
    expected = [(0, 2), (0, 4), (1, 0), (1, 2), (1, 3), (1, 4), (3, 2), (3, 4)]
    assert samples(dno(group)) == expected


def test_dno_margin_is_kept_in_floating_point() -> None:
    # Six candidates: 3.5 of 5 wins against 2 of 5 is a lead of 0.3, in floats 0.29999999999999993.
    upper: list[list[float]] = [[1, 1, 1, 0.5, 0], [0, 1, 0, 1], [0.5, 0.5, 1], [0.5, 0.5], [0.5]]
    group = compared(upper, gold=0)
    found = rules.values(group)
    assert found[:2] == (0.7, 0.4)
    assert 0.7 - 0.4 < 0.3
    assert (0, 1) in samples(dno(group))


def test_dno_keeps_a_pool_with_one_failed_comparison() -> None:
    group = compared([[0.9, 0.9, 0.9], [None, 0.9], [0.9]], gold=0)
    assert samples(dno(group)) == [(0, 3)]


def test_a_repetitive_sample_is_a_negative_at_once() -> None:
    group = scored([5, 6, 5], texts=["The Danube.", LOOP, "The Elbe."], gold=0)
    # Sample 1 has the highest score, and no margin is asked of its opponents.
    assert samples(dno(group)) == [(0, 1), (2, 1)]


def test_a_repetitive_gold_answer_is_judged_like_any_other() -> None:
    group = scored([6, 0, 5.5], texts=[LOOP, "The Danube.", "The Elbe."], gold=0)
    assert samples(dno(group)) == [(0, 1), (2, 1)]


def test_without_the_gold_answer_students_make_pairs() -> None:
    assert samples(dno(scored([6, 4]))) == [(0, 1)]


def test_without_margins_the_better_one_still_wins() -> None:
    """The paper's ablation: gates and margins of 0; ties stay out, in both directions."""
    everything = rules.Gate(0, 0, 0, 0)
    group = scored([3, 3, 1, 0], gold=0)
    found = rules.dno_pairs(group, everything, ngram=4, repeated_share=0.3)
    assert samples(found) == [(0, 2), (0, 3), (1, 2), (1, 3), (2, 3)]


def test_the_methods_gate_is_the_papers() -> None:
    assert DNO().gate(scored([1, 2])) == SCORE_GATE
    assert DNO().gate(compared([[0.5]])) == PAIR_GATE


def test_the_gate_is_stretched_to_the_judge_s_scale() -> None:
    """The same pools, scored 0–6, 1–10 and −1..1, give the same pairs."""
    settings = DNO()
    for values in ([5, 6, 5, 4, 3], [4, 4.9, 0, 0], [6, 4, 2, 5.5]):
        expected = samples(settings.examples(scored(values, gold=0), Random(0)))
        for low, high in ((0, 6), (1, 10), (-1, 1)):
            unit = (high - low) / 6
            group = scored([low + unit * value for value in values], gold=0)
            found = settings.examples(replace(group, scale=(low, high)), Random(0))
            assert samples(found) == expected, (low, high)


# --- the others -------------------------------------------------------------------------------


def test_soft_values_are_mean_preferences_without_oneself() -> None:
    group = compared([[0.6, 0.9], [0.8]])
    assert rules.soft_values(group) == pytest.approx((0.75, (0.4 + 0.8) / 2, (0.1 + 0.2) / 2))
    assert rules.soft_values(compared([[0.6, None], [0.8]])) == (None, pytest.approx(0.6), None)
    assert rules.soft_values(scored([1, 2])) == (None, None)


def test_all_pairs_has_every_two_texts_with_the_better_one_first() -> None:
    group = compared([[0.6, 0.9, 0.6], [0.8, 0.5], [0.2]], ["a", "b", "c", "b"])
    found = rules.all_pairs(group, 0, rules.soft_values)
    assert samples(found) == [(0, 1), (0, 2), (0, 3), (1, 2), (3, 2)]
    assert all(pair.margin >= 0 for pair in found)
    assert samples(rules.all_pairs(group, 0.4, rules.soft_values)) == [(0, 2), (1, 2), (3, 2)]
    assert samples(rules.all_pairs(scored([3, 5, 4.5]), 1)) == [(1, 0), (2, 0)]


def test_the_gold_answer_always_wins() -> None:
    pool = completions(["gold", "a", "gold ", "b"], gold=0)
    found = rules.gold_wins(Group(PROMPT, pool))
    assert [(p.chosen.sample, p.rejected.sample) for p in found] == [(0, 1), (0, 3)]
    assert {(p.chosen_value, p.rejected_value) for p in found} == {(1.0, 0.0)}
    assert rules.gold_wins(Group(PROMPT, completions(["a", "b"]))) == []
    assert rules.gold_wins(Group(PROMPT, completions(["gold"], gold=0))) == []


def test_labels_are_set_by_the_pool_s_mean() -> None:
    found = rules.labelled(scored([6, 3, 3, 0, None, 3]))
    assert [(e.completion.sample, e.desirable) for e in found] == [(0, True), (3, False)]
    found = rules.labelled(compared([[0.9, 0.9], [0.9]]))
    assert [(e.completion.sample, e.desirable) for e in found] == [(0, True), (2, False)]
    noisy = rules.labelled(scored([6, 0, 5, 1], ["same", "same ", "good", "bad"]))
    assert [(e.completion.sample, e.desirable) for e in noisy] == [(2, True), (3, False)]


# --- degenerate pools -------------------------------------------------------------------------

DEGENERATE = {
    "no candidate": Group(PROMPT, ()),
    "unjudged, no gold": Group(PROMPT, completions(["a"])),
    "one candidate": scored([5], gold=0),
    "one compared": Group(PROMPT, completions(["a"]), preferences=((0.5,),)),
    "identical": scored([6, 6, 6], ["a", "a ", "a"]),
    "identical, noisy judge": scored([6, 0], ["a", "a"]),
    "identical, unjudged": Group(PROMPT, completions(["a", "a"])),
    "identical but a failure": compared(
        [[0.5, 0.9, 0.9], [0.9, 0.9], [None]], ["a", "a", "b", "c"]
    ),
    "all tied": scored([6, 6, 6]),
    "all tied, compared": compared([[0.5, 0.5], [0.5]]),
    "a cycle": compared([[0.9, 0.1], [0.9]]),
    "all failed": scored([None, None, None]),
    "all comparisons failed": compared([[None, None], [None]]),
    "one left": scored([None, 6]),
    "unjudged": Group(PROMPT, completions(["a", "gold"], gold=1)),
}


@pytest.mark.parametrize("name", DEGENERATE)
def test_degenerate_pools_give_nothing(name: str) -> None:
    group = DEGENERATE[name]
    assert rules.best_worst(group) == []
    assert dno(group) == []
    assert rules.labelled(group) == []
    assert rules.all_pairs(group, 0.1) == []


@pytest.mark.parametrize("name", DEGENERATE)
def test_degenerate_pools_give_soft_targets_ties_at_most(name: str) -> None:
    """Two texts that tie are an example to a regression: their log-ratios are to stay equal."""
    for pair in rules.all_pairs(DEGENERATE[name], 0, rules.soft_values):
        assert pair.margin == pytest.approx(0, abs=1e-9)
        assert pair.chosen.text != pair.rejected.text
        assert "tied" in name or "cycle" in name
