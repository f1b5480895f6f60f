"""Length control: AlpacaEval's archive, an optimum that is one, and what may not vary."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from harness.scoring import alpaca
from harness.scoring.bootstrap import holm, paired_difference, resamples
from harness.scoring.glm import fit, sigmoid
from harness.scoring.length_control import length_control
from harness.scoring.summary import summarise
from harness.scoring.winrate import rate
from harness.types import Judgement, LengthControl

ROOT = Path(__file__).resolve().parent.parent
ARCHIVE = ROOT.parent / "shared" / "alpaca_eval"
needs_archive = pytest.mark.skipif(
    not (ARCHIVE / "annotations.parquet").exists(),
    reason=f"needs AlpacaEval's stored judgements (CC BY-NC, not part of this) at {ARCHIVE}",
)

probability = st.floats(0, 1)
chars = st.integers(0, 10_000)
rows = st.lists(st.tuples(probability, chars, chars), min_size=1, max_size=40)


def judgements(given_rows: list[tuple[float, int, int]]) -> list[Judgement]:
    return [Judgement(f"task {i}", p, None, a, b) for i, (p, a, b) in enumerate(given_rows)]


def measured(told: LengthControl | None) -> LengthControl:
    assert told is not None
    return told


# --- against the archive ----------------------------------------------------------------------


@needs_archive
def test_every_judged_model_agrees_with_its_published_figures() -> None:
    """Raw to 1e-9 with equal counts, LC from published weights to 1e-5, refits, default C, missing
    rows: the benchmark prints the table and fails beyond its bounds."""
    done = subprocess.run(
        [sys.executable, ROOT / "benchmarks" / "lc_parity.py", ARCHIVE],
        env={**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("805") >= 36
    assert done.stdout.splitlines()[-1] == "all within bounds"


def archived(model: str) -> list[Judgement]:
    import pandas as pd

    texts = pd.read_parquet(ARCHIVE / "instructions.parquet").set_index("idx").instruction
    found = pd.read_parquet(ARCHIVE / "annotations.parquet", filters=[("model", "==", model)])
    return [
        Judgement(texts[r.idx], r.preference - 1, None, int(r.len_model), int(r.len_baseline))
        for r in found.itertuples()
    ]


@needs_archive
def test_shuffled_rows_change_nothing() -> None:
    """AlpacaEval's own function moves claude-2.1 from 25.3 to about 31 on shuffled rows."""
    ordered = archived("claude-2.1")
    shuffled = ordered.copy()
    random.Random(1).shuffle(shuffled)
    a, b = (measured(length_control(js, 0, is_alpaca=True)) for js in (ordered, shuffled))
    assert a == b
    assert a.kind == "LC"
    assert a.value == pytest.approx(25.203, abs=5e-4)
    assert a.ci95 is not None
    assert a.ci95[0] < a.value < a.ci95[1]
    # the spread of the predictions is not the error of the estimate, which is about twice that
    assert a.spread is not None
    assert (a.ci95[1] - a.ci95[0]) / 3.92 > 1.8 * a.spread


@needs_archive
def test_derived_numbers_are_what_the_archive_gives() -> None:
    import pandas as pd

    found = pd.read_parquet(ARCHIVE / "instructions.parquet")
    table = alpaca.difficulty()
    assert len(table) == len(found) == 805
    for row in found.itertuples():
        assert table[alpaca.instruction_key(row.instruction)] == row.instruction_difficulty


# --- the fit ----------------------------------------------------------------------------------


@settings(deadline=None, max_examples=60)
@given(data=st.data(), n=st.integers(1, 30), k=st.sampled_from([2, 3]), c=st.floats(0.01, 100))
def test_the_fit_meets_the_optimality_conditions(
    data: st.DataObject, n: int, k: int, c: float
) -> None:
    """The gradient of the smooth part is −sign(β) where β ≠ 0 and in [−1, 1] where it is 0: for a
    convex objective that is the optimum, separable and constant labels included."""
    values = st.floats(-3, 3, allow_subnormal=False)
    x = data.draw(arrays(np.float64, (1, k, n), elements=values))
    y = data.draw(arrays(np.float64, n, elements=probability))
    weights = data.draw(arrays(np.float64, (1, n), elements=st.integers(0, 5).map(float)))
    labelled = (x @ (weights * y)[..., None])[..., 0]
    beta = fit(x, weights, labelled, c, np.zeros(k))[0]
    residual = weights[0] * (sigmoid(beta @ x[0]) - y)
    gradient = c * (x[0] @ residual)
    scale = 1 + c * np.abs(x[0]).sum() * 5
    for b, slope in zip(beta, gradient, strict=True):
        if abs(b) > 1e-6:
            assert slope == pytest.approx(-np.sign(b), abs=1e-6 * scale)
        else:
            assert abs(slope) <= 1 + 1e-6 * scale


