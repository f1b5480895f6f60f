"""Which token comes next: random streams, and draws that are exact."""

from __future__ import annotations

from itertools import product

import pytest
import torch
from plain_engine import nucleus
from torch import Tensor

from harness.engines.draws import draw, uniforms


def looked_up(row: Tensor, u: float, temperature: float, top_p: float) -> list[int]:
    """What `draw` promises for a row; then what it may give where the rounding of float32 decides
    at which token the nucleus ends, or at which the uniform falls."""
    scaled = row / temperature
    order = sorted(range(len(row)), key=lambda token: (-float(scaled[token]), token))
    cumulative = scaled.double().softmax(-1)[order].cumsum(0)
    tokens = []
    for slack, shift in product((0.0, -2e-6, 2e-6), repeat=2):
        end, mass = len(row) - 1, 1.0
        if top_p < 1:
            end = min(int((cumulative < top_p + slack).sum()), end)
            mass = float(cumulative[end])
        tokens.append(order[min(int((cumulative <= u * mass + shift).sum()), end)])
    return tokens


@pytest.mark.parametrize("top_p", [1.0, 0.999, 0.9, 0.3, 1e-6])
@pytest.mark.parametrize("spread", [0.1, 2.0, 10.0])
@pytest.mark.parametrize("vocabulary", [100, 400, 6000])
def test_a_draw_needs_no_full_sort_to_be_exact(
    top_p: float, spread: float, vocabulary: int
) -> None:
    stream = torch.Generator().manual_seed(3)
    logits = torch.randn(60, vocabulary, generator=stream) * spread
    logits[30:] = logits[30:].round()  # many equal ones, across the edge of the sorted top too
    uniform = torch.rand(60, generator=stream, dtype=torch.float64)
    uniform[0] = 0.0
    drawn = draw(logits, uniform, 0.7, top_p).tolist()
    allowed = [
        looked_up(row, u, 0.7, top_p) for row, u in zip(logits, uniform.tolist(), strict=True)
    ]
    assert all(token in tokens for token, tokens in zip(drawn, allowed, strict=True))
    exact = [token == tokens[0] for token, tokens in zip(drawn, allowed, strict=True)]
    assert sum(exact[:30]) >= 29  # among equal ones a nucleus can end just at top_p


@pytest.mark.parametrize("top_p", [1.0, 0.9])
def test_the_largest_uniform_stays_inside(top_p: float) -> None:
    logits = torch.randn(50, 400, generator=torch.Generator().manual_seed(4)) * 3
    end = torch.full((50,), 1 - 2**-53, dtype=torch.float64)
    for row, token in zip(logits, draw(logits, end, 1.0, top_p).tolist(), strict=True):
        kept = nucleus(row.double().softmax(-1).tolist(), 1.0, top_p)
        assert token in [token for token, _ in kept[-40:]]


def test_equal_logits_go_by_id() -> None:
    flat = torch.zeros(4, 400)
    uniform = torch.tensor([0.0, 0.25, 0.5, 0.9999], dtype=torch.float64)
    assert draw(flat, uniform, 1.0, 1.0).tolist() == [0, 100, 200, 399]
    assert draw(flat, uniform, 1.0, 0.5).tolist()[3] in (199, 200)


def test_uniforms() -> None:
    long = uniforms(1, "a", 0, 5000)
    assert long.dtype == torch.float64
    assert torch.equal(uniforms(1, "a", 0, 10), long[:10])
    assert 0 <= long.min() < 0.01
    assert 0.99 < long.max() < 1
    assert abs(long.mean() - 0.5) < 0.02
    names = [(1, "a", 0), (2, "a", 0), (1, "b", 0), (1, "a", 1), (1, "a, 1", 0), (11, "", 0)]
    assert len({float(uniforms(*name, 1)[0]) for name in names}) == len(names)
    # The streams are part of what a run's seed means: a change would change every run.
    assert uniforms(0, "p", 0, 2).tolist() == [0.677624085952868, 0.6139920213780224]
