"""The method keeps the harness's contract, and runs from samples to board."""

import json
import subprocess
import sys
from pathlib import Path

from harness.testing import check_method

NAME = "example"


def test_it_keeps_the_contract() -> None:
    check_method(NAME)


def test_one_tiny_iteration(tmp_path: Path) -> None:
    run = tmp_path / "run"
    options = ["--method", NAME, "--preset", "tiny", "--iters", "1", "--out", str(run)]
    subprocess.run([sys.executable, "-m", "harness.cli", "run", *options], check=True)
    trained = json.loads((run / "iter-1" / "train.json").read_text("utf-8"))
    assert trained["examples"] > 0
