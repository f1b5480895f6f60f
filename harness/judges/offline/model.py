"""The learned part: two ensembles of small trees as plain arrays, and how much each counts."""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass, fields
from functools import cache
from importlib.resources import files

import numpy as np
from numpy.typing import NDArray

ARTEFACT = "model.npz"
BATCH = 64
"""Rows that go through the trees together: what is looked up for them stays in the CPU's cache."""


@dataclass(frozen=True)
class Trees:
    """[trees, nodes] each: rows go left where feature ≤ threshold; a leaf is its own child.

    A leaf's value is in log-odds; `depth` [1] is how many steps reach every leaf.
    """

    feature: NDArray[np.int16]
    threshold: NDArray[np.float64]
    left: NDArray[np.int16]
    right: NDArray[np.int16]
    value: NDArray[np.float32]
    depth: NDArray[np.int16]

    def logits(self, rows: NDArray[np.float32]) -> NDArray[np.float64]:
        """[n] sums of the leaves that rows [n, features] fall into."""
        if not len(rows):
            return np.zeros(0)
        return np.concatenate(
            [self._walk(rows[at : at + BATCH]) for at in range(0, len(rows), BATCH)]
        )

    def _walk(self, rows: NDArray[np.float32]) -> NDArray[np.float64]:
        trees, nodes = self.feature.shape
        start = np.arange(trees) * nodes
        feature, threshold = self.feature.ravel(), self.threshold.ravel()
        left, right = self.left.ravel(), self.right.ravel()
        offset = np.arange(len(rows))[:, None] * rows.shape[1]
        values = rows.ravel()
        at = np.repeat(start[None], len(rows), axis=0)
        for _ in range(int(self.depth[0])):
            goes_left = values[offset + feature[at]] <= threshold[at]
            at = start + np.where(goes_left, left[at], right[at])
        # one row's sum must not depend on how many rows there are: sum along each row alone
        sums: NDArray[np.float64] = self.value.ravel()[at].sum(axis=1, dtype=np.float64)
        return sums


@dataclass(frozen=True)
class Model:
    """`reference`: the log-odds that an answer beats a strong one that it is seen beside, the
    reference. `rivals`: the same of any two answers; the difference of its two orders counts.

    `known` [2] is what the difference of two answers' log-odds against their reference and the
    rivals' difference count for where there is a reference, `alone` [1] what the latter counts for
    where there is none.
    """

    reference: Trees
    rivals: Trees
    known: NDArray[np.float64]
    alone: NDArray[np.float64]


def packed(model: Model) -> bytes:
    """The artefact; equal models give equal bytes."""
    arrays = {"known": model.known, "alone": model.alone}
    for name, trees in (("reference", model.reference), ("rivals", model.rivals)):
        arrays |= {f"{name}.{f.name}": getattr(trees, f.name) for f in fields(Trees)}
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **arrays)
    return buffer.getvalue()


def unpacked(data: bytes) -> Model:
    with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
        reference, rivals = (
            Trees(**{f.name: arrays[f"{name}.{f.name}"] for f in fields(Trees)})
            for name in ("reference", "rivals")
        )
        return Model(reference, rivals, arrays["known"], arrays["alone"])


@cache
def shipped() -> tuple[Model, str]:
    """The model in this package, and the first eight digits of its file's SHA-256."""
    data = (files("harness.judges.offline") / ARTEFACT).read_bytes()
    return unpacked(data), hashlib.sha256(data).hexdigest()[:8]
