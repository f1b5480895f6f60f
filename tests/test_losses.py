"""Losses on plain tensors: published values, gradients, invariances."""

from __future__ import annotations

import math

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


def log_probs(sums: list[float] | Tensor, lengths: list[int] | None = None) -> LogProbs:
    tensor = torch.as_tensor(sums, dtype=torch.float64)
    return LogProbs(tensor, torch.tensor(lengths or [1] * len(tensor)))


POLICY = log_probs([-40.0, -55.0], [20, 25])
REFERENCE = log_probs([-42.0, -50.0], [20, 25])


@pytest.mark.parametrize(("beta", "expected"), [(0.1, 0.403186), (0.01, 0.658760)])
def test_dpo_vectors(beta: float, expected: float) -> None:
    assert losses.dpo(POLICY, REFERENCE, beta).values.item() == pytest.approx(expected, abs=1e-5)


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


def test_diagnostics_carry_no_gradient() -> None:
    sums = torch.tensor([-4.0, -5.0], dtype=torch.float64, requires_grad=True)
    policy = log_probs(sums)
    for found in (losses.dpo(policy, REFERENCE, 0.1), losses.sft(policy)):
        assert found.values.requires_grad
        assert not any(tensor.requires_grad for tensor in found.diagnostics.values())


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
    policy = log_probs([r[0] for r in rows] + [r[1] for r in rows])
    reference = log_probs([r[2] for r in rows] + [r[3] for r in rows])
    values = losses.dpo(policy, reference, 0.1).values
    difference = losses.log_ratios(policy, reference).difference
    assert (values >= 0).all()
    assert values.isfinite().all()
    order = difference.argsort()
    assert (values[order].diff() <= 1e-12).all()


def by_dpo(sums: Tensor) -> Tensor:
    reference = log_probs([-3.0, -9.0, -4.0, -5.0, -8.0, -4.5])
    return losses.mean(losses.dpo(log_probs(sums), reference, 0.3), WEIGHTS).mean


def by_sft(sums: Tensor) -> Tensor:
    found = losses.sft(log_probs(sums, [3, 9, 4, 5, 8, 4]))
    return losses.mean(found, WEIGHTS.repeat(2)).mean


WEIGHTS = torch.tensor([1.0, 0.25, 2.0], dtype=torch.float64)
SUMS = [-2.5, -9.5, -4.0, -6.0, -7.0, -4.0]


@pytest.mark.parametrize("loss", [by_dpo, by_sft])
def test_gradient_equals_finite_differences(loss: object) -> None:
    sums = torch.tensor(SUMS, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(loss, (sums,), eps=1e-6, atol=1e-7)  # type: ignore[arg-type]


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
