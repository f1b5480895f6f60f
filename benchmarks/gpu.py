"""How fast one device samples and trains: what `gpu.sh` calls.

`python benchmarks/gpu.py sample MODEL_FOLDER [--engine transformers|vllm] [--device cuda]`: 64
prompts, 4 samples each of at most 128 tokens. `python benchmarks/gpu.py train MODEL_FOLDER`: ten
steps of 8 pairs, with the reference pass. Prints one JSON object; times are without loading.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from sample_vs_generate import LIMIT, PROMPTS, SAMPLES, TEMPERATURE, TOP_P
from train_vs_trl import ours


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=["sample", "train"])
    parser.add_argument("model", type=Path)
    parser.add_argument("--engine", choices=["transformers", "vllm"], default="transformers")
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    args = parser.parse_args()
    if args.what == "train":
        found = asdict(ours(str(args.model), 10, args.device))
    else:
        found = sample(args.model, args.engine, args.device)
    print(json.dumps({"device": device_name(args.device), **found, **gpu_memory(args.device)}))


def sample(model: Path, name: Any, device: Any) -> dict[str, Any]:
    from harness.config import EngineConfig
    from harness.data.sources import load_prompts
    from harness.engines.transformers import TransformersEngine
    from harness.engines.vllm import VLLMEngine
    from harness.types import SampleSpec

    settings = EngineConfig(engine=name, batch_size=256)
    engine: Any
    if name == "vllm":
        engine = VLLMEngine(model, device, settings)
    else:
        engine = TransformersEngine.load(model, device=device, batch_size=settings.batch_size)
    spec = SampleSpec(SAMPLES, TEMPERATURE, TOP_P, LIMIT, seed=0)
    prompts = load_prompts("mini", "train")[:PROMPTS]
    list(engine.sample(prompts[:1], spec))  # kernels, and vLLM's processes
    started = time.perf_counter()
    tokens = sum(len(one.token_ids) for one in engine.sample(prompts, spec))
    wall = time.perf_counter() - started
    engine.close()
    return {"engine": name, "tokens": tokens, "wall": wall, "tokens_per_second": tokens / wall}


def device_name(device: str) -> str:
    import torch

    return torch.cuda.get_device_name() if device == "cuda" else platform.machine()


def gpu_memory(device: str) -> dict[str, float]:
    """MiB at this process's peak; vLLM's processes are others."""
    import torch

    return {"gpu_peak_mib": torch.cuda.max_memory_allocated() / 2**20} if device == "cuda" else {}


if __name__ == "__main__":
    main()
