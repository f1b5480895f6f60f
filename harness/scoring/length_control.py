"""Length-controlled win rate: AlpacaEval 2.0's (Dubois et al. 2024, arXiv:2404.04475), and the same
without difficulties for other instructions.

P(the model wins) = σ(θ·t + φ·g + ψ), t = tanh(d / sd(d)), d = baseline's less the model's
characters, g the instruction's difficulty. LC is the mean of σ(φ·g + ψ): equal lengths. Where
AlpacaEval's own code is wrong this one departs from it: difficulty is found by the instruction, not
by the row's position; C is fixed rather than cross-validated on folds that depend on the version of
a library; the fit is carried to its optimum.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.scoring import alpaca
from harness.scoring.bootstrap import interval, resamples
from harness.scoring.glm import fit, sigmoid
from harness.types import Judgement, LengthControl

Array = NDArray[np.float64]

C = float(np.logspace(-4, 4, 10)[6])
"""21.54, of the grid that AlpacaEval searches. Over C ≥ 2.78 LC moves by at most 0.16 points, and
the folds by which AlpacaEval chose cannot be reproduced."""
FIXED = "C fixed, no cross-validation"
CHUNK = 25
"""Replicates fitted at a time: their arrays stay in the processor's cache."""
NO_SPREAD = (
    "all length differences are equal, so the fit sees no effect of length and none is taken out"
)
ONE_SIDED = (
    "all length differences are about alike and to one side, so what the model would win at equal "
    "lengths is beyond these rows: the number splits the win rate between length and the rest"
)
PENALISED = (
    "the penalty holds the model's own term at 0: these rows are too few, or too much decided by "
    "length, to tell the two apart at equal lengths"
)


@dataclass(frozen=True)
class Rows:
    """Judged instructions, sorted so that the order in which they came changes nothing.

    `keys` [n] as `alpaca.instruction_key` gives them, `p` [n] in 0..1, `delta` [n] the baseline's
    less the model's characters; `difficulty` [n], None for length control without it.
    """

    keys: NDArray[np.uint64]
    p: Array
    delta: Array
    difficulty: Array | None

    def only(self, keep: NDArray[np.bool_]) -> Rows:
        """The rows where `keep` [n] is true."""
        difficulty = None if self.difficulty is None else self.difficulty[keep]
        return Rows(self.keys[keep], self.p[keep], self.delta[keep], difficulty)


@dataclass(frozen=True)
class Estimate:
    """Length-controlled win rates [b] in percent with their coefficients [b, k], and the
    predictions [b, n] (k = 3: θ, φ, ψ; without difficulty k = 2: θ, ψ, and predictions [b, 1])."""

    values: Array
    coefficients: Array
    predictions: Array


def length_control(
    judgements: Sequence[Judgement], seed: int, *, is_alpaca: bool, c: float = C
) -> LengthControl | None:
    """The win rate at equal lengths with a bootstrap interval (1,000 replicates, refitted).

    With `is_alpaca` the opponent must be the GPT-4-Turbo baseline, and only AlpacaEval's
    instructions count. None where no judgement has a value and both lengths.
    """
    rows = rows_of(judgements, is_alpaca=is_alpaca)
    n = len(rows.keys)
    if not n:
        return None
    point = estimate(rows, np.ones((1, n)), c)
    coefficients = point.coefficients[0]
    caveats = [NO_SPREAD] if n > 1 and not np.ptp(rows.delta) else []
    if not caveats and n > 1 and np.ptp(_standardised(rows.delta, np.ones((1, n)))) < 0.01:
        caveats.append(ONE_SIDED)
    if n == 1:
        caveats.append("one instruction alone has no interval and no length effect")
    if abs(coefficients[-1]) < 1e-9:
        caveats.append(PENALISED)
    ci95 = None
    spread = None
    if n > 1:
        ci95 = interval(replicates(rows, resamples(n, seed), c, coefficients))
        predictions = np.broadcast_to(100 * point.predictions[0], n)
        spread = float(predictions.std(ddof=1) / np.sqrt(n))
    return LengthControl(
        kind="LC" if is_alpaca else "length-adjusted",
        value=float(point.values[0]),
        ci95=ci95,
        spread=spread,
        theta=float(coefficients[0]),
        phi=float(coefficients[1]) if is_alpaca else None,
        psi=float(coefficients[-1]),
        c=c,
        rule=FIXED,
        n=n,
        caveats=tuple(caveats),
    )


