"""Linear layers on a CPU by oneDNN where that is faster than torch's default BLAS.

torch hands float32 products to MKL, which takes the 256-bit path on an AMD processor and so leaves
half of the vector units idle where these have 512 bits; oneDNN, which torch brings along as well,
picks its code by what the processor can do. Both add up in float32: results differ by rounding.
"""

from __future__ import annotations

import platform
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

_ROWS = 64
"""For so many rows the order of packed weights is chosen; it serves any number."""
_FEW_ROWS = 256
"""Where MKL uses the whole processor, oneDNN is the faster one only for a matrix of at most so many
rows, neither a transpose (which it copies); for others MKL is, by a tenth to a half."""


def _mkl_lags() -> bool:
    """Whether this is an AMD processor with AVX-512."""
    about = Path("/proc/cpuinfo")
    maker = about.read_text() if about.exists() else platform.processor()
    return torch.backends.cpu.get_cpu_capability() == "AVX512" and "AuthenticAMD" in maker


_MKL_LAGS = _mkl_lags()


def use_onednn(model: nn.Module) -> None:
    """Let the linear layers of `model`, in place, multiply by `product` where oneDNN can: float32
    on a CPU that torch was built with oneDNN for. Elsewhere they stay as they are."""
    if not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return
    for module in model.modules():
        if type(module) is nn.Linear:
            module.__class__ = OneDNNLinear


def product(left: Tensor, right: Tensor) -> Tensor:
    """left · rightᵀ of [n, k] and [m, k], by oneDNN where it is faster; not differentiable.

    Either may be a transpose. Other strides are copied: for them oneDNN has only reference code,
    which is a hundred times slower.
    """
    few = len(left) <= _FEW_ROWS and left.is_contiguous() and right.is_contiguous()
    if onednn_serves(left, right) and (_MKL_LAGS or few):
        return _multiply(_dense(left), _dense(right))
    return linear(left, right)


def products(left: Tensor, right: Tensor) -> Tensor:
    """`product` of each of [b, n, k] with its own of [b, m, k], for few b."""
    if _MKL_LAGS and onednn_serves(left, right):
        return torch.stack([product(a, b) for a, b in zip(left, right, strict=True)])
    return torch.bmm(left, right.transpose(1, 2))


def pack_weights(model: nn.Module) -> None:
    """For a model whose weights stay as they are: a second copy of its linear layers' weights, in
    oneDNN's own order, which spares a pass of few rows about a third of its products' time (what it
    takes to put them into that order). It has a use where no gradient is asked for."""
    for module in model.modules():
        if isinstance(module, OneDNNLinear) and onednn_serves(module.weight, module.weight):
            module.packed = torch.ops.mkldnn._reorder_linear_weight(module.weight.detach(), _ROWS)


class OneDNNLinear(nn.Linear):
    """`nn.Linear`, forward and backward by `product`."""

    packed: Tensor | None = None

    def forward(self, input: Tensor) -> Tensor:
        if not onednn_serves(input, self.weight):
            return linear(input, self.weight, self.bias)
        found: Tensor
        if self.packed is not None and not torch.is_grad_enabled():
            rows = _multiply(input.flatten(0, -2), self.packed)
            found = rows.view(*input.shape[:-1], -1)
        else:
            found = _Linear.apply(input, self.weight)  # type: ignore[no-untyped-call]
        return found if self.bias is None else found + self.bias


class _Linear(torch.autograd.Function):
    """x · Wᵀ for x [..., k] and W [m, k]."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight)
        return product(x.flatten(0, -2), weight).view(*x.shape[:-1], -1)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, Tensor | None]:
        x, weight = ctx.saved_tensors
        grad = grads[0].flatten(0, -2)
        for_x, for_weight = ctx.needs_input_grad
        return (
            product(grad, weight.t()).view(x.shape) if for_x else None,
            product(grad.t(), x.flatten(0, -2).t()) if for_weight else None,
        )


def _multiply(left: Tensor, right: Tensor) -> Tensor:
    found: Tensor = torch.ops.mkldnn._linear_pointwise(left, right, None, "none", [], "")
    return found


def _dense(matrix: Tensor) -> Tensor:
    return matrix if matrix.t().is_contiguous() else matrix.contiguous()


def onednn_serves(x: Tensor, weight: Tensor) -> bool:
    """Whether oneDNN can multiply these: float32 on a CPU, outside of autocast."""
    return (
        torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
        and x.device.type == "cpu"
        and x.dtype == weight.dtype == torch.float32
        and not torch.is_autocast_enabled("cpu")
        and x.numel() > 0
    )
