"""Judges that ask a model, at a real server with a real model."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from judging import group, match

from harness import registry
from harness.access import Access
from harness.config import JudgingConfig
from harness.types import PairJudge

pytestmark = pytest.mark.usefixtures("own_home")
MODEL = Path.home() / ".cache" / "posttrain-harness" / "models" / "smollm2-135m"


@pytest.fixture
def served(tmp_path: Path) -> Iterator[str]:
    """`transformers serve` with SmolLM2-135M-Instruct."""
    missing = [n for n in ("fastapi", "uvicorn") if not importlib.util.find_spec(n)]
    if missing or not MODEL.exists():
        pytest.skip(f"needs {', '.join(missing) or MODEL}: no real server is tested")
    port = 18473
    line = [sys.executable, "-m", "transformers.cli.transformers", "serve", str(MODEL),
            "--port", str(port), "--device", "cpu"]  # fmt: skip
    log = (tmp_path / "serve.log").open("w")
    process = subprocess.Popen(
        line, stdout=log, stderr=log, env={**os.environ, "HF_HUB_OFFLINE": "1"}
    )
    yield f"{MODEL}@http://127.0.0.1:{port}/v1"
    process.terminate()
    process.wait(timeout=30)
    log.close()


@pytest.mark.slow
def test_a_real_server_end_to_end(served: str, tmp_path: Path) -> None:
    """SmolLM2-135M is no judge; that each word of its is a value or a reason is what counts."""
    import httpx2

    base = served.partition("@")[2]
    for _ in range(240):
        try:
            httpx2.get(f"{base}/models", timeout=1)
            break
        except httpx2.HTTPError:
            time.sleep(0.5)
    access = Access.by(JudgingConfig(concurrency=1, votes=1, timeout=300))
    good = "The sky is blue because air scatters short waves of light more than long ones."
    for name in ("alpaca-eval", "pairwise", "listwise", "additive"):
        judge = registry.make_judge(f"{name}:{served}", access)
        if isinstance(judge, PairJudge):
            values = [(v.p, v.error) for v in judge.compare([match(good, "No idea.")])]
        else:
            (scores,) = judge.score([group(good, "No idea.")])
            values = [(score.value, score.error) for score in scores]
        print(name, values)
        assert all((value is None) == (reason is not None) for value, reason in values)
        assert not {"http error", "malformed reply", "connection failed"} & {r for _, r in values}
    assert access.client.account.calls > 0
    access.client.close()
