"""The house style of every figure: colours, fonts, labels that keep apart, stable files."""

from __future__ import annotations

import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Drawn = tuple["Figure", str]
"""A figure, and its words for readers who do not see it."""

# Okabe and Ito's palette, which stays apart for colour-blind readers; its yellow is left out (too
# pale on white). Runs also differ by marker, so that no reader needs the colours.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00")
MARKERS = ("o", "s", "^", "D", "v", "P")
GLYPHS = ("●", "■", "▲", "◆", "▼", "✚")
GREY, INK = "#777777", "#222222"
PALE, WHITE = "#BBBBBB", "#ffffff"
NEAR_EVEN = 25.0
"""Percent: where all win rates are below, an axis that reaches 50 would squash them."""

DARK = {
    **dict(
        zip(
            COLOURS, ("#5aaeea", "#ff8f4d", "#3fcb9f", "#e6a5c9", "#a3d9f9", "#f7c552"), strict=True
        )
    ),
    INK: "#e8eaec",
    GREY: "#9aa1a8",
    "#666666": "#8b9299",
    "#E6E6E6": "#33383e",
    PALE: "#626971",
    WHITE: "#1e2125",
}
"""What a page in dark mode paints instead: the same hues, lighter, so that they stand out there."""

STYLE: Any = {
    "font.family": "DejaVu Sans",  # comes with matplotlib, so every machine draws the same
    "font.size": 11,
    "axes.titlesize": 12,
    "axes.titlelocation": "left",
    "axes.titleweight": "bold",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#666666",
    "axes.labelcolor": INK,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "grid.color": "#E6E6E6",
    "axes.axisbelow": True,
    "lines.linewidth": 2,
    "lines.markersize": 6,
    "errorbar.capsize": 3,
    "figure.constrained_layout.h_pad": 0.09,
    "figure.constrained_layout.w_pad": 0.09,
    # A run's name is text: "$" in it starts no formula.
    "text.parse_math": False,
    "svg.fonttype": "path",  # the same letters everywhere, with no font to fetch
    "svg.hashsalt": "posttrain-harness",  # ids that do not vary from one rendering to the next
}

WIDTH = 5.2
"""Inches: small enough that 11-point letters are still read on a phone."""


@dataclass(frozen=True, slots=True)
class Look:
    """How one run is drawn in every figure of a page."""

    colour: str
    marker: str
    glyph: str


def look(index: int) -> Look:
    """The look of run `index`; from the seventh on colours come again with other markers."""
    turn = index + index // len(COLOURS)
    at = turn % len(MARKERS)
    return Look(COLOURS[index % len(COLOURS)], MARKERS[at], GLYPHS[at])


