"""How long the commands take on this machine: `python benchmarks/times.py [--real]`.

Prints a Markdown table. `--real` adds the quickstart on SmolLM2-135M (half an hour on two cores).
Wall-clock seconds, each command once, in a fresh folder, nothing else running.
"""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path

METHODS = ("dno", "iterative-dpo", "offline-dpo", "self-rewarding", "sft")


def seconds(command: list[str], folder: str) -> float:
    """Wall-clock seconds of one command; its failure is this script's."""
    started = time.monotonic()
    subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL)
    return time.monotonic() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--real", action="store_true")
    real = parser.parse_args().real
    harness = str(Path(sys.executable).parent / "harness")
    print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}\n")
    print("| command | seconds |\n|---|---|")

    def row(*arguments: str, note: str = "") -> None:
        took = seconds([harness, *arguments], folder)
        print(f"| `harness {' '.join(arguments)}`{note} | {took:.1f} |", flush=True)

    with tempfile.TemporaryDirectory() as folder:
        row("--help")
        row("models", "pull", "tiny", "--quiet")
        for method in METHODS:
            out = f"{method}/run"  # a folder each: no method starts from another's artefacts
            arguments = ("run", "--method", method, "--iters", "6", "--preset", "tiny", "--quiet")
            row(*arguments, "--out", out)
        row(*arguments, "--out", out, note=" again, finished")
        if real:
            row("models", "pull", "smollm2-135m", "--quiet")
            arguments = ("run", "--method", "dno", "--iters", "6", "--quiet")
            row(*arguments)
            row(*arguments, note=" again, finished")


if __name__ == "__main__":
    main()
