"""An archive of stored judgements, against which judges are calibrated: AlpacaEval's own.

A folder with `instructions.parquet` (idx, instruction, gpt4_1106_preview_output),
`annotations.parquet` (model, idx, preference) and `outputs.parquet` (model, idx, output); or a
checkout of alpaca_eval, whose `results/MODEL/JUDGE/annotations.json` hold the texts too.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from harness.data.annotations import json_rows
from harness.data.sources import parquet_rows
from harness.errors import HarnessError

YARDSTICK = "weighted_alpaca_eval_gpt4_turbo"
"""The judge whose word the archive holds: gpt-4-1106-preview, retired since."""
BASELINE_COLUMN = "gpt4_1106_preview_output"


@dataclass(frozen=True, slots=True)
class Archived:
    """One stored judgement: `p` is the yardstick's probability that the model's output beats the
    baseline's."""

    model: str
    instruction: str
    output: str
    baseline: str
    p: float


def read_archive(folder: Path) -> list[Archived]:
    """All judgements that have a value. Raises HarnessError where the folder holds none."""
    if (folder / "annotations.parquet").exists():
        found = list(_parquet(folder))
    else:
        found = [
            row
            for file in sorted(folder.glob(f"results/*/{YARDSTICK}/annotations.json"))
            for row in _checkout(file)
        ]
    if not found:
        raise HarnessError(
            f"{folder} holds no stored judgements (annotations.parquet, or a checkout's "
            f"results/MODEL/{YARDSTICK}/annotations.json); check --archive."
        )
    return found


def _parquet(folder: Path) -> Iterator[Archived]:
    try:
        asked = {row["idx"]: row for _, row in parquet_rows(folder / "instructions.parquet")}
        texts = {
            (row["model"], row["idx"]): row["output"]
            for _, row in parquet_rows(folder / "outputs.parquet")
        }
        for _, row in parquet_rows(folder / "annotations.parquet"):
            text = texts.get((row["model"], row["idx"]))
            if text is not None and row["preference"] is not None and row["preference"] >= 1:
                prompt = asked[row["idx"]]
                yield Archived(
                    row["model"],
                    prompt["instruction"],
                    text,
                    prompt[BASELINE_COLUMN],
                    row["preference"] - 1,
                )
    except KeyError as error:
        raise HarnessError(
            f"{folder}: the archive's files lack {error}; check --archive."
        ) from None


def _checkout(file: Path) -> Iterator[Archived]:
    for where, row in json_rows(file):
        try:
            preference = row["preference"]
            if preference is not None and 1 <= preference <= 2:
                yield Archived(
                    file.parent.parent.name,
                    row["instruction"],
                    row["output_2"],
                    row["output_1"],
                    preference - 1,
                )
        except (KeyError, TypeError) as error:
            raise HarnessError(f"{where}: no judgement of AlpacaEval's ({error}).") from None
