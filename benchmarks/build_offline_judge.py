"""Builds the offline judge's artefact from AlpacaEval's stored judgements.

    python benchmarks/build_offline_judge.py FOLDER

FOLDER also holds `outputs.parquet`, the models' texts. Needs `pip install lightgbm==4.7.0`, which
nothing else here does. One thread, fixed seeds: the same machine and versions give the same bytes.
How much trees and words count is chosen on pairs whose models and instructions were both left out;
published figures are not looked at.
"""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

import numpy as np
import pandas as pd
from alpaca_archive import load
from offline_training import Pairs, folds, trained, training_pairs
from scipy.optimize import minimize

from harness.judges.offline.model import ARTEFACT, Model, packed

TARGET = Path(__file__).parent.parent / "harness" / "judges" / "offline" / ARTEFACT
PARTS = 4


def mixed(pairs: Pairs) -> tuple[float, float]:
    """Weights of the trees' and the words' logits that make unseen pairs' labels likeliest."""
    parts = []
    for learnt, tested in folds(pairs, PARTS, instructions=PARTS, diagonal=True):
        alone = trained(pairs.where(learnt), (1.0, 1.0))
        unseen = pairs.where(tested & np.isin(pairs.kind, ("baseline", "derived")))
        parts.append((components(alone, unseen), unseen.label))
    x, label = (np.concatenate(part) for part in zip(*parts, strict=True))

    def loss(weights: np.ndarray) -> float:
        logit = x @ weights
        return float((np.logaddexp(0, logit) - label * logit).mean())

    found = minimize(loss, np.array([1.0, 0.5]), method="Nelder-Mead").x
    return float(found[0]), float(found[1])


def components(model: Model, pairs: Pairs) -> np.ndarray:
    """[n, 2] the logits of trees and of words."""
    words = [model.words(a) - model.words(b) for a, b in pairs.answers]
    trees = model.trees(pairs.rows[:, 0]) - model.trees(pairs.rows[:, 1])
    return np.stack([trees, np.array(words)], axis=1)


def main() -> None:
    archive = load()
    pairs = training_pairs(archive, pd.read_parquet(Path(sys.argv[1]) / "outputs.parquet"))
    mix = mixed(pairs)
    data = packed(trained(pairs, mix))
    TARGET.write_bytes(data)
    digest = hashlib.sha256(data).hexdigest()
    print(f"{len(pairs.kind)} pairs; trees × {mix[0]:.3f}, words × {mix[1]:.3f}")
    print(f"{TARGET.name}: {len(data):,} bytes, sha256 {digest}")


if __name__ == "__main__":
    main()
