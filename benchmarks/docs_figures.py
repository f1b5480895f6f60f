"""The figures of docs/dno.md and docs/length-control.md, into docs/img/.

    python benchmarks/docs_figures.py [FOLDER]

The first is played by the lab and needs nothing. The second needs AlpacaEval's archive in FOLDER
(see `alpaca_archive.py`); it shows numbers derived from CC BY-NC 4.0 data, and no text of them.
"""

from __future__ import annotations

import sys
from pathlib import Path

import matplotlib
import numpy as np
from alpaca_archive import load
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from harness.lab.request import Request, play
from harness.progress import Reporter
from harness.records import GameRun
from harness.scoring.glm import sigmoid
from harness.scoring.length_control import length_control
from reports.style import COLOURS, GREY, INK, STYLE, WIDTH, save

IMG = Path(__file__).resolve().parent.parent / "docs" / "img"

# --- self-play --------------------------------------------------------------------------------

ITERATIONS = 60
CORNERS = np.array([[0.0, 0.0], [1.0, 0.0], [0.5, 3**0.5 / 2]])


def played(method: str, tau: float | None, exact: bool) -> GameRun:
    """`harness lab --method … --game rps --start 0.8,0.1,0.1 --iters 60`."""
    request = Request(
        method, "rps", None, "0.8,0.1,0.1", 1.0, tau, ITERATIONS, exact, "uniform", 64, 0
    )
    return play(request, Reporter(quiet=True)).runs[0]


def self_play() -> Figure:
    runs = {
        "exact self-play": played("dno-regression", None, exact=True),
        "dno-regression": played("dno-regression", None, exact=False),
        "dno-regularised, τ = 0.1": played("dno-regularised", 0.1, exact=False),
    }
    fig = Figure(figsize=(1.35 * WIDTH, 5), layout="constrained")
    above, below = fig.subfigures(2, 1)
    for ax, (name, run), colour in zip(above.subplots(1, 3), runs.items(), COLOURS, strict=False):
        simplex(ax, run, name, colour)
    left, right = below.subplots(1, 2)
    for run, colour, dash in zip(runs.values(), COLOURS, ("-", "--", "-"), strict=False):
        rows = run.iterations
        wins = [100 * r.win_rate_vs_previous for r in rows if r.win_rate_vs_previous is not None]
        left.plot(range(2, len(wins) + 2), wins, dash, color=colour)
        right.plot([r.iteration for r in rows], [r.gap_last for r in rows], dash, color=colour)
    rows = runs["exact self-play"].iterations
    right.plot([r.iteration for r in rows], [r.gap_average for r in rows], ":", color=INK)
    white = {"facecolor": "white", "edgecolor": "none", "pad": 1}
    right.text(25, 0.21, "average of self-play's policies", fontsize=8.5, color=INK, bbox=white)
    left.axhline(50, color=GREY, linewidth=0.8)
    left.set_ylabel("win rate over t − 1, %")
    right.set_ylabel("duality gap")
    right.set_ylim(0, 1)
    for ax, title in (
        (left, "Every policy beats the one before …"),
        (right, "… and may get nowhere"),
    ):
        ax.set_title(title, fontsize=10)
        ax.set_xlabel("policy t")
    return fig


def simplex(ax: Axes, run: GameRun, name: str, colour: str) -> None:
    path = np.array([row.policy for row in run.iterations]) @ CORNERS
    ax.plot(*np.vstack([CORNERS, CORNERS[:1]]).T, color=GREY, linewidth=0.8)
    ax.plot(*path.T, color=colour, linewidth=1.1, marker=".", markersize=3)
    ax.plot(*path[0], "o", color=INK, markersize=5)
    ax.plot(*CORNERS.mean(axis=0), "+", color=INK, markersize=9, markeredgewidth=1.6)
    for corner, word, side in zip(
        CORNERS, ("rock", "paper", "scissors"), ("top", "top", "bottom"), strict=True
    ):
        nudge = -0.04 if side == "top" else 0.03
        ax.text(corner[0], corner[1] + nudge, word, ha="center", va=side, fontsize=8.5)
    ax.set_title(name, fontsize=10, color=colour, loc="center")
    ax.set(xlim=(-0.15, 1.15), ylim=(-0.15, 1.02), aspect="equal")
    ax.set_axis_off()


