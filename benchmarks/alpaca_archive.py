"""AlpacaEval's stored judgements, as the two length-control benchmarks read them.

The folder (see `docs/architecture.md`, "Length control") holds `instructions.parquet`,
`annotations.parquet`, `models.csv` and `gamed_rows.csv`. Its data are CC BY-NC 4.0 and are not part
of this repository.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.optimize import minimize

from harness.scoring import alpaca
from harness.scoring.glm import sigmoid
from harness.types import Judgement


@dataclass(frozen=True)
class Archive:
    instructions: pd.DataFrame
    annotations: pd.DataFrame
    models: pd.DataFrame
    gamed: pd.DataFrame

    def judged(self) -> list[str]:
        return sorted(self.annotations.model.unique())

    def rows(self, model: str) -> pd.DataFrame:
        """A model's rows in the order of the published file."""
        mine = self.annotations[self.annotations.model == model].sort_values("row_pos")
        return mine.assign(
            instruction=self.instructions.instruction[mine.idx].to_numpy(),
            difficulty=self.instructions.instruction_difficulty[mine.idx].to_numpy(),
        )

    def judgements(self, model: str) -> list[Judgement]:
        return [
            Judgement(r.instruction, r.preference - 1, None, int(r.len_model), int(r.len_baseline))
            for r in self.rows(model).itertuples()
        ]

    def published(self, model: str) -> Any:
        return self.models.loc[model]


def load() -> Archive:
    """The archive in the folder that the command line names; ends the program where none is."""
    if len(sys.argv) != 2 or not (Path(sys.argv[1]) / "annotations.parquet").exists():
        sys.exit(f"usage: python {sys.argv[0]} FOLDER (with annotations.parquet and the others)")
    folder = Path(sys.argv[1])
    return Archive(
        instructions=pd.read_parquet(folder / "instructions.parquet").set_index("idx"),
        annotations=pd.read_parquet(folder / "annotations.parquet"),
        models=pd.read_csv(folder / "models.csv").set_index("model"),
        gamed=pd.read_csv(folder / "gamed_rows.csv"),
    )


def gamed_labels(t: np.ndarray, g: np.ndarray) -> np.ndarray:
    """Labels in (0, 1) for the regularising rows that have the published rows' two sums, which is
    all that a fit sees of them: σ(a·t + b·g) for the one (a, b) that does it."""
    x = np.stack([t, g], axis=1)
    sums = np.array(alpaca.GAMED_LABEL_SUMS[:2])

    def gap(weights: np.ndarray) -> float:
        return float(np.logaddexp(0, x @ weights).sum() - weights @ sums)

    found = minimize(gap, np.zeros(2), jac=lambda w: sigmoid(x @ w) @ x - sums, tol=1e-12)
    labels = sigmoid(x @ found.x)
    if np.abs(labels @ x - sums).max() > 1e-4:
        raise ArithmeticError("no labels with the published sums were found")
    return labels
