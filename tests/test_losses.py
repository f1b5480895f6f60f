"""Losses on plain tensors: published values, gradients, invariances."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from harness.types import LogProbs
from trainers import losses

quick = settings(max_examples=60, deadline=None)
log_prob = st.floats(-500, 0)
pair_rows = st.lists(st.tuples(*[log_prob] * 4), min_size=1, max_size=6)


def log_probs(
    sums: list[float] | Tensor,
    lengths: list[int] | None = None,
    mismatched: list[float] | None = None,
) -> LogProbs:
    tensor = torch.as_tensor(sums, dtype=torch.float64)
    others = None if mismatched is None else torch.tensor(mismatched, dtype=torch.float64)
    return LogProbs(tensor, torch.tensor(lengths or [1] * len(tensor)), others)


POLICY = log_probs([-40.0, -55.0], [20, 25])
REFERENCE = log_probs([-42.0, -50.0], [20, 25])


WIN_RATES = torch.tensor([0.7, 0.3], dtype=torch.float64)
REWARDS = torch.tensor([0.8, 0.3], dtype=torch.float64)
GOOD_BAD = torch.tensor([True, False])

VECTORS = {
    "dpo 0.1": (losses.dpo(POLICY, REFERENCE, 0.1), [0.403186]),
    "dpo 0.01": (losses.dpo(POLICY, REFERENCE, 0.01), [0.658760]),
    "ipo, sums": (losses.ipo(POLICY, REFERENCE, 0.1, averaged=False), [4.0]),
    "ipo, averaged": (losses.ipo(POLICY, REFERENCE, 0.1, averaged=True), [22.09]),
    "sppo": (losses.sppo(POLICY, REFERENCE, WIN_RATES, 1e3), [77229.0]),
    "simpo": (losses.simpo(POLICY, 2.0, 1.6), [1.463282]),
    "dno, Eq. 8": (losses.dno(POLICY, REFERENCE, REWARDS, 0.1), [0.667465]),
    "kto": (losses.kto(POLICY, REFERENCE, GOOD_BAD, 0.1, 1.0, 1.0), [0.450166, 0.377541]),
    # Not published: −log σ(0.7 + 0.05·(20 − 25)); (7 − 1/(2·0.005))² where both references agree.
    "r-dpo": (losses.r_dpo(POLICY, REFERENCE, 0.1, 0.05), [0.493249]),
    "inpo": (losses.inpo(POLICY, REFERENCE, REFERENCE, 0.005, 1 / 3), [8649.0]),
}


@pytest.mark.parametrize("name", VECTORS)
def test_vectors(name: str) -> None:
    found, expected = VECTORS[name]
    assert found.values.tolist() == pytest.approx(expected, abs=1e-5)


def test_dpo_vectors_in_single_precision() -> None:
    policy, reference = (LogProbs(p.sums.float(), p.lengths) for p in (POLICY, REFERENCE))
    value = losses.dpo(policy, reference, 0.1).values
    assert value.dtype == torch.float32
    assert value.item() == pytest.approx(0.403186, abs=1e-5)


def test_pair_diagnostics() -> None:
    policy = log_probs([-40.0, -60.0, -55.0, -10.0])
    reference = log_probs([-42.0, -50.0, -50.0, -12.0])
    found = losses.dpo(policy, reference, 0.1).diagnostics
    assert {name: tensor.tolist() for name, tensor in found.items()} == {
        "logps_chosen": [-40.0, -60.0],
        "logps_rejected": [-55.0, -10.0],
        "logratio_chosen": [2.0, -10.0],
        "logratio_rejected": [-5.0, 2.0],
        "margin": pytest.approx([0.7, -1.2]),
        "accuracy": [1.0, 0.0],
        "chosen_falls": [0.0, 1.0],
    }


def test_sft_is_the_mean_token_loss_of_each_answer() -> None:
    found = losses.sft(log_probs([-40.0, -6.0], [20, 2]))
    assert found.values.tolist() == [2.0, 3.0]
    assert found.diagnostics["token_logps"].tolist() == [-2.0, -3.0]


def test_sft_of_an_empty_completion_is_nothing() -> None:
    assert losses.sft(LogProbs(torch.tensor([-0.0]), torch.tensor([0]))).values.tolist() == [0.0]


@quick
@given(pair_rows, st.floats(0.001, 5))
def test_dpo_at_the_reference_is_ln_2(rows: list[tuple[float, ...]], beta: float) -> None:
    policy = log_probs([r[0] for r in rows] + [r[1] for r in rows])
    values = losses.dpo(policy, policy, beta).values
    assert values.tolist() == pytest.approx([math.log(2)] * len(rows), abs=1e-12)


@quick
@given(pair_rows)
def test_dpo_falls_as_the_difference_rises_and_is_never_negative(
    rows: list[tuple[float, ...]],
) -> None:
    policy, reference = halves(rows, 0), halves(rows, 2)
    values = losses.dpo(policy, reference, 0.1).values
    difference = losses.log_ratios(policy, reference).difference
    assert (values >= 0).all()
    assert values.isfinite().all()
    order = difference.argsort()
    assert (values[order].diff() <= 1e-12).all()


def halves(rows: list[tuple[float, ...]], column: int) -> LogProbs:
    """A pair batch from two columns of the rows, lengths 1, 2, 3, …"""
    sums = [r[column] for r in rows] + [r[column + 1] for r in rows]
    return log_probs(sums, list(range(1, len(sums) + 1)))


def swapped(rows: list[tuple[float, ...]]) -> list[tuple[float, ...]]:
    return [(b, a, d, c) for a, b, c, d in rows]


@quick
@given(pair_rows, st.floats(0, 1), st.floats(0, 1), st.floats(0.01, 2))
def test_eq_8_is_unchanged_by_a_swap_and_least_where_it_must_be(
    rows: list[tuple[float, ...]], first: float, second: float, eta: float
) -> None:
    """Swapping y₁ and y₂ changes nothing; with r₁ = r₂ the least is ln 2, at Δ = 0."""
    n = len(rows)
    rewards = torch.tensor([first] * n + [second] * n, dtype=torch.float64)
    one = losses.dno(halves(rows, 0), halves(rows, 2), rewards, eta).values
    mirrored = swapped(rows)
    other = losses.dno(halves(mirrored, 0), halves(mirrored, 2), rewards.roll(n), eta).values
    torch.testing.assert_close(one, other)
    tied = losses.dno(halves(rows, 0), halves(rows, 2), torch.full_like(rewards, first), eta)
    assert (tied.values >= math.log(2) - 1e-12).all()
    at_zero = losses.dno(halves(rows, 0), halves(rows, 0), torch.full_like(rewards, first), eta)
    assert at_zero.values.tolist() == pytest.approx([math.log(2)] * n)


@quick
@given(pair_rows, st.floats(0, 1), st.floats(0, 1))
def test_eq_8_is_least_at_its_regression_target(
    rows: list[tuple[float, ...]], first: float, second: float
) -> None:
    """σ(η·Δ) = σ(r₁ − r₂) there: the update is the exact one."""
    n, eta = len(rows), 0.1
    rewards = torch.tensor([first] * n + [second] * n, dtype=torch.float64)
    reference = halves(rows, 2)
    sums = reference.sums + torch.cat([rewards[:n] / eta, rewards[n:] / eta])
    at_target = log_probs(sums.requires_grad_())
    value = losses.dno(at_target, reference, rewards, eta).values
    (gradient,) = torch.autograd.grad(value.sum(), sums)
    assert gradient.abs().max() < 1e-9
    assert (value <= losses.dno(halves(rows, 0), reference, rewards, eta).values + 1e-9).all()


@quick
@given(pair_rows, st.lists(log_prob, min_size=12, max_size=12), st.floats(0.001, 1))
def test_inpo_without_tau_forgets_the_initial_model(
    rows: list[tuple[float, ...]], initial: list[float], eta: float
) -> None:
    policy, previous = halves(rows, 0), halves(rows, 2)
    start = log_probs(initial[: 2 * len(rows)])
    forgetting = losses.inpo(policy, previous, start, eta, 0.0).values
    torch.testing.assert_close(forgetting, losses.ipo(policy, previous, eta, False).values)
    alone = losses.inpo(policy, previous, start, eta, 1.0).values
    torch.testing.assert_close(alone, losses.ipo(policy, start, eta, False).values)


@quick
@given(pair_rows, st.floats(0, 1))
def test_mixture_of_one_policy_with_itself_is_that_policy(
    rows: list[tuple[float, ...]], share: float
) -> None:
    policy = halves(rows, 0)
    torch.testing.assert_close(losses.mixture(policy, policy, share).sums, policy.sums)


@quick
@given(pair_rows, st.floats(0, 1), st.floats(0, 5))
def test_r_dpo_penalises_length(rows: list[tuple[float, ...]], alpha: float, beta: float) -> None:
    """The longer the chosen answer, the less is left to learn; at α = 0 it is DPO."""
    policy, reference, n = halves(rows, 0), halves(rows, 2), len(rows)
    plain = losses.dpo(policy, reference, beta).values
    torch.testing.assert_close(losses.r_dpo(policy, reference, beta, 0.0).values, plain)
    longer = LogProbs(policy.sums, torch.tensor([9] * n + [3] * n))
    assert (losses.r_dpo(longer, reference, beta, alpha).values <= plain + 1e-12).all()


def test_kto_measures_the_other_prompts_and_never_goes_below_zero() -> None:
    """z is the mean of log-ratios that are finite; weights count by side."""
    policy = log_probs([-40.0, -55.0], mismatched=[-30.0, -20.0, -math.inf])
    reference = log_probs([-42.0, -50.0], mismatched=[-32.0, -24.0, -math.inf])
    found = losses.kto(policy, reference, GOOD_BAD, 0.1, 2.0, 0.5)
    assert found.diagnostics["kl"].tolist() == [3.0, 3.0]
    sigmoid = lambda x: 1 / (1 + math.exp(-x))  # noqa: E731
    expected = [2 * (1 - sigmoid(0.1 * (2 - 3))), 0.5 * (1 - sigmoid(0.1 * (3 + 5)))]
    assert found.values.tolist() == pytest.approx(expected)
    backwards = losses.kto(reference, policy, GOOD_BAD, 0.1, 1.0, 1.0)
    assert backwards.diagnostics["kl"].tolist() == [0.0, 0.0]
    alone = log_probs([-40.0, -55.0], mismatched=[])
    assert losses.kto(alone, alone, GOOD_BAD, 0.1, 1, 1).values.tolist() == [0.5, 0.5]


OTHER = log_probs([-3.0, -9.0, -4.0, -5.0, -8.0, -4.5])
FIRST = log_probs([-3.5, -8.0, -4.0, -5.5, -7.0, -4.0])
LENGTHS = [3, 9, 4, 5, 8, 4]
VALUES = torch.tensor([0.9, 0.6, 0.5, 0.2, 0.6, 0.1], dtype=torch.float64)
WEIGHTS = torch.tensor([1.0, 0.25, 2.0], dtype=torch.float64)
SUMS = [-2.5, -9.5, -4.0, -6.0, -7.0, -4.0]
LABELS = torch.tensor([True, False, True, True, False, False])

EVERY_LOSS: dict[str, Callable[[LogProbs], losses.Losses]] = {
    "dpo": lambda policy: losses.dpo(policy, OTHER, 0.3),
    "r-dpo": lambda policy: losses.r_dpo(policy, OTHER, 0.3, 0.2),
    "dno": lambda policy: losses.dno(policy, OTHER, VALUES, 0.3),
    "dno, regularised": lambda policy: losses.dno(
        policy, losses.mixture(OTHER, FIRST, 0.2), VALUES, 0.3
    ),
    "ipo": lambda policy: losses.ipo(policy, OTHER, 0.4, averaged=False),
    "ipo, averaged": lambda policy: losses.ipo(policy, OTHER, 0.4, averaged=True),
    "inpo": lambda policy: losses.inpo(policy, OTHER, FIRST, 0.4, 0.3),
    "sppo": lambda policy: losses.sppo(policy, OTHER, VALUES, 5.0),
    "simpo": lambda policy: losses.simpo(policy, 2.0, 1.6),
    "kto": lambda policy: losses.kto(policy, OTHER, LABELS, 0.3, 1.0, 1.5),
    "sft": losses.sft,
}


@pytest.mark.parametrize("name", EVERY_LOSS)
def test_every_loss_is_sound(name: str) -> None:
    """Its gradient equals finite differences; its diagnostics are one finite number an example,
    without gradient; log-probs far out give no NaN, and an empty answer neither."""
    loss = EVERY_LOSS[name]

    def mean(sums: Tensor) -> Tensor:
        found = loss(log_probs(sums, LENGTHS))
        weights = WEIGHTS if len(found.values) == 3 else WEIGHTS.repeat(2)
        return losses.mean(found, weights).mean

    sums = torch.tensor(SUMS, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(mean, (sums,), eps=1e-6, atol=1e-6)
    found = loss(log_probs(sums, LENGTHS))
    assert found.values.requires_grad
    for tensor in found.diagnostics.values():
        assert tensor.shape == found.values.shape
        assert not tensor.requires_grad
        assert tensor.isfinite().all()
    for far in (-1e6, -1e4, 0.0):
        extreme = torch.tensor([far, *SUMS[1:]], dtype=torch.float64, requires_grad=True)
        value = mean(extreme)
        (gradient,) = torch.autograd.grad(value, extreme)
        assert value.isfinite()
        assert gradient.isfinite().all()
    assert loss(log_probs([0.0, *SUMS[1:]], [0, *LENGTHS[1:]])).values.isfinite().all()


def test_simpo_sees_no_reference_and_averages_over_tokens() -> None:
    """Twice as long at twice the log-prob is the same answer to it."""
    longer = log_probs([-80.0, -55.0], [40, 25])
    assert losses.simpo(longer, 2.0, 1.6).values.item() == pytest.approx(1.463282, abs=1e-6)


def test_dpo_gradient_is_the_papers() -> None:
    """∇ log π(y_w) = −β·σ(−β·d), and the opposite for y_l."""
    sums = torch.tensor([-40.0, -55.0], dtype=torch.float64, requires_grad=True)
    losses.dpo(log_probs(sums), REFERENCE, 0.1).values.sum().backward()  # type: ignore[no-untyped-call]
    pull = 0.1 / (1 + math.exp(0.7))
    assert sums.grad is not None
    assert sums.grad.tolist() == pytest.approx([-pull, pull])


@quick
@given(st.lists(st.tuples(*[log_prob] * 4, st.floats(0, 3)), min_size=8, max_size=8))
def test_eight_micro_batches_of_one_are_one_batch_of_eight(rows: list[tuple[float, ...]]) -> None:
    table = torch.tensor(rows, dtype=torch.float64)

    def loss(part: Tensor) -> tuple[Tensor, Tensor]:
        sums = torch.cat([part[:, 0], part[:, 1]]).requires_grad_()
        reference = log_probs(torch.cat([part[:, 2], part[:, 3]]))
        mean = losses.mean(losses.dpo(log_probs(sums), reference, 0.1), part[:, 4]).mean
        (gradient,) = torch.autograd.grad(mean, sums)
        return mean.detach(), gradient.view(2, -1)

    mean, gradient = loss(table)
    parts = [loss(row[None]) for row in table]
    torch.testing.assert_close(torch.stack([m for m, _ in parts]).mean(), mean)
    torch.testing.assert_close(torch.cat([g for _, g in parts], dim=1) / 8, gradient)


def test_weights_scale_the_loss() -> None:
    found = losses.Losses(torch.tensor([1.0, 3.0]), {})
    assert losses.mean(found, torch.tensor([1.0, 1.0])).mean.item() == 2.0
    assert losses.mean(found, torch.tensor([0.5, 0.5])).mean.item() == 1.0
