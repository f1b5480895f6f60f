"""Length control's speed beside alpaca-eval's own function, on one core in one process.

    OMP_NUM_THREADS=1 python benchmarks/lc_speed.py FOLDER

alpaca-eval downloads the regularising rows; here they come from FOLDER, with labels that have the
published rows' two sums. Both sides start from judgements in memory and end with LC. They take
turns, seven rounds; the median ratio is what counts.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
import types
import warnings
from collections.abc import Callable
from pathlib import Path
from unittest import mock

import numpy as np
import pandas as pd
from alpaca_archive import Archive, gamed_labels, load

from harness.scoring.length_control import C, estimate, length_control, rows_of
from harness.types import Judgement

ROUNDS = 7
MODELS = ("claude-2", "vicuna-7b", "FuseChat-Llama-3.1-8B-Instruct")


def seconds(work: Callable[[], object], calls: int) -> float:
    times = []
    for _ in range(calls):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def upstream_frame(archive: Archive, model: str) -> pd.DataFrame:
    rows = archive.rows(model)
    return pd.DataFrame(
        {
            "instruction": rows.instruction.to_numpy(),
            "output_1": ["x" * n for n in rows.len_baseline],
            "output_2": ["x" * n for n in rows.len_model],
            "generator_1": "gpt4_1106_preview",
            "generator_2": model,
            "annotator": "weighted_alpaca_eval_gpt4_turbo",
            "preference": rows.preference.to_numpy(),
        }
    )


def point(judgements: list[Judgement]) -> float:
    rows = rows_of(judgements, is_alpaca=True)
    return float(estimate(rows, np.ones((1, len(rows.keys))), C).values[0])


def main() -> None:
    warnings.simplefilter("ignore")  # scikit-learn warns of what alpaca-eval passes
    # alpaca-eval imports pkg_resources, which setuptools no longer has, and never calls it here
    sys.modules.setdefault("pkg_resources", types.ModuleType("pkg_resources"))
    from alpaca_eval.metrics import get_length_controlled_winrate, glm_winrate

    archive = load()
    with tempfile.TemporaryDirectory() as folder:
        gamed = Path(folder) / "df_gamed.csv"
        rows = archive.gamed
        labels = gamed_labels(
            np.tanh(rows.std_delta_len.to_numpy()), rows.instruction_difficulty.to_numpy()
        )
        rows.assign(not_gamed_baseline=False, preference=labels).to_csv(gamed, index=False)
        with mock.patch.object(glm_winrate, "hf_hub_download", return_value=str(gamed)):
            for model in MODELS:
                frame, judgements = upstream_frame(archive, model), archive.judgements(model)

                def theirs(frame: pd.DataFrame = frame) -> float:
                    told = get_length_controlled_winrate(frame.copy(), save_weights_dir=None)
                    return float(told["length_controlled_winrate"])

                rounds = [
                    (seconds(theirs, 1), seconds(lambda given=judgements: point(given), 30))
                    for _ in range(ROUNDS)
                ]
                slow, fast = (statistics.median(side) for side in zip(*rounds, strict=True))
                ratios = sorted(a / b for a, b in rounds)
                with_interval = seconds(
                    lambda given=judgements: length_control(given, 0, is_alpaca=True), 3
                )
                print(
                    f"{model:32} alpaca-eval {slow * 1e3:5.1f} ms (LC {theirs():.3f}), here "
                    f"{fast * 1e3:4.2f} ms (LC {point(judgements):.3f}): "
                    f"{statistics.median(ratios):.0f} times ({ratios[0]:.0f} to {ratios[-1]:.0f}); "
                    f"with 1,000 refitted replicates {with_interval:.2f} s"
                )
    everything = [archive.judgements(model) for model in archive.judged()]
    start = time.perf_counter()
    for judgements in everything:
        length_control(judgements, 0, is_alpaca=True)
    took = time.perf_counter() - start
    print(f"{len(everything)} models with intervals: {took:.1f} s")


if __name__ == "__main__":
    main()
