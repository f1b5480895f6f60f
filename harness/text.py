"""How numbers and other people's text are written for a terminal."""

from __future__ import annotations


def printable(text: str) -> str:
    """The text without characters that could steer a terminal."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)


def with_interval(value: float, ci95: tuple[float, float]) -> str:
    """`61.2 [52.0, 70.1]`."""
    return f"{value:.1f} [{ci95[0]:.1f}, {ci95[1]:.1f}]"
