"""A package `vllm` that does as a test says, to be written to a folder of its own: the part of the
API that the worker uses, with tokens that follow from the seed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

_CODE = """
import json, os, random, signal, sys, time
from pathlib import Path
from types import SimpleNamespace

HERE = Path(__file__).parent.parent
ORDER = json.loads((HERE / "order.json").read_text())


class EngineArgs:
    def __init__(self, **given):
        given["visible"] = os.environ.get("CUDA_VISIBLE_DEVICES")
        (HERE / f"args-{os.getpid()}.json").write_text(json.dumps(given))


class SamplingParams(SimpleNamespace):
    pass


class LLMEngine:
    @classmethod
    def from_engine_args(cls, args):
        print("printed by vLLM", flush=True)
        if text := ORDER.get("start"):
            raise RuntimeError(text)
        return cls()

    def __init__(self):
        self.model_config = SimpleNamespace(max_model_len=ORDER.get("room", 2048))
        self.engine_core = SimpleNamespace(shutdown=lambda: None)
        self.waiting, self.done = [], 0

    def add_request(self, name, prompt, params):
        self.waiting.append((name, prompt["prompt_token_ids"], params))
        with (HERE / f"asked-{os.getpid()}.jsonl").open("a") as out:
            kinds = {k: v for k, v in vars(params).items() if k != "output_kind"}
            out.write(json.dumps([prompt["prompt_token_ids"], kinds]) + "\\n")

    def has_unfinished_requests(self):
        return bool(self.waiting)

    def step(self):
        name, _, params = self.waiting.pop()  # the last one first: order is the engine's own
        self.done += 1
        if self.done == ORDER.get("dies_at"):
            os.kill(os.getpid(), ORDER["signal"])
        if self.done == ORDER.get("hangs_at"):
            time.sleep(600)
        if self.done == ORDER.get("fails_at"):
            print("the details", file=sys.stderr)
            raise RuntimeError(ORDER["says"])
        ids = [random.Random(params.seed).randrange(3, 600) for _ in range(params.max_tokens)]
        found = SimpleNamespace(token_ids=ids, finish_reason="length")
        return [SimpleNamespace(request_id=name, finished=True, outputs=[found])]
"""


def write(folder: Path, **order: Any) -> None:
    """The package in `folder`: `start` is an error at once; `fails_at` the completion at which it
    `says` an error; `dies_at` that at which a `signal` kills it, `hangs_at` that at which nothing
    comes any more; `room` the longest row."""
    package = folder / "vllm"
    package.mkdir(parents=True, exist_ok=True)
    (package / "__init__.py").write_text(_CODE)
    (package / "inputs.py").write_text(
        "def tokens_input(ids): return {'type': 'token', 'prompt_token_ids': ids}\n"
    )
    (package / "sampling_params.py").write_text("class RequestOutputKind: FINAL_ONLY = 2\n")
    (folder / "order.json").write_text(json.dumps(order))
