"""Linear layers by oneDNN: the same results and gradients as torch's own."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from harness.models.linear import OneDNNLinear, pack_weights, product, products, use_onednn


@pytest.fixture(autouse=True, params=[False, True])
def _processor(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """One on which oneDNN multiplies few rows, and one on which it multiplies all."""
    monkeypatch.setattr("harness.models.linear._MKL_LAGS", request.param)


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("shape", [(7, 24), (2, 3, 24)])
@pytest.mark.parametrize("frozen", [False, True])
def test_results_and_gradients_are_torchs_own(
    bias: bool, shape: tuple[int, ...], frozen: bool
) -> None:
    torch.manual_seed(0)
    theirs = nn.Sequential(nn.Linear(24, 40, bias=bias), nn.GELU(), nn.Linear(40, 5, bias=bias))
    ours = copy.deepcopy(theirs)
    use_onednn(ours)
    assert {type(module) for module in ours} == {OneDNNLinear, nn.GELU}
    ours[0].requires_grad_(not frozen)
    x = torch.randn(shape, requires_grad=True)
    y = x.detach().clone().requires_grad_()
    found, expected = ours(x), theirs(y)
    torch.testing.assert_close(found, expected)
    found.square().sum().backward()
    expected.square().sum().backward()
    torch.testing.assert_close(x.grad, y.grad)
    for (name, mine), its in zip(ours.named_parameters(), theirs.parameters(), strict=True):
        if frozen and name.startswith("0."):
            assert mine.grad is None
        else:
            torch.testing.assert_close(mine.grad, its.grad)


def test_transposes_and_what_onednn_does_not_serve() -> None:
    torch.manual_seed(0)
    left, right = torch.randn(6, 4), torch.randn(5, 4)
    expected = left @ right.T
    torch.testing.assert_close(product(left, right), expected)
    torch.testing.assert_close(product(left.T.contiguous().T, right.T.contiguous().T), expected)
    twice = torch.stack([left, -left]), torch.stack([right, right])
    torch.testing.assert_close(products(*twice), torch.stack([expected, -expected]))
    assert product(left.double(), right.double()).dtype == torch.float64
    assert product(left[:0], right).shape == (0, 5)
    layer = nn.Linear(4, 5)
    use_onednn(layer)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert layer(left).dtype == torch.bfloat16


@pytest.mark.parametrize("rows", [1, 3, 64, 200])
def test_packed_weights_give_the_same_and_train_as_before(rows: int) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(24, 40), nn.GELU(), nn.Linear(40, 5, bias=False))
    use_onednn(model)
    x = torch.randn(2, rows, 24)
    expected = model(x)
    expected.sum().backward()
    grads = [weight.grad.clone() for weight in model.parameters()]  # type: ignore[union-attr]
    model.zero_grad()
    pack_weights(model)
    with torch.inference_mode():
        torch.testing.assert_close(model(x), expected.detach())
    model(x).sum().backward()
    for weight, grad in zip(model.parameters(), grads, strict=True):
        torch.testing.assert_close(weight.grad, grad)
