"""AlpacaEval 2.0 as a benchmark: whatever file it comes from, its contents are known by digest."""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pyarrow.parquet
import pytest
from conftest import Command

from harness.config import BenchmarkConfig
from harness.data import alpaca_eval
from harness.errors import HarnessError
from harness.evaluation import load_benchmark

SHARED = Path(__file__).resolve().parent.parent.parent / "shared" / "alpaca_eval"

pytestmark = pytest.mark.skipif(
    not SHARED.is_dir(), reason=f"AlpacaEval's data are not at {SHARED} (CC BY-NC: not included)"
)


@pytest.fixture(scope="module")
def baseline() -> list[dict[str, Any]]:
    """The rows of AlpacaEval's own JSON file of the baseline."""
    table = pyarrow.parquet.read_table(SHARED / "instructions.parquet")
    return [
        {
            "dataset": row["dataset"],
            "instruction": row["instruction"],
            "output": row["gpt4_1106_preview_output"],
            "generator": "gpt4_1106_preview",
        }
        for row in table.to_pylist()
    ]


def checkout(folder: Path, rows: list[dict[str, Any]]) -> Path:
    file = folder / "results" / "gpt4_1106_preview" / "model_outputs.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(rows), "utf-8")
    return folder


def load(folder: Path, prompts: int | None = None) -> Any:
    settings = BenchmarkConfig(name="alpaca_eval", alpaca_dir=str(folder), prompts=prompts)
    return load_benchmark(settings, fetch=False)


def test_every_source_gives_the_same_prompts(
    baseline: list[dict[str, Any]], tmp_path: Path
) -> None:
    ours = load(SHARED)
    assert ours == load(checkout(tmp_path, baseline))
    assert ours.name == "alpaca_eval-2.0 (805 prompts)"
    assert (ours.gold_name, ours.is_alpaca) == ("gpt4_1106_preview", True)
    assert [p.instruction for p in ours.prompts] == [row["instruction"] for row in baseline]
    assert [p.gold for p in ours.prompts] == [row["output"] for row in baseline]
    assert [p.source for p in ours.prompts] == [row["dataset"] for row in baseline]
    # neither the order of a file nor where a prompt stands in it says which prompt it is
    shuffled = random.Random(0).sample(baseline, len(baseline))
    other = load(checkout(tmp_path / "shuffled", shuffled))
    assert {p.id: p for p in other.prompts} == {p.id: p for p in ours.prompts}


def test_a_subset_is_the_same_everywhere_and_of_all_sources() -> None:
    whole = load(SHARED).prompts
    some = load(SHARED, prompts=64)
    assert some.name == "alpaca_eval-2.0 (64 prompts)"
    assert [p for p in whole if p in set(some.prompts)] == list(some.prompts)
    assert set(load(SHARED, prompts=16).prompts) < set(some.prompts)
    assert {p.source for p in some.prompts} == {p.source for p in whole}


@pytest.mark.parametrize(
    ("field", "change", "words"),
    [
        ("output", lambda text: text[:-1] + "?", "an output (or white space) differs"),
        ("instruction", lambda text: text + " Please.", "row 413 has another instruction, '"),
        ("instruction", lambda text: text + " ", "an output (or white space) differs"),
        ("output", lambda _text: None, "row 413: it needs the texts 'instruction' and 'output'"),
    ],
)
def test_other_contents_are_refused_by_file_and_row(
    baseline: list[dict[str, Any]], tmp_path: Path, field: str, change: Any, words: str
) -> None:
    rows = [dict(row) for row in baseline]
    rows[412][field] = change(rows[412][field])
    with pytest.raises(HarnessError) as refused:
        load(checkout(tmp_path, rows))
    assert str(refused.value).startswith(str(tmp_path / alpaca_eval.CHECKOUT_FILE))
    assert words in str(refused.value)


def test_a_folder_without_it_and_a_short_file(
    baseline: list[dict[str, Any]], tmp_path: Path
) -> None:
    with pytest.raises(HarnessError, match=r"holds neither results/.* nor instructions\.parquet"):
        load(tmp_path)
    with pytest.raises(HarnessError, match="804 rows with 804 instructions"):
        load(checkout(tmp_path, baseline[1:]))
    shutil.rmtree(tmp_path / "results")
    (tmp_path / "instructions.parquet").write_bytes(b"no parquet")
    with pytest.raises(HarnessError, match="not a readable parquet file"):
        load(tmp_path)


# --- through the command ----------------------------------------------------------------------


