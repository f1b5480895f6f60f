"""How numbers and other people's text are written, on a terminal and on a page."""

from __future__ import annotations

from typing import Protocol

from harness.types import Difference, LengthControl, OrderBias


class Measured(Protocol):
    """What every win rate has, wherever it stands."""

    @property
    def value(self) -> float | None: ...
    @property
    def ci95(self) -> tuple[float, float] | None: ...
    @property
    def n(self) -> int: ...
    @property
    def by_construction(self) -> str | None: ...


def printable(text: str) -> str:
    """The text without characters that could steer a terminal."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)


def with_interval(value: float, ci95: tuple[float, float]) -> str:
    """`61.2 [52.0, 70.1]`."""
    return f"{value:.1f} [{ci95[0]:.1f}, {ci95[1]:.1f}]"


def rate_text(rate: Measured) -> str:
    """`61.2 [52.0, 70.1]`, or why there is no number."""
    if rate.by_construction is not None and rate.value is not None:
        return f"{rate.value:.0f} by construction"
    if rate.value is None or rate.ci95 is None:
        return f"– ({rate.n} judged)"
    return with_interval(rate.value, rate.ci95)


def control_text(control: LengthControl | None) -> str:
    """The same of a length-controlled win rate."""
    if control is None or control.ci95 is None:
        return "–"
    return with_interval(control.value, control.ci95)


def order_text(bias: OrderBias) -> str:
    """`93% consistent over both orders, first shown wins 52%`."""
    return (
        f"{bias.consistency:.0%} consistent over both orders, first shown wins "
        f"{bias.first_slot_rate:.0%}"
    )


def gap_text(gap: Difference | None) -> str:
    """`+1.5 [-0.3, +3.1]`, in percentage points."""
    if gap is None or gap.ci95 is None:
        return "–"
    return f"{gap.value:+.1f} [{gap.ci95[0]:+.1f}, {gap.ci95[1]:+.1f}]"


def p_text(p: float | None) -> str:
    """A p-value with three digits after the point."""
    if p is None:
        return "–"
    return "< 0.001" if p < 0.001 else f"{p:.3f}"
