"""The quickstart's learning rate: DNO for two iterations at each rate, same prompts and seed.

`python benchmarks/lr_sweep.py 5e-5 1e-4 2e-4` prints a Markdown table. Runs lie under
runs/lr-sweep and are resumed; the first iteration's samples and judgements are shared.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from harness.runs import read_run
from harness.text import rate_text

COLUMNS = (
    "learning rate",
    "iteration",
    "pairs",
    "last step's loss",
    "loss after",
    "margin after",
    "chosen falls",
    "KL a token to previous",
    "win rate vs initial [95%]",
    "chars",
)


def main() -> None:
    harness = str(Path(sys.executable).parent / "harness")
    rows = []
    for rate in sys.argv[1:]:
        out = Path("runs/lr-sweep") / rate
        command = [harness, "run", "--method", "dno", "--iters", "2", "--quiet"]
        options = ["--out", str(out), "--set", f"train.learning_rate={rate}"]
        subprocess.run([*command, *options], check=True)
        for record in read_run(out).iterations[1:]:
            training, drift = record.training, record.drift
            assert training is not None
            assert drift is not None
            rows.append(
                (
                    rate,
                    str(record.iteration),
                    str(training.examples),
                    f"{training.steps[-1].loss:.3f}",
                    f"{training.after['loss']:.3f}",
                    f"{training.after['margin']:.3f}",
                    f"{training.after['chosen_falls']:.0%}",
                    f"{drift.kl_per_token:.3f}",
                    rate_text(record.result.vs_initial),
                    f"{record.result.lengths.mean:.0f}",
                )
            )
    print(f"| {' | '.join(COLUMNS)} |\n|{'---|' * len(COLUMNS)}")
    for row in rows:
        print(f"| {' | '.join(row)} |")


if __name__ == "__main__":
    main()