@contextmanager
def hub(data: bytes) -> Iterator[tuple[str, list[str]]]:
    """A server that has the one file as the Hugging Face hub has it; its address, and what it
    was asked for."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            asked.append(f"{self.command} {self.path}")
            known = "/datasets/tatsu-lab/alpaca_eval/resolve/main/alpaca_eval_gpt4_baseline.json"
            self.send_response(200 if self.path == known else 404)
            self.send_header("Content-Length", str(len(data)))
            self.send_header("ETag", hashlib.sha256(data).hexdigest())
            self.send_header("X-Repo-Commit", "a" * 40)
            self.end_headers()

        def do_GET(self) -> None:
            self.do_HEAD()
            self.wfile.write(data)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def harness(
    home: Path, endpoint: str | None, *arguments: object
) -> subprocess.CompletedProcess[str]:
    """A process of its own: the hub's address (none: offline) is read when its client is
    imported."""
    return subprocess.run(
        [sys.executable, "-m", "harness.cli", *map(str, arguments)],
        cwd=home,
        env={
            **{k: v for k, v in os.environ.items() if not k.startswith("HF_")},
            **({"HF_ENDPOINT": endpoint} if endpoint else {"HF_HUB_OFFLINE": "1"}),
            "HF_HOME": str(home / "hf"),
            "HARNESS_HOME": str(home),
            "OMP_NUM_THREADS": "1",
        },
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_hub_s_file_is_fetched_once_and_known_by_its_digest(
    baseline: list[dict[str, Any]], tmp_path: Path
) -> None:
    outputs = [{"instruction": row["instruction"], "output": "Yes."} for row in baseline]
    (tmp_path / "brief.json").write_text(json.dumps(outputs), "utf-8")
    line = ("eval", "brief.json", "--benchmark", "alpaca_eval", "--judge", "longer", "--json")
    small = ("--set", "benchmark.prompts=40", "--set", "benchmark.controls=4")

    changed = json.dumps(baseline).encode().replace(b"Several famous", b"Several Famous", 1)
    with hub(changed) as (endpoint, _):
        (tmp_path / "other").mkdir()
        shutil.copy(tmp_path / "brief.json", tmp_path / "other")
        done = harness(tmp_path / "other", endpoint, *line, *small)
    assert done.returncode == 1
    assert "an output (or white space) differs" in done.stderr
    assert "alpaca_eval_gpt4_baseline.json does not hold AlpacaEval 2.0's" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "other" / "evals").exists()

    with hub(json.dumps(baseline).encode()) as (endpoint, asked):
        done = harness(tmp_path, endpoint, *line, *small)
        assert done.returncode == 0, done.stderr
        assert any(request.startswith("GET ") for request in asked)
    told = json.loads(done.stdout)
    assert told["result"]["benchmark"] == "alpaca_eval-2.0 (40 prompts)"
    assert told["result"]["opponent"] == "gpt4_1106_preview"
    assert told["result"]["length_control"]["kind"] == "LC"
    # from now on the file is here, and where it comes from changes no number
    again = harness(tmp_path, None, *line, *small)
    assert again.returncode == 0, again.stderr
    local = harness(tmp_path, None, *line, *small, "--alpaca-dir", SHARED)
    assert json.loads(local.stdout)["result"] == told["result"]
    assert "·" not in local.stderr  # not one stage was computed


def test_what_cannot_be_fetched_is_one_sentence(tmp_path: Path) -> None:
    line = ("--benchmark", "alpaca_eval", "--set", "benchmark.prompts=4")
    done = harness(tmp_path, None, "eval", "brief.json", "--judge", "longer", *line)
    assert done.returncode == 1
    (told,) = done.stderr.splitlines()
    assert told.startswith("harness: AlpacaEval's alpaca_eval_gpt4_baseline.json cannot be fetched")
    assert "--alpaca-dir" in told
    done = harness(tmp_path, None, "plan", "-m", "dno", "--preset", "tiny", *line, "--json")
    assert done.returncode == 0, done.stderr
    (assumed,) = json.loads(done.stdout)["assumptions"]
    assert assumed.startswith("alpaca_eval-2.0 is not here: 805 prompts of 165 characters")
    assert [file.name for file in tmp_path.iterdir() if file.name != "hf"] == []


def test_a_run_and_an_evaluation_on_it(command: Command, tmp_path: Path) -> None:
    small = ("--benchmark", "alpaca_eval", "--alpaca-dir", SHARED,
             "--set", "benchmark.prompts=6")  # fmt: skip
    run = tmp_path / "run"
    command.run(run, "--iters", 1, "--eval-judge", "longer", *small).ok()
    result = json.loads((run / "iter-1" / "scores.json").read_text("utf-8"))
    assert result["benchmark"] == "alpaca_eval-2.0 (6 prompts)"
    assert result["length_control"]["kind"] == "LC"
    evaluated = command(
        *("eval", run / "iter-1" / "policy", "--judge", "longer", "--out", tmp_path / "eval"),
        *("--set", "benchmark.max_new_tokens=24", *small, "--json"),
    ).ok()  # fmt: skip
    assert evaluated.json["result"]["win_rate"] == result["win_rate"]
    assert evaluated.json["result"]["length_control"] == result["length_control"]
    annotations = json.loads((tmp_path / "eval" / "annotations.json").read_text("utf-8"))
    assert {row["generator_1"] for row in annotations} == {"gpt4_1106_preview"}
    assert len({row["dataset"] for row in annotations}) > 1
    # a judge that leans on the baseline does not rank it: then the opponent is the start
    told = command.plan(tmp_path / "other", "--iters", 1, "--judge", "reference", *small)
    assert told["opponent"] == "iteration 0 (tiny)"
    # where the data lie may change between two starts of one run
    moved = tmp_path / "moved"
    shutil.copytree(SHARED, moved)
    here = ("--benchmark", "alpaca_eval", "--alpaca-dir", moved, "--set", "benchmark.prompts=6")
    again = command.plan(run, "--iters", 1, "--eval-judge", "longer", *here)
    assert all(stage["done"] for stage in again["stages"])
