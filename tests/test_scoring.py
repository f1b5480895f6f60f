"""Win rates against hand numbers, and intervals that cover what they claim to."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.scoring.winrate import by_construction, lengths, win_rate
from harness.types import Completion, Verdict

quick = settings(max_examples=40, deadline=None)
PROBABILITY = st.none() | st.sampled_from([0.0, 0.5, 1.0]) | st.floats(0, 1)


def verdicts(ps: list[float | None], error: str | None = None) -> list[Verdict]:
    return [Verdict(f"m{i:03}", p, "j", None if p is not None else error) for i, p in enumerate(ps)]


def test_hand_numbers() -> None:
    rate = win_rate(verdicts([1.0, 0.8, 0.5, 0.1]), seed=0)
    assert rate.value == pytest.approx(60.0)
    # deviations 0.4, 0.2, −0.1, −0.5: 0.46/3 is the variance, over four prompts
    assert rate.se == pytest.approx(100 * math.sqrt(0.46 / 3 / 4))
    assert (rate.n, rate.n_wins, rate.n_draws, rate.n_losses, rate.n_failed) == (4, 2, 1, 1, 0)
    assert rate.ci95 is not None
    assert 10 <= rate.ci95[0] < 60 < rate.ci95[1] <= 100
    assert rate.by_construction is None


def test_failures_are_counted_by_reason_and_are_in_no_other_number() -> None:
    judged = verdicts([0.9, 0.2, 0.6])
    failed = [
        Verdict("x1", None, "j", "timeout"),
        Verdict("x0", None, "j", "no digit"),
        Verdict("a0", None, "j", "timeout"),
        Verdict("x2", None, "j"),
    ]
    rate = win_rate([*failed, *judged], seed=3)
    assert rate.n_failed == 4
    assert list(rate.failures.items()) == [("no digit", 1), ("no reason given", 1), ("timeout", 2)]
    alone = win_rate(judged, seed=3)
    assert (rate.value, rate.se, rate.ci95, rate.n) == (alone.value, alone.se, alone.ci95, 3)


def test_a_tie_to_within_rounding_is_a_draw() -> None:
    rate = win_rate(verdicts([0.5, 0.5 + 1e-12, 0.5 - 1e-12, 0.5 + 1e-6]), seed=0)
    assert (rate.n_draws, rate.n_wins, rate.n_losses) == (3, 1, 0)


def test_one_verdict_has_a_value_and_no_interval() -> None:
    rate = win_rate(verdicts([0.25]), seed=0)
    assert (rate.value, rate.se, rate.ci95, rate.n) == (25.0, None, None, 1)


@pytest.mark.parametrize("ps", [[], [None, None]])
def test_none_judged_is_no_value_at_all(ps: list[float | None]) -> None:
    rate = win_rate(verdicts(ps, "down"), seed=0)
    assert (rate.value, rate.se, rate.ci95, rate.n, rate.n_failed) == (None, None, None, 0, len(ps))


@quick
@given(st.lists(PROBABILITY, max_size=12), st.randoms(use_true_random=False))
def test_bounds_counts_and_order(ps: list[float | None], random: object) -> None:
    given_order = verdicts(ps, "down")
    shuffled = given_order.copy()
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    rate = win_rate(given_order, seed=1)
    assert win_rate(shuffled, seed=1) == rate
    assert rate.n + rate.n_failed == len(ps)
    assert rate.n_wins + rate.n_losses + rate.n_draws == rate.n
    assert sum(rate.failures.values()) == rate.n_failed
    if rate.value is not None:
        assert 0 <= rate.value <= 100
    if rate.ci95 is not None and rate.se is not None:
        assert 0 <= rate.ci95[0] <= rate.ci95[1] <= 100 + 1e-9
        assert rate.se >= 0


@quick
@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_swapping_the_sides_mirrors_the_rate(ps: list[float]) -> None:
    ours = win_rate(verdicts(list(ps)), seed=1)
    theirs = win_rate(verdicts([1 - p for p in ps]), seed=1)
    assert ours.value == pytest.approx(100 - theirs.value)
    assert (ours.n_wins, ours.n_losses) == (theirs.n_losses, theirs.n_wins)


def test_the_interval_is_the_seeds() -> None:
    some = verdicts([p / 20 for p in range(20)])
    assert win_rate(some, seed=1) == win_rate(some, seed=1)
    assert win_rate(some, seed=1).ci95 != win_rate(some, seed=2).ci95
    assert win_rate(some, seed=1).se == win_rate(some, seed=2).se


@pytest.mark.parametrize(("a", "b"), [(0.6, 0.4), (4.0, 6.0), (0.4, 0.4)])
def test_the_interval_covers_the_truth_nineteen_times_in_twenty(a: float, b: float) -> None:
    """300 simulated benchmarks of 64 prompts whose p are Beta(a, b): the truth is a/(a+b)."""
    stream = np.random.default_rng(20240404)
    covered, widths, errors = 0, [], []
    for _ in range(300):
        rate = win_rate(verdicts(stream.beta(a, b, size=64).tolist()), seed=0)
        assert rate.ci95 is not None
        assert rate.se is not None
        covered += rate.ci95[0] <= 100 * a / (a + b) <= rate.ci95[1]
        widths.append(rate.ci95[1] - rate.ci95[0])
        errors.append(rate.se)
    assert 91 <= covered / 3 <= 98
    # and the two ways of saying it agree: an interval is about 2 · 1.96 standard errors wide
    assert np.mean(widths) == pytest.approx(2 * 1.96 * np.mean(errors), rel=0.05)


def test_by_construction_says_so() -> None:
    rate = by_construction(7, "iteration 0 against itself")
    assert (rate.value, rate.n, rate.n_draws, rate.n_wins) == (50.0, 7, 7, 0)
    assert rate.by_construction == "iteration 0 against itself"


def test_lengths_count_characters() -> None:
    texts = ["", "ab", "abcd", "日本語です"]
    outputs = [
        Completion(str(i), 0, text, finish_reason="length" if i == 2 else "stop")
        for i, text in enumerate(texts)
    ]
    measured = lengths(outputs)
    assert (measured.mean, measured.median, measured.limit_share) == (2.75, 3.0, 0.25)
    assert measured.sd == pytest.approx(np.std([0, 2, 4, 5], ddof=1))
    assert measured.p95 == pytest.approx(4.85)
    assert lengths(outputs[:1]).sd == 0.0
    with pytest.raises(ValueError, match="no outputs"):
        lengths([])