def test_the_fit_finds_the_same_optimum_from_far_off() -> None:
    """Where all predictions at the start are 0 or 1, there is no curvature to go by."""
    rng = np.random.default_rng(2)
    x = np.stack([rng.normal(size=(7, 2)), np.ones((7, 2))], axis=1)
    weights = rng.multinomial(2, [0.5, 0.5], size=7).astype(float)
    labelled = (x @ (weights * rng.random(2))[..., None])[..., 0]
    near = fit(x, weights, labelled, 20.0, np.zeros(2))
    far = fit(x, weights, labelled, 20.0, np.array([100.0, -100.0]))
    assert np.isfinite(near).all()
    assert far == pytest.approx(near, abs=1e-6)


def test_replicates_are_fitted_each_on_its_own() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(1, 3, 50)), rng.uniform(size=50)
    weights = resamples(50, 1, 7)
    many = np.broadcast_to(x, (7, 3, 50))
    together = fit(many, weights, (many @ (weights * y)[..., None])[..., 0], 5.0, np.zeros(3))
    for i in range(7):
        w = weights[i : i + 1]
        alone = fit(x, w, (x @ (w * y)[..., None])[..., 0], 5.0, np.zeros(3))
        assert together[i] == pytest.approx(alone[0], abs=1e-9)


# --- properties of the rates ------------------------------------------------------------------


@settings(deadline=None, max_examples=50)
@given(rows=rows, seed=st.integers(0, 3))
def test_rates_lie_in_0_to_100_and_do_not_see_the_order(
    rows: list[tuple[float, int, int]], seed: int
) -> None:
    js = judgements(rows)
    shuffled = js.copy()
    random.Random(seed).shuffle(shuffled)
    told = measured(length_control(js, seed, is_alpaca=False))
    assert told == length_control(shuffled, seed, is_alpaca=False)
    assert told.kind == "length-adjusted"
    assert told.phi is None
    said = [(j.instruction, j.p, None) for j in js]
    raw = rate(said, seed)
    assert raw == rate([(j.instruction, j.p, None) for j in shuffled], seed)
    assert raw.value is not None
    for value in (raw.value, told.value, *(raw.ci95 or ()), *(told.ci95 or ())):
        assert 0 <= value <= 100 + 1e-9


@given(rows=rows)
def test_raw_is_symmetric_and_monotone(rows: list[tuple[float, int, int]]) -> None:
    values = [p for p, _, _ in rows]
    ours = rate([(str(i), p, None) for i, p in enumerate(values)], 0)
    theirs = rate([(str(i), 1 - p, None) for i, p in enumerate(values)], 0)
    assert ours.value is not None
    assert theirs.value is not None
    assert ours.value + theirs.value == pytest.approx(100)
    assert (ours.n_wins, ours.n_losses) == (theirs.n_losses, theirs.n_wins)
    for i in range(len(values)):
        better = [*values[:i], min(1.0, values[i] + 0.25), *values[i + 1 :]]
        raised = rate([(str(k), p, None) for k, p in enumerate(better)], 0)
        assert raised.value is not None
        assert raised.value >= ours.value - 1e-9


def test_length_control_takes_out_what_length_did() -> None:
    """A judge that only counts characters: raw is high, at equal lengths it is even."""
    rng = np.random.default_rng(0)
    lengths = [(int(a), int(b)) for a, b in rng.integers(500, 1500, size=(400, 2))]
    js = [
        Judgement(str(i), float(sigmoid(np.array((a + 300 - b) / 200))), None, a + 300, b)
        for i, (a, b) in enumerate(lengths)
    ]
    raw = rate([(j.instruction, j.p, None) for j in js], 0)
    told = measured(length_control(js, 0, is_alpaca=False))
    assert raw.value is not None
    assert raw.value > 65
    assert told.theta < 0  # a longer baseline costs wins
    assert told.ci95 is not None
    assert told.ci95[0] - 3 < 50 < told.ci95[1] + 3


