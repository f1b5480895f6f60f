"""The logistic model behind length control: a soft-label, L1-penalised fit of up to three
parameters, many replicates at once."""

from __future__ import annotations

from itertools import product

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

LAST_STEP = 1e-6
"""A step below this in every parameter is the last one: Newton's error after it is of the order of
its square, far below the 1e-9 to which win rates are the same on every machine."""
MOST_STEPS = 200
RIDGE = 1e-10
"""An L2 penalty, as a share of the data's weight: without it the optimum is not unique where
features are collinear. It moves win rates by about 1e-7 points."""
SIGNS = {k: np.array(list(product((-1.0, 0.0, 1.0), repeat=k)))[:, None, :] for k in (2, 3)}
"""[3^k, 1, k]: every pattern of signs of k parameters."""
ACTIVE = {k: signs != 0 for k, signs in SIGNS.items()}
BOTH = {k: active[..., None] & active[..., None, :] for k, active in ACTIVE.items()}
"""[3^k, 1, k, k]: which two parameters are both not zero."""


def fit(features: Array, weights: Array, labelled: Array, c: float, start: Array) -> Array:
    """Coefficients [b, k] that minimise |β|₁ + c · Σ weight · logloss(label, σ(β·x)).

    `features` is [b, k, n] and `weights` [b, n]; there is no intercept beyond what is a feature.
    Labels in [0, 1] enter as `labelled` [b, k] = Σ weight · label · x alone, since
    logloss(y, σ(η)) = log(1 + e^η) − y·η. Proximal Newton steps with backtracking from `start`
    [k], or from 0 where that is too far off; a ridge of `RIDGE` makes the optimum unique. Raises
    ArithmeticError where numbers are not finite.
    """
    for begin in (start, np.zeros_like(start)):
        found = _newton(features, weights, labelled, c, begin)
        if found is not None:
            return found
    raise ArithmeticError(f"the length-control fit did not converge in {MOST_STEPS} steps")


def _newton(
    features: Array, weights: Array, labelled: Array, c: float, start: Array
) -> Array | None:
    """The coefficients of `fit`; None where they are not found in `MOST_STEPS`. That can be where
    all predictions at `start` are near 0 or 1, which leaves no curvature to go by. From 0 on, the
    penalty holds what is tried to |β|₁ ≤ c · Σ weight · log 2."""
    b, k = labelled.shape
    beta = np.zeros((b, k)) + start
    value, gradient, hessian = _objective(features, weights, labelled, c, beta)
    step = _lasso_step(beta, gradient, hessian)
    scale = np.ones(b)
    size = c * (1.0 + weights.sum(axis=1))
    for _ in range(MOST_STEPS):
        # the predicted decrease, and what rounding leaves of the sums that it would show in: where
        # features are next to collinear, steps can stay larger than LAST_STEP by rounding alone
        slope = (gradient * step + np.abs(beta + step) - np.abs(beta)).sum(axis=1)
        noise = 1e-15 * size * (1.0 + np.abs(beta).max(axis=1))
        if ((np.abs(step).max(axis=1) < LAST_STEP) | (-slope <= noise)).all():
            return beta + step
        trial = beta + scale[:, None] * step
        new_value, new_gradient, new_hessian = _objective(features, weights, labelled, c, trial)
        # a replicate that falls short of a part of the decrease tries half the step
        accepted = new_value <= value + 1e-4 * scale * slope + noise
        scale = np.where(accepted, 1.0, scale / 2)
        keep = accepted[:, None]
        beta, value = np.where(keep, trial, beta), np.where(accepted, new_value, value)
        gradient = np.where(keep, new_gradient, gradient)
        hessian = np.where(keep[..., None], new_hessian, hessian)
        step = np.where(keep, _lasso_step(beta, gradient, hessian), step)
    return None


def sigmoid(x: Array) -> Array:
    """1 / (1 + e^−x), without overflow."""
    result: Array = 0.5 * (1.0 + np.tanh(0.5 * x))
    return result


def _objective(
    features: Array, weights: Array, labelled: Array, c: float, beta: Array
) -> tuple[Array, Array, Array]:
    """What `fit` minimises [b]; gradient [b, k] and Hessian [b, k, k] of its smooth part."""
    logits = (beta[:, None, :] @ features)[:, 0]
    small = np.exp(-np.abs(logits))
    total = 1.0 + small
    chance = np.where(logits >= 0, 1.0, small) / total
    softplus = np.maximum(logits, 0.0) + np.log(total)
    ridge = RIDGE * (1.0 + weights.sum(axis=1, keepdims=True))
    linear = (beta * (0.5 * ridge * beta - labelled)).sum(axis=1)
    value = (weights * softplus).sum(axis=1) + linear
    expected = weights * chance
    gradient = (features @ expected[..., None])[..., 0] - labelled + ridge * beta
    curved = features * (expected * (1.0 - chance))[:, None, :]
    hessian = curved @ features.transpose(0, 2, 1) + ridge[..., None] * np.eye(beta.shape[1])
    return c * value + np.abs(beta).sum(axis=1), c * gradient, c * hessian


def _lasso_step(beta: Array, gradient: Array, hessian: Array) -> Array:
    """The step d [b, k] that minimises gradient·d + ½ dᵀ H d + |β + d|₁, exactly.

    The minimiser solves a linear system once its signs are known; with k ≤ 3 all 3^k patterns of
    signs are tried and the best candidate is the minimiser.
    """
    k = beta.shape[1]
    signs, active, both = SIGNS[k], ACTIVE[k], BOTH[k]
    target = (hessian @ beta[..., None])[..., 0] - gradient
    system = np.where(both, hessian, np.eye(k))
    right = np.where(active, target - signs, 0.0)
    found = np.linalg.solve(system, right[..., None])[..., 0]  # [patterns, b, k]
    step = found - beta
    bent = (hessian @ step[..., None])[..., 0]
    cost = (step * (gradient + 0.5 * bent) + np.abs(found)).sum(axis=2)
    best = cost.argmin(axis=0)
    chosen: Array = step[best, np.arange(len(beta))]
    return chosen
