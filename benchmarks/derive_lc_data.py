"""Derive the numbers that offline length control needs from AlpacaEval 2.0's published data.

    python benchmarks/derive_lc_data.py FOLDER

FOLDER holds `instructions.parquet` (instruction, instruction_difficulty) and `gamed_rows.csv`
(AlpacaEval's df_gamed.csv: model, index, std_delta_len, instruction_difficulty). Writes
`harness/scoring/alpaca_eval_2/instructions.csv`: no text, only a hash of each instruction.
"""

from __future__ import annotations

import csv
import sys
from pathlib import Path

import pandas as pd

from harness.scoring.alpaca import FOLDER, instruction_key

VERBOSE, CONCISE = "gpt4_1106_preview_verbose", "gpt4_1106_preview_concise"


def main(folder: Path) -> None:
    instructions = pd.read_parquet(folder / "instructions.parquet").set_index("idx")
    gamed = pd.read_csv(folder / "gamed_rows.csv").pivot(
        index="index", columns="model", values="std_delta_len"
    )
    rows = sorted(
        (
            f"{instruction_key(row.instruction):016x}",
            repr(float(row.instruction_difficulty)),
            repr(float(gamed.loc[index, VERBOSE])),
            repr(float(gamed.loc[index, CONCISE])),
        )
        for index, row in instructions.iterrows()
    )
    assert len({key for key, *_ in rows}) == len(rows) == 805
    target = Path(__file__).parent.parent / "harness" / "scoring" / FOLDER / "instructions.csv"
    with target.open("w", encoding="utf-8", newline="") as out:
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(["key", "difficulty", "verbose_delta", "concise_delta"])
        writer.writerows(rows)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
