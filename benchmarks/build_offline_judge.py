"""Builds the offline judge's artefact from AlpacaEval's stored judgements.

    python benchmarks/build_offline_judge.py FOLDER

FOLDER also holds `outputs.parquet`, the models' texts. Needs `pip install lightgbm==4.7.0`, which
nothing else here does. One thread an ensemble, fixed seeds: the same machine and versions give the
same bytes. How much each ensemble counts is chosen on pairs whose models and instructions were both
left out; published figures are not looked at. Takes about ten minutes.
"""

from __future__ import annotations

import hashlib
import multiprocessing
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
from alpaca_archive import load
from offline_training import (
    A_BASE,
    Ensembles,
    Pairs,
    counted,
    folds,
    reference,
    said,
    training_pairs,
)

from harness.judges.offline.model import ARTEFACT, packed

TARGET = Path(__file__).parent.parent / "harness" / "judges" / "offline" / ARTEFACT
PARTS = 4


def out_of_fold(
    pairs: Pairs, models: int, *, instructions: int = 1, diagonal: bool = False
) -> np.ndarray:
    """[n, 2] `Ensembles.parts` of every tested pair by ensembles that have not seen it; NaN for
    pairs that are not tested."""
    parts = folds(pairs, models, instructions=instructions, diagonal=diagonal)
    return _by_two(_all_parts, pairs, parts)


def out_of_fold_against(pairs: Pairs, models: int, instructions: int) -> np.ndarray:
    """[n] log-odds of every answer against the baseline's by a `reference` ensemble that has seen
    neither model nor instruction; NaN for pairs of other kinds."""
    parts = folds(pairs, models, instructions=instructions)
    return _by_two(_against, pairs, parts)[:, 0]


Masks = tuple[np.ndarray, np.ndarray]
_pairs: Pairs


def _by_two(
    fold: Callable[[Masks], tuple[np.ndarray, np.ndarray]], pairs: Pairs, parts: Iterator[Masks]
) -> np.ndarray:
    """Two folds at a time."""
    found = np.full((len(pairs.kind), 2), np.nan)
    with multiprocessing.get_context("fork").Pool(2, _share, (pairs,)) as pool:
        for tested, values in pool.imap_unordered(fold, parts):
            found[tested] = values
    return found


def _share(pairs: Pairs) -> None:
    global _pairs
    _pairs = pairs


def _all_parts(masks: Masks) -> tuple[np.ndarray, np.ndarray]:
    learnt, tested = masks
    return tested, Ensembles.grown(_pairs.where(learnt)).parts(_pairs.where(tested))


def _against(masks: Masks) -> tuple[np.ndarray, np.ndarray]:
    learnt, tested = masks[0], masks[1] & (_pairs.kind == "baseline")
    return tested, said(reference(_pairs.where(learnt)), _pairs.rows[tested, A_BASE])[:, None]


def main() -> None:
    archive = load()
    pairs = training_pairs(archive, pd.read_parquet(Path(sys.argv[1]) / "outputs.parquet"))
    parts = out_of_fold(pairs, PARTS, instructions=PARTS, diagonal=True)
    unseen = ~np.isnan(parts[:, 0])
    known, alone = counted(pairs.where(unseen), parts[unseen])
    data = packed(Ensembles.grown(pairs).model(archive, known, alone))
    TARGET.write_bytes(data)
    digest = hashlib.sha256(data).hexdigest()
    print(f"{len(pairs.kind)} pairs; known {known.round(3)}, alone {alone.round(3)}")
    print(f"{TARGET.name}: {len(data):,} bytes, sha256 {digest}")


if __name__ == "__main__":
    main()
