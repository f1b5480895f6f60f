"""The logistic model behind length control: a soft-label, L1-penalised fit of up to three
parameters, many replicates at once."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import product

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

LAST_STEP = 1e-6
"""A step below this in every parameter is the last one: Newton's error after it is of the order of
its square, far below the 1e-9 to which win rates are the same on every machine."""
MOST_STEPS = 200


@dataclass(frozen=True)
class Anchor:
    """Rows that are added to every fit, known by their features and by what their labels sum to.

    `features` [m, k], `label_sums` [k] = Σ label · feature, `weight` of each row.
    """

    features: Array
    label_sums: Array
    weight: float

    @cached_property
    def outer(self) -> Array:
        """[m, k²] products of every two features."""
        m, k = self.features.shape
        return (self.features[:, :, None] * self.features[:, None, :]).reshape(m, k * k)


def fit(
    features: tuple[Array, ...],
    labels: Array,
    weights: Array,
    c: float,
    anchor: Anchor | None = None,
    start: Array | None = None,
) -> Array:
    """Coefficients [b, k] that minimise |β|₁ + c · Σ weight · logloss(label, σ(β·x)).

    `features` are k arrays that broadcast to [b, n], `labels` [n] lie in [0, 1], `weights` is
    [b, n]; no intercept beyond what is a feature. Proximal Newton steps with backtracking, from
    `start` [k] or 0; the solution is unique up to features that are constant zero, which get 0.
    Raises ArithmeticError where it does not converge.
    """
    b, k = weights.shape[0], len(features)
    beta = np.zeros((b, k)) + (0.0 if start is None else start)
    value, gradient, hessian = _model(features, labels, weights, c, anchor, beta)
    value = value + np.abs(beta).sum(axis=1)
    step = _lasso_step(beta, gradient, hessian)
    scale = np.ones(b)
    for _ in range(MOST_STEPS):
        if np.abs(step).max() < LAST_STEP:
            return beta + step
        trial = beta + scale[:, None] * step
        smooth, new_gradient, new_hessian = _model(features, labels, weights, c, anchor, trial)
        new_value = smooth + np.abs(trial).sum(axis=1)
        # the predicted decrease; a replicate that falls short of a part of it tries half the step
        slope = (gradient * step).sum(axis=1) + np.abs(beta + step).sum(axis=1)
        slope -= np.abs(beta).sum(axis=1)
        noise = 1e-13 * np.abs(value)
        accepted = new_value <= value + 1e-4 * scale * slope + noise
        scale = np.where(accepted, 1.0, scale / 2)
        keep = accepted[:, None]
        beta, value = np.where(keep, trial, beta), np.where(accepted, new_value, value)
        gradient = np.where(keep, new_gradient, gradient)
        hessian = np.where(keep[..., None], new_hessian, hessian)
        step = np.where(keep, _lasso_step(beta, gradient, hessian), step)
    raise ArithmeticError(f"the length-control fit did not converge in {MOST_STEPS} steps")


def sigmoid(x: Array) -> Array:
    """1 / (1 + e^−x), without overflow."""
    result: Array = 0.5 * (1.0 + np.tanh(0.5 * x))
    return result


def _model(
    features: tuple[Array, ...],
    labels: Array,
    weights: Array,
    c: float,
    anchor: Anchor | None,
    beta: Array,
) -> tuple[Array, Array, Array]:
    """c · Σ weight · logloss [b], its gradient [b, k] and Hessian [b, k, k]."""
    k = len(features)
    logits = beta[:, 0, None] * features[0]
    for i in range(1, k):
        logits = logits + beta[:, i, None] * features[i]
    chance, softplus = _chance(logits)
    value = np.einsum("bn,bn->b", weights, softplus - labels * logits)
    residual = weights * (chance - labels)
    curvature = weights * chance * (1.0 - chance)
    gradient = np.stack([(residual * x).sum(axis=1) for x in features], axis=1)
    hessian = np.empty((len(beta), k, k))
    for i in range(k):
        weighted = curvature * features[i]
        for j in range(i, k):
            hessian[:, i, j] = hessian[:, j, i] = (weighted * features[j]).sum(axis=1)
    if anchor is not None:
        logits = beta @ anchor.features.T
        chance, softplus = _chance(logits)
        value = value + anchor.weight * (softplus.sum(axis=1) - beta @ anchor.label_sums)
        gradient = gradient + anchor.weight * (chance @ anchor.features - anchor.label_sums)
        bend = (chance * (1.0 - chance)) @ anchor.outer
        hessian = hessian + anchor.weight * bend.reshape(-1, k, k)
    return c * value, c * gradient, c * hessian


def _chance(logits: Array) -> tuple[Array, Array]:
    """σ(logits) and log(1 + e^logits), from one exponential and without overflow."""
    small = np.exp(-np.abs(logits))
    total = 1.0 + small
    return np.where(logits >= 0, 1.0, small) / total, np.maximum(logits, 0.0) + np.log(total)


def _lasso_step(beta: Array, gradient: Array, hessian: Array) -> Array:
    """The step d [b, k] that minimises gradient·d + ½ dᵀ H d + |β + d|₁, exactly.

    The minimiser solves a linear system once its signs are known; with k ≤ 3 all 3^k patterns of
    signs are tried and the best candidate is the minimiser.
    """
    k = beta.shape[1]
    signs = np.array(list(product((-1.0, 0.0, 1.0), repeat=k)))  # [patterns, k]
    active = signs != 0
    ridge = 1e-12 * (1.0 + np.trace(hessian, axis1=1, axis2=2))  # a feature may be constant zero
    solid = hessian + ridge[:, None, None] * np.eye(k)
    target = np.einsum("bij,bj->bi", solid, beta) - gradient
    both = active[:, None, :, None] & active[:, None, None, :]
    system = np.where(both, solid, np.eye(k))
    right = np.where(active[:, None, :], target - signs[:, None, :], 0.0)
    found = np.linalg.solve(system, right[..., None])[..., 0]  # [patterns, b, k]
    step = found - beta
    cost = (
        (gradient * step).sum(axis=2)
        + 0.5 * np.einsum("pbi,bij,pbj->pb", step, solid, step)
        + np.abs(found).sum(axis=2)
    )
    best = cost.argmin(axis=0)
    chosen: Array = step[best, np.arange(len(beta))]
    return chosen