def test_rows_that_cannot_tell_are_said_to() -> None:
    """Too little data against the L1 penalty leaves ψ at 0, and 50% is then no finding."""
    few = judgements([(0.9, 900, 100), (0.4, 10, 90), (0.7, 50, 60)])
    told = measured(length_control(few, 0, is_alpaca=False, c=0.01))
    assert told.psi == pytest.approx(0, abs=1e-9)
    assert told.value == pytest.approx(50)
    assert any("holds the model's own term at 0" in caveat for caveat in told.caveats)


@pytest.mark.parametrize("seed", range(3))
def test_lengths_that_differ_by_about_the_same_everywhere(seed: int) -> None:
    """t is then 1 less a rounding error, so length and the rest are one feature: neither a fit that
    does not end, nor a number without a warning."""
    rng = np.random.default_rng(seed)
    gaps = 1000 + rng.normal(0, 60, 200)
    p = np.clip(rng.normal(0.5, 0.6, 200), 0, 1)
    js = [Judgement(str(i), float(p[i]), None, 500, 500 + int(gaps[i])) for i in range(200)]
    told = measured(length_control(js, 0, is_alpaca=False))
    assert told.psi == pytest.approx(told.theta, abs=1e-2)  # the ridge's choice among equals
    assert told.ci95 is not None
    assert told.ci95[0] < told.value < told.ci95[1]
    assert any("beyond these rows" in caveat for caveat in told.caveats)


# --- uncertainty ------------------------------------------------------------------------------


def test_the_paired_interval_covers_the_truth_as_often_as_it_says() -> None:
    """1,000 simulations of two models on 200 shared instructions whose preferences correlate."""
    covered = 0
    for simulation in range(1000):
        rng = np.random.default_rng([7, simulation])
        ease = rng.normal(size=200)
        a = sigmoid(ease + rng.normal(size=200) + 0.4)
        b = sigmoid(ease + rng.normal(size=200))
        told = paired_difference(a, b, simulation)
        assert told.ci95 is not None
        covered += told.ci95[0] <= TRUE_GAP <= told.ci95[1]
    assert 930 <= covered <= 970


def _mean_sigmoid(shift: float) -> float:
    nodes, weights = np.polynomial.hermite_e.hermegauss(60)
    return float((weights * sigmoid(np.sqrt(2) * nodes + shift)).sum() / np.sqrt(2 * np.pi))


TRUE_GAP = 100 * (_mean_sigmoid(0.4) - _mean_sigmoid(0.0))


def test_a_p_value_under_no_difference_is_uniform() -> None:
    rng = np.random.default_rng(3)
    p = [paired_difference(*rng.uniform(size=(2, 100)), seed=i).p_value or 0.0 for i in range(400)]
    for level in (0.05, 0.25, 0.5):
        assert np.mean(np.array(p) < level) == pytest.approx(level, abs=0.06)


@given(p_values=st.lists(probability, max_size=20))
def test_holm_keeps_the_order_and_is_between_raw_and_bonferroni(p_values: list[float]) -> None:
    corrected = holm(p_values)
    for p, q in zip(p_values, corrected, strict=True):
        assert p <= q <= min(1.0, len(p_values) * p) + 1e-12
    ordered = [q for _, q in sorted(zip(p_values, corrected, strict=True))]
    assert ordered == sorted(ordered)


def test_holm_s_own_example() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])


# --- AlpacaEval's instructions among others ---------------------------------------------------


@needs_archive
def test_an_unknown_instruction_counts_in_the_raw_win_rate_only() -> None:
    known = archived("claude-2.1")
    usual = summarise(known, 0)
    told = summarise([*known[1:], Judgement("Not one of the 805", 1.0, None, 10, 20)], 0)
    assert told.is_alpaca
    assert told.n_missing == 1
    assert any("1 of 805 instructions are not AlpacaEval's" in said for said in told.caveats)
    assert (told.win_rate.n, measured(told.length_control).n) == (805, 804)
    assert measured(told.length_control).value == pytest.approx(
        measured(usual.length_control).value, abs=0.3
    )


@needs_archive
def test_another_baseline_is_not_lc() -> None:
    told = summarise(archived("claude-2.1"), 0, baseline="text_davinci_003")
    assert measured(told.length_control).kind == "length-adjusted"
    assert told.n_missing is None
