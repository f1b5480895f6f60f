"""The learned part: an ensemble of small trees and one weight a word, as plain arrays.

Both are antisymmetric: trees by the difference of the two orders, words by the difference of the
two answers. Their logits are added.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import cache
from importlib.resources import files

import numpy as np
from numpy.typing import NDArray

from harness.judges.offline.pairs import Answer

ARTEFACT = "model.npz"


@dataclass(frozen=True)
class Model:
    """Trees are [trees, nodes]: rows go left where feature ≤ threshold; a leaf is its own child.

    `weights` and `rarity` [TERMS] are a word's weight and its inverse document frequency; `mix` is
    what the trees' and the words' logits count for.
    """

    feature: NDArray[np.int16]
    threshold: NDArray[np.float64]
    left: NDArray[np.int16]
    right: NDArray[np.int16]
    value: NDArray[np.float32]
    depth: NDArray[np.int16]
    weights: NDArray[np.float32]
    rarity: NDArray[np.float32]
    mix: NDArray[np.float64]

    def logits(
        self, rows: NDArray[np.float32], pairs: Sequence[tuple[Answer, Answer]]
    ) -> NDArray[np.float64]:
        """[n] log-odds that a beats b. `rows` [n, 2, features] are the pairs in both orders."""
        n, _, width = rows.shape
        trees = self.trees(rows.reshape(2 * n, width)).reshape(n, 2)
        words = np.array([self.words(a.terms) - self.words(b.terms) for a, b in pairs])
        logits: NDArray[np.float64] = (
            self.mix[0] * (trees[:, 0] - trees[:, 1]) + self.mix[1] * words
        )
        return logits

    def trees(self, rows: NDArray[np.float32]) -> NDArray[np.float64]:
        """[n] sums of the leaves that rows [n, features] fall into."""
        n, (trees, nodes) = len(rows), self.feature.shape
        start = np.arange(trees) * nodes
        feature, threshold = self.feature.ravel(), self.threshold.ravel()
        left, right = self.left.ravel(), self.right.ravel()
        offset = np.arange(n)[:, None] * rows.shape[1]
        values = rows.ravel()
        node = np.zeros((n, trees), dtype=np.int64)
        for _ in range(int(self.depth[0])):
            at = start + node
            goes_left = values[offset + feature[at]] <= threshold[at]
            node = np.where(goes_left, left[at], right[at])
        # one row's sum must not depend on how many rows there are: sum along each row alone
        sums: NDArray[np.float64] = self.value.ravel()[start + node].sum(axis=1, dtype=np.float64)
        return sums

    def words(self, terms: NDArray[np.int64]) -> float:
        """The mean of the words' weights, as tf-idf of unit length sees them."""
        rarity = self.rarity[terms]
        norm = float(np.sqrt((rarity * rarity).sum()))
        return float((self.weights[terms] * rarity).sum()) / norm if norm else 0.0


def packed(model: Model) -> bytes:
    """The artefact; equal models give equal bytes."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **{f.name: getattr(model, f.name) for f in fields(model)})
    return buffer.getvalue()


def unpacked(data: bytes) -> Model:
    with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
        return Model(**{f.name: arrays[f.name] for f in fields(Model)})


@cache
def shipped() -> tuple[Model, str]:
    """The model in this package, and the first eight digits of its file's SHA-256."""
    data = (files("harness.judges.offline") / ARTEFACT).read_bytes()
    return unpacked(data), hashlib.sha256(data).hexdigest()[:8]
