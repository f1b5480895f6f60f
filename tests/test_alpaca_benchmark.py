"""AlpacaEval 2.0 as a benchmark: whatever file it comes from, its contents are known by digest."""

from __future__ import annotations

import json
import random
import shutil
from pathlib import Path
from typing import Any

import pyarrow.parquet
import pytest

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