# --- length -----------------------------------------------------------------------------------

MODEL = "claude-2.1"
TRIPLES = {
    "GPT-4 Turbo": "gpt4_1106_preview",
    "GPT-4 0613": "gpt4_0613",
    "Mixtral 8x7B": "Mixtral-8x7B-Instruct-v0.1",
}
BINS = 8


def length() -> Figure:
    archive = load()
    judgements = archive.judgements(MODEL)
    control = length_control(judgements, 0, is_alpaca=True)
    assert control
    delta = np.array([j.baseline_chars - j.model_chars for j in judgements], dtype=float)
    p = np.array([j.p for j in judgements])
    raw = 100 * float(p.mean())
    fig = Figure(figsize=(1.35 * WIDTH, 3.4), layout="constrained")
    left, right = fig.subplots(1, 2)

    edges = np.quantile(-delta, np.linspace(0, 1, BINS + 1))
    which = np.clip(np.searchsorted(edges, -delta, side="right") - 1, 0, BINS - 1)
    x = np.array([(-delta)[which == b].mean() for b in range(BINS)])
    y = np.array([100 * p[which == b].mean() for b in range(BINS)])
    error = np.array(
        [100 * p[which == b].std(ddof=1) / np.sqrt((which == b).sum()) for b in range(BINS)]
    )
    left.errorbar(x, y, 1.96 * error, fmt="o", color=COLOURS[0], capsize=2, markersize=4)
    grid = np.linspace(x.min(), x.max(), 200)
    easy = np.array([d for d in archive.instructions.instruction_difficulty if not np.isnan(d)])
    fitted = [
        100
        * sigmoid(
            control.theta * np.tanh(-g / delta.std(ddof=1)) + control.phi * easy + control.psi
        ).mean()
        for g in grid
    ]
    left.plot(grid, fitted, color=COLOURS[1], linewidth=1.6)
    left.axhline(raw, color=GREY, linewidth=0.9, linestyle="--")
    left.plot(0, control.value, "D", color=COLOURS[1], markersize=6)
    left.annotate(
        f"LC {control.value:.1f}",
        (0, control.value),
        xytext=(6, 4),
        textcoords="offset points",
        fontsize=9,
        color=COLOURS[1],
    )
    left.annotate(
        f"raw {raw:.1f}",
        (x.min(), raw),
        xytext=(0, 4),
        textcoords="offset points",
        fontsize=9,
        color=GREY,
    )
    left.set(
        title="One model, by length",
        xlabel="characters more than the baseline",
        ylabel="win rate, %",
        ylim=(0, None),
    )

    for (name, key), colour in zip(TRIPLES.items(), COLOURS, strict=False):
        rows = [
            archive.published(k)
            for k in (f"{key}_concise", key, f"{key}_verbose")
            if k in archive.models.index
        ]
        chars = [row.avg_length for row in rows]
        right.plot(
            chars, [row.win_rate for row in rows], "o--", color=colour, linewidth=1, markersize=4
        )
        right.plot(
            chars,
            [row.length_controlled_winrate for row in rows],
            "D-",
            color=colour,
            linewidth=1.8,
            markersize=5,
        )
        right.annotate(
            name,
            (chars[-1], rows[-1].length_controlled_winrate),
            xytext=(-2, 7),
            textcoords="offset points",
            fontsize=8.5,
            color=colour,
            ha="right",
        )
    right.set(
        title="Told to be concise or verbose",
        xlabel="mean characters of an answer",
        ylabel="win rate, %",
        ylim=(0, None),
    )
    right.plot([], [], "o--", color=GREY, linewidth=1, markersize=4, label="raw")
    right.plot([], [], "D-", color=GREY, linewidth=1.8, markersize=5, label="LC")
    right.legend(loc="lower right", fontsize=8.5)
    print(
        f"{MODEL}: raw {raw:.2f}, LC {control.value:.2f} {control.ci95}, "
        f"theta {control.theta:.3f}, n {control.n}"
    )
    print([(round(a), round(b, 1)) for a, b in zip(x, y, strict=True)])
    return fig


with matplotlib.rc_context(STYLE):
    for name, drawn in (("dno-self-play", self_play), ("length-control", length))[: len(sys.argv)]:
        _, svg = save(drawn(), IMG, name)
        svg.unlink()  # pages show the PNG
