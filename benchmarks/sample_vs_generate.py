"""Our sampling on a CPU beside transformers' `generate`: 64 prompts, 4 samples each of at most 128
tokens, by SmolLM2-135M in float32.

`python benchmarks/sample_vs_generate.py [--rounds 3] [--vllm PYTHON]` (needs the model: `harness
models pull smollm2-135m`). `generate` gets its prompts sorted by length and the batch size that is
best for it, found first on a quarter of the prompts. Each side of each round is a process of its
own, in turns; with --vllm also vLLM, by the Python of an environment that has it and this project.
Timed is sampling alone, not imports, loading and tokenising. Tokens are the completions', end
tokens included.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

from train_vs_trl import Products

PROMPTS, SAMPLES, LIMIT = 64, 4, 128
TEMPERATURE, TOP_P = 1.0, 1.0
BATCHES = (16, 32, 64)
OURS = "ours"


@dataclass(frozen=True)
class Measured:
    """One side of one round: completion tokens, how many completions ended by themselves, the
    seconds by the wall clock and of all cores, and the FLOPs of the products that it takes to read
    each prompt once and each completion token once."""

    tokens: int
    stopped: int
    wall: float
    cpu: float
    flops: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--model", default="smollm2-135m")
    parser.add_argument("--vllm", metavar="PYTHON", help="an interpreter that imports vllm")
    parser.add_argument("--side", help=argparse.SUPPRESS)
    parser.add_argument("--prompts", type=int, default=PROMPTS, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.side == "peak":
        print(json.dumps(peak()))
    elif args.side:
        print(json.dumps(asdict(measure(args.model, args.side, args.prompts))))
    else:
        report(args.rounds, args.model, args.vllm)


def report(rounds: int, model: str, vllm: str | None) -> None:
    def run(side: str, python: str = sys.executable, prompts: int = PROMPTS) -> Any:
        command = [python, __file__, "--model", model, "--side", side, "--prompts", str(prompts)]
        environment = {**os.environ, "HF_HUB_OFFLINE": "1", "TQDM_DISABLE": "1"}
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, env=environment)
        found = json.loads(done.stdout.splitlines()[-1])
        print(f"{side}: {found}", file=sys.stderr, flush=True)
        return found

    first = {size: run(f"generate {size}", prompts=PROMPTS // 4) for size in BATCHES}
    best = max(first, key=lambda size: first[size]["tokens"] / first[size]["wall"])
    pythons = {OURS: sys.executable, f"generate {best}": sys.executable}
    if vllm:
        pythons["vllm"] = vllm
    found: dict[str, list[Any]] = {side: [] for side in pythons}
    peaks = []
    for _ in range(rounds):
        peaks.append(run("peak"))
        for side, python in pythons.items():
            found[side].append(run(side, python))

    def rates(side: str, clock: str = "wall") -> list[float]:
        return [one["tokens"] / one[clock] for one in found[side]]

    def spread(values: list[float], form: str) -> str:
        return f"{median(values):{form}} ({min(values):{form}} to {max(values):{form}})"

    print(f"{platform.machine()}, {os.cpu_count()} cores, {rounds} rounds")
    print("| | tokens/s | ours by it | by CPU seconds |\n|---|---|---|---|")
    for side in found:
        ratios = (
            spread([a / b for a, b in zip(rates(OURS, by), rates(side, by), strict=True)], ".2f")
            for by in ("wall", "cpu")
        )
        print(f"| {side} | {spread(rates(side), '.1f')} | {' | '.join(ratios)} |")
    top = median(max(each.values()) for each in peaks)
    share = median(one["flops"] / one["wall"] / top / 1e9 for one in found[OURS])
    products = ", ".join(f"{name} {median(e[name] for e in peaks):.0f}" for name in peaks[0])
    print(f"\nSquare products, GFLOP/s: {products}; ours reaches {share:.0%} of the faster.")


# --- the sides --------------------------------------------------------------------------------


def measure(name: str, side: str, count: int) -> Measured:
    from harness.data.sources import load_prompts
    from harness.models.chat import ChatTokenizer
    from harness.models.store import resolve

    path = resolve(name, print)
    chat = ChatTokenizer.load(path)
    prompts = load_prompts("mini", "train")[:count]
    ids = [chat.prompt_ids(prompt) for prompt in prompts]
    if side == OURS:
        sample = _ours(path, prompts)
    elif side == "vllm":
        sample = _vllm(path, prompts)
    else:
        sample = _generate(path, ids, chat, int(side.removeprefix("generate ")))
    before = time.perf_counter(), _cpu()
    found = sample()
    wall, cpu = time.perf_counter() - before[0], _cpu() - before[1]
    assert len(found) == count * SAMPLES
    tokens = sum(map(len, found))
    stopped = sum(row[-1] in chat.stop_ids for row in found)
    read = sum(map(len, ids))
    return Measured(tokens, stopped, wall, cpu, _flops(path, read, tokens))


def _ours(path: Any, prompts: list[Any]) -> Callable[[], list[tuple[int, ...]]]:
    from harness.engines.transformers import TransformersEngine
    from harness.types import SampleSpec

    engine = TransformersEngine.load(path, device="cpu", batch_size=64)
    spec = SampleSpec(SAMPLES, TEMPERATURE, TOP_P, LIMIT, seed=0)
    return lambda: [one.token_ids for one in engine.sample(prompts, spec)]


def _generate(path: Any, ids: list[list[int]], chat: Any, batch: int) -> Callable[[], list[Any]]:
    import torch
    from transformers import AutoModelForCausalLM

    from harness.engines.decoding import pad_left

    model = AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32)
    torch.manual_seed(0)
    rows = sorted((row for row in ids for _ in range(SAMPLES)), key=len)

    def sample() -> list[Any]:
        found = []
        for start in range(0, len(rows), batch):
            given, mask = pad_left(rows[start : start + batch], chat.pad_id, model.device)
            output = model.generate(
                input_ids=given, attention_mask=mask.long(), do_sample=True,
                temperature=TEMPERATURE, top_p=TOP_P, top_k=0, max_new_tokens=LIMIT,
                eos_token_id=sorted(chat.stop_ids), pad_token_id=chat.pad_id,
            )  # fmt: skip
            found += [_to_stop(row, chat.stop_ids) for row in output[:, given.shape[1] :].tolist()]
        return found

    return sample


def _to_stop(row: list[int], stops: frozenset[int]) -> list[int]:
    ends = [place for place, token in enumerate(row) if token in stops]
    return row[: ends[0] + 1] if ends else row


def _vllm(path: Any, prompts: list[Any]) -> Callable[[], list[tuple[int, ...]]]:
    """By our own engine, whose process is there before the time starts."""
    from harness.config import EngineConfig
    from harness.engines.vllm import VLLMEngine
    from harness.types import SampleSpec

    engine = VLLMEngine(path, "cpu", EngineConfig(engine="vllm", batch_size=PROMPTS * SAMPLES))
    list(engine.sample(prompts[:1], SampleSpec(1, TEMPERATURE, TOP_P, 8, seed=1)))
    spec = SampleSpec(SAMPLES, TEMPERATURE, TOP_P, LIMIT, seed=0)

    return lambda: [one.token_ids for one in engine.sample(prompts, spec)]


def _cpu() -> float:
    """CPU seconds of this process and of those that it has started, alive or not."""
    import psutil

    me = psutil.Process()
    times = [each.cpu_times() for each in (me, *me.children(recursive=True))]
    return sum(one.user + one.system for one in times)


def _flops(path: Any, read: int, sampled: int) -> float:
    """Of the linear layers: the body for all tokens, the output layer for those sampled."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(path))
    head = model.get_output_embeddings().weight.numel()
    body = sum(weight.numel() for weight in model.parameters() if weight.dim() == 2) - head
    return 2.0 * (body * (read + sampled) + head * sampled)


def peak() -> dict[str, float]:
    """GFLOP/s of square products over ten seconds."""
    products = Products()
    for _ in range(10):
        products.take()
    return products.rates()


if __name__ == "__main__":
    main()
