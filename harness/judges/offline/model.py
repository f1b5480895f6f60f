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

    `met` [n], sorted, are the (instruction, reference) that it learned from, as `key` has them, and
    `weak` [n] how much more easily, in log-odds, that reference is beaten than its text tells: of
    others the judge knows no more than what it reads.

    `known` [2] is what the difference of two answers' log-odds against their reference and the
    rivals' difference count for where there is a reference, `alone` [1] what the latter counts for
    where there is none.
    """

    reference: Trees
    rivals: Trees
    met: NDArray[np.uint64]
    weak: NDArray[np.float32]
    known: NDArray[np.float64]
    alone: NDArray[np.float64]

    def weakness(self, instruction: str, reference: str) -> float:
        """`weak` of the two, or 0."""
        wanted = key(instruction, reference)
        at = int(np.searchsorted(self.met, wanted))
        return float(self.weak[at]) if at < len(self.met) and self.met[at] == wanted else 0.0


def key(instruction: str, reference: str) -> np.uint64:
    """64 bits that stand for the two texts, from which neither can be read."""
    parts = (text.strip().encode("utf-8", "replace") for text in (instruction, reference))
    return np.uint64(int.from_bytes(hashlib.sha256(b"\0".join(parts)).digest()[:8], "big"))


_PLAIN = ("met", "weak", "known", "alone")


def packed(model: Model) -> bytes:
    """The artefact; equal models give equal bytes."""
    arrays: dict[str, NDArray[np.generic]] = {name: getattr(model, name) for name in _PLAIN}
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
        return Model(reference, rivals, *(arrays[name] for name in _PLAIN))


@cache
def shipped() -> tuple[Model, str]:
    """The model in this package, and the first eight digits of its file's SHA-256."""
    data = (files("harness.judges.offline") / ARTEFACT).read_bytes()
    return unpacked(data), hashlib.sha256(data).hexdigest()[:8]