def panels(
    count: int, height: float, *, columns: int = 2, sharex: bool = True, sharey: bool = True
) -> tuple[Figure, list[Axes]]:
    """Small multiples: `count` panels of this height in inches, `columns` side by side."""
    from matplotlib.figure import Figure

    columns = min(columns, count)
    rows = -(-count // columns)
    fig = Figure(figsize=(WIDTH if columns < 2 else 1.55 * WIDTH, height * rows + 0.6))
    fig.set_layout_engine("constrained")
    grid = fig.subplots(rows, columns, sharex=sharex, sharey=sharey, squeeze=False)
    axes = list(grid.flat)
    for ax in axes[count:]:
        ax.set_visible(False)
    for ax in axes[:count]:  # the lowest panel of a column may be an invisible one
        ax.tick_params(labelbottom=True)
    return fig, axes[:count]


def figure(
    height: float, rows: int = 1, ratios: Sequence[float] = (), *, sharex: bool = True
) -> tuple[Figure, list[Axes]]:
    """A figure with `rows` panels above each other. No pyplot, hence no global state."""
    from matplotlib.figure import Figure

    fig = Figure(figsize=(WIDTH, height), layout="constrained")
    grid = {"height_ratios": list(ratios)} if ratios else None
    axes = fig.subplots(rows, 1, sharex=sharex, squeeze=False, gridspec_kw=grid)
    return fig, list(axes[:, 0])


def short(text: str, limit: int = 22) -> str:
    """A label that fits beside a line: printable, on one line, cut in the middle."""
    clean = "".join(c if c.isprintable() else " " for c in text)
    if len(clean) <= limit:
        return clean
    keep = (limit - 1) // 2
    return f"{clean[: limit - 1 - keep]}…{clean[-keep:]}"


def iteration_axis(ax: Axes, iterations: Sequence[int]) -> None:
    """Whole iterations only, with room for markers on both sides."""
    first, last = min(iterations), max(iterations)
    step = 1 + (last - first) // 12
    ax.set_xticks(range(first, last + 1, step))
    ax.set_xlim(first - 0.45, last + 0.45)
    ax.set_xlabel("iteration")


def dodge(index: int, count: int) -> float:
    """Lines stand side by side within an iteration, so that their intervals do not hide."""
    return (index - (count - 1) / 2) * min(0.12, 0.5 / count)


@dataclass(frozen=True, slots=True)
class Label:
    """Words at height `y` of the data, with the sign and colour of what they name."""

    y: float
    words: str
    colour: str
    sign: str = "■"


def even_line(ax: Axes) -> None:
    """Where neither side wins more: 50%."""
    ax.axhline(50, color=GREY, linewidth=1.2, linestyle=(0, (5, 3)), zorder=1)


def side_labels(ax: Axes, labels: Sequence[Label], gap: float = 0.075) -> None:
    """Labels right of the axes instead of a legend, pushed apart by `gap` of the axes' height.

    The words are dark and a coloured sign stands before them: coloured words are hard to read.
    """
    low, high = ax.get_ylim()
    ordered = sorted(labels, key=lambda label: label.y)
    wanted = [min(max((label.y - low) / (high - low), 0.02), 0.98) for label in ordered]
    for place, label in zip(spread(wanted, gap), ordered, strict=True):
        for words, points, ink in (
            (label.sign, 5, label.colour),
            (short(label.words, 27), 18, INK),
        ):
            ax.annotate(
                words,
                (1, place),
                (points, 0),
                xycoords="axes fraction",
                textcoords="offset points",
                va="center",
                color=ink,
                fontsize=10,
            )


def subtitle(ax: Axes, title: str, below: str) -> None:
    """A bold title with a plain line below it, where there is one to say."""
    ax.set_title(title, pad=20 if below else 6)
    if below:
        ax.annotate(
            below, (0, 1), (0, 6), xycoords="axes fraction", textcoords="offset points", fontsize=10
        )


def spread(places: Sequence[float], gap: float) -> list[float]:
    """Sorted places moved as little as a sweep up and one down allow, `gap` apart, within 0..1."""
    moved: list[float] = []
    for place in places:
        moved.append(max(place, moved[-1] + gap) if moved else place)
    ceiling = 1.0
    for index in range(len(moved) - 1, -1, -1):
        moved[index] = min(moved[index], ceiling)
        ceiling = moved[index] - gap
    return moved


def save(fig: Figure, folder: Path, name: str) -> tuple[Path, Path]:
    """Write NAME.png and NAME.svg; the same figure gives the same bytes."""
    folder.mkdir(parents=True, exist_ok=True)
    png, svg = folder / f"{name}.png", folder / f"{name}.svg"
    silent = {"Date": None, "Creator": None, "Format": None, "Type": None}
    with warnings.catch_warnings():
        # A run may be named in a script that the font lacks; an empty box is no reason to fail.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        fig.draw_without_rendering()
        fig.set_layout_engine("none")  # laid out once, not once a file
        fig.savefig(svg, metadata=silent)
        fig.savefig(png, dpi=160, metadata={"Software": None})
    return png, svg


_PROLOG = re.compile(r"^.*?(?=<svg)", re.DOTALL)
_COMMENT = re.compile(r"<!--.*?-->", re.DOTALL)
_METADATA = re.compile(r"<metadata>.*?</metadata>", re.DOTALL)
_SHEET = re.compile(r"<style\b.*?</style>", re.DOTALL)
_STYLE = re.compile(r' style="([^"]*)"')
_ID = re.compile(r'\bid="([^"]+)"|url\(#([^)"]+)\)|href="#([^"]+)"')


def inline_svg(svg: str, prefix: str) -> str:
    """An SVG file's text as an element of an HTML page, its ids made the page's own by `prefix`.

    matplotlib names the first axes of every figure `axes_1`: two figures in one page would clash.
    Style attributes become presentation attributes, so that the page needs no unsafe inline style
    and its own style sheet can change colours.
    """

    def rename(found: re.Match[str]) -> str:
        own, url, href = found.groups()
        if own:
            return f'id="{prefix}-{own}"'
        return f"url(#{prefix}-{url})" if url else f'href="#{prefix}-{href}"'

    def attributes(found: re.Match[str]) -> str:
        pairs = (item.split(":", 1) for item in found[1].split(";") if ":" in item)
        return "".join(f' {name.strip()}="{value.strip()}"' for name, value in pairs)

    body = _METADATA.sub("", _COMMENT.sub("", _PROLOG.sub("", svg, count=1)))
    return _ID.sub(rename, _STYLE.sub(attributes, _SHEET.sub("", body))).strip()
