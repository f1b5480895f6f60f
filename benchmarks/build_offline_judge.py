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
from pathlib import Path

import numpy as np
import pandas as pd
from alpaca_archive import load
from offline_training import Ensembles, Pairs, counted, folds, training_pairs

from harness.judges.offline.model import ARTEFACT, packed

TARGET = Path(__file__).parent.parent / "harness" / "judges" / "offline" / ARTEFACT
PARTS = 4


def out_of_fold(
    pairs: Pairs, models: int, *, instructions: int = 1, diagonal: bool = False
) -> np.ndarray:
    """[n, 2] `Ensembles.parts` of every tested pair by ensembles that have not seen it; NaN for
    pairs that are not tested. Two folds at a time."""
    found = np.full((len(pairs.kind), 2), np.nan)
    parts = folds(pairs, models, instructions=instructions, diagonal=diagonal)
    with multiprocessing.get_context("fork").Pool(2, _share, (pairs,)) as pool:
        for tested, values in pool.imap_unordered(_fold, parts):
            found[tested] = values
    return found


_pairs: Pairs


def _share(pairs: Pairs) -> None:
    global _pairs
    _pairs = pairs


def _fold(masks: tuple[np.ndarray, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    learnt, tested = masks
    ensembles = Ensembles.grown(_pairs.where(learnt))
    return tested, ensembles.parts(_pairs.where(tested))


def main() -> None:
    archive = load()
    pairs = training_pairs(archive, pd.read_parquet(Path(sys.argv[1]) / "outputs.parquet"))
    parts = out_of_fold(pairs, PARTS, instructions=PARTS, diagonal=True)
    unseen = ~np.isnan(parts[:, 0])
    known, alone = counted(pairs.where(unseen), parts[unseen])
    data = packed(Ensembles.grown(pairs).model(known, alone))
    TARGET.write_bytes(data)
    digest = hashlib.sha256(data).hexdigest()
    print(f"{len(pairs.kind)} pairs; known {known.round(3)}, alone {alone.round(3)}")
    print(f"{TARGET.name}: {len(data):,} bytes, sha256 {digest}")


if __name__ == "__main__":
    main()