def rows_of(judgements: Sequence[Judgement], *, is_alpaca: bool) -> Rows:
    """The judgements that a fit can use: a value, both lengths, and with `is_alpaca` one of
    AlpacaEval's instructions."""
    usable = [
        (j.instruction, j.p, j.baseline_chars - j.model_chars)
        for j in judgements
        if j.p is not None and j.model_chars is not None and j.baseline_chars is not None
    ]
    instructions, p, delta = zip(*usable, strict=True) if usable else ((), (), ())
    keys = list(map(alpaca.instruction_key, instructions))
    found = np.array(keys, dtype=np.uint64)
    order = np.argsort(found)
    difficulty = None
    if is_alpaca:
        table = alpaca.difficulty()
        difficulty = np.array([table.get(key, np.nan) for key in keys], dtype=np.float64)[order]
    rows = Rows(
        keys=found[order],
        p=np.array(p, dtype=np.float64)[order],
        delta=np.array(delta, dtype=np.float64)[order],
        difficulty=difficulty,
    )
    if difficulty is None or not np.isnan(difficulty).any():
        return rows
    return rows.only(~np.isnan(difficulty))


def replicates(rows: Rows, counts: Array, c: float, start: Array) -> Array:
    """[replicates] win rates of resampled rows (`counts` as `resamples` gives them), each refitted
    with its own standard deviation of lengths."""
    return np.concatenate(
        [
            estimate(rows, counts[at : at + CHUNK], c, start).values
            for at in range(0, len(counts), CHUNK)
        ]
    )


def estimate(rows: Rows, weights: Array, c: float, start: Array | None = None) -> Estimate:
    """Fits with `weights` [b, n]: ones for the rows as they are, counts for a resample of them."""
    t = _standardised(rows.delta, weights)
    if start is None:  # where most models end up; the optimum is the same from anywhere
        share = min(0.99, max(0.01, float(rows.p.mean())))
        usual = (-1.8,) if rows.difficulty is None else (-1.8, 0.8)
        start = np.array([*usual, np.log(share / (1 - share)) + 1.8 * t.mean()])
    gamed = alpaca.gamed()
    b, n = weights.shape
    m = 0 if rows.difficulty is None else len(gamed.t)
    features = np.ones((b, len(start), n + m))
    features[:, 0, :n] = t
    if rows.difficulty is not None:
        features[:, 0, n:] = gamed.t
        features[:, 1] = np.concatenate([rows.difficulty, gamed.g])
        features[:, 2, n:] = 0.0
    labelled = (features[:, :, :n] @ (weights * rows.p)[..., None])[..., 0]
    if rows.difficulty is None:
        coefficients = fit(features, weights, labelled, c, start)
        predictions = sigmoid(coefficients[:, -1:])
        return Estimate(100 * predictions[:, 0], coefficients, predictions)
    labelled += alpaca.GAMED_WEIGHT * np.array(alpaca.GAMED_LABEL_SUMS)
    all_weights = np.full((b, n + m), alpaca.GAMED_WEIGHT)
    all_weights[:, :n] = weights
    coefficients = fit(features, all_weights, labelled, c, start)
    predictions = sigmoid(coefficients[:, 1, None] * rows.difficulty + coefficients[:, 2, None])
    values = 100 * (weights * predictions).sum(axis=1) / weights.sum(axis=1)
    return Estimate(values, coefficients, predictions)


def _standardised(delta: Array, weights: Array) -> Array:
    """t [b, n]: tanh of the differences over their standard deviation (ddof 1), not centred; 0
    where there is no spread."""
    total = weights.sum(axis=1, keepdims=True)
    mean = (weights @ delta)[:, None] / total
    squares = (weights * (delta - mean) ** 2).sum(axis=1, keepdims=True)
    sd = np.sqrt(squares / np.maximum(total - 1, 1))
    # rounding leaves a trace of a spread where there is none
    spread = sd > 1e-9 * np.maximum(1.0, np.abs(mean))
    standardised: Array = np.where(spread, np.tanh(delta / np.where(spread, sd, 1.0)), 0.0)
    return standardised
