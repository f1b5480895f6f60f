"""Our training beside TRL's DPOTrainer: the same pairs, steps and reference, all weights trained.

`python benchmarks/train_vs_trl.py [--rounds 3] [--steps 10]` (needs the `dev` extra and the model:
`harness models pull smollm2-135m`). Each side of each round is a process of its own, ours and
TRL's in turns. Timed are the steps with the reference passes, not imports, loading, tokenising and
one forward and backward pass before them, in which a process gets its memory from the system.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass, field, replace
from random import Random
from statistics import median
from typing import Any

BATCH = 8
BETA = 0.1
RATE = 5e-6
TOKENS = 2048


@dataclass(frozen=True)
class Measured:
    """One side of one round: seconds of the steps by the wall clock and of all cores, and MiB at
    the process's peak. Of ours also the FLOPs of the products for the tokens that were read, those
    of attention without what is masked and nothing that was computed twice, and the GFLOP/s that
    square products reached between the steps, by library."""

    pairs: int
    wall: float
    cpu: float
    peak_mib: int
    losses: tuple[float, ...]
    flops: float = 0.0
    products: dict[str, float] = field(default_factory=dict)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--model", default="smollm2-135m")
    parser.add_argument("--side", choices=["ours", "trl"], help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.side:
        run = ours if args.side == "ours" else trl
        print(json.dumps(asdict(run(args.model, args.steps))))
    else:
        report(args.rounds, ["--steps", str(args.steps), "--model", args.model])


def report(rounds: int, options: list[str]) -> None:
    found: dict[str, list[Any]] = {"ours": [], "trl": []}
    for number in range(rounds):
        for side, so_far in found.items():
            command = [sys.executable, __file__, *options, "--side", side]
            environment = {**os.environ, "TQDM_DISABLE": "1", "HF_HUB_OFFLINE": "1"}
            done = subprocess.run(command, check=True, stdout=subprocess.PIPE, env=environment)
            so_far.append(json.loads(done.stdout.splitlines()[-1]))
            print(f"round {number + 1}, {side}: {so_far[-1]}", file=sys.stderr, flush=True)
    mine, its = found["ours"], found["trl"]

    def ratio(name: str) -> str:
        """Of TRL's by ours, round by round."""
        ratios = [b[name] / a[name] for a, b in zip(mine, its, strict=True)]
        return f"{median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"

    def speed(side: list[Any]) -> str:
        return f"{median(one['pairs'] / one['wall'] for one in side):.3f}"

    def rate(name: str) -> str:
        return f"{name} {median(one['products'][name] for one in mine):.0f}"

    shares = [one["flops"] / one["wall"] / max(one["products"].values()) / 1e9 for one in mine]

    differences = [
        abs(a - b) for x, y in zip(mine, its, strict=True)
        for a, b in zip(x["losses"], y["losses"], strict=True)
    ]  # fmt: skip
    rows = {
        "pairs a second, TRL": speed(its),
        "pairs a second, ours": speed(mine),
        "ratio by the wall clock (range)": ratio("wall"),
        "ratio by CPU seconds (range)": ratio("cpu"),
        "peak memory, TRL": f"{median(one['peak_mib'] for one in its):.0f} MiB",
        "peak memory, ours": f"{median(one['peak_mib'] for one in mine):.0f} MiB",
        "square products between ours' steps, GFLOP/s": ", ".join(map(rate, mine[0]["products"])),
        "ours, share of the faster of these": f"{median(shares):.0%}",
        "largest difference of a step's loss": f"{max(differences):.1e}",
        "losses": f"{mine[0]['losses'][0]:.4f} to {mine[0]['losses'][-1]:.4f}",
    }
    print(
        f"{platform.machine()}, {os.cpu_count()} cores, {rounds} rounds of {mine[0]['pairs']} pairs"
    )
    print("| | |\n|---|---|")
    for name, value in rows.items():
        print(f"| {name} | {value} |")


# --- the sides --------------------------------------------------------------------------------


def examples(count: int) -> list[Any]:
    """Pairs of about 350 tokens: a prompt's gold answer, and another prompt's, cut at random."""
    from harness.data.sources import load_prompts
    from harness.types import Completion, Pair

    prompts = load_prompts("mini", "train")
    random = Random(0)

    def answer(prompt: Any, side: int) -> Completion:
        words = (prompt.gold or "").split(" ")[: random.randint(30, 100)]
        return Completion(prompt.id, side, " ".join(words))

    pairs = []
    for index in range(count):
        prompt, other = (prompts[(index + k) % len(prompts)] for k in (0, 1))
        rejected = replace(answer(other, 1), prompt_id=prompt.id)
        pairs.append(Pair(prompt, answer(prompt, 0), rejected, 1.0, 0.0))
    return pairs


def ours(name: str, steps: int, device: Any = "cpu") -> Measured:
    from harness.engines.logprobs import completion_logprobs
    from harness.engines.packing import tokens
    from harness.models.chat import ChatTokenizer
    from harness.models.store import resolve
    from harness.training.batches import References, micro_batches, schedule
    from harness.training.optimise import optimise
    from harness.training.references import load_policy, measure
    from harness.training.train import TrainSettings, encoded
    from trainers.dno import DNO

    path = resolve(name, print)
    settings = TrainSettings(
        learning_rate=RATE, epochs=1, batch_size=BATCH, micro_batch_tokens=TOKENS, warmup=0.0,
        max_grad_norm=1.0, gradient_checkpointing=False, lora=None, seed=0, device=device,
    )  # fmt: skip
    chat = ChatTokenizer.load(path)

    def like_trl(completion: Any) -> Any:
        """TRL also trains on what the template writes after the end of a turn: a line break."""
        ids = (*chat.completion_ids(completion), *chat.text_ids("\n"))
        return replace(completion, token_ids=ids)

    pairs = [
        replace(pair, chosen=like_trl(pair.chosen), rejected=like_trl(pair.rejected))
        for pair in examples(steps * BATCH)
    ]
    # TRL takes the pairs as they come; ours stand where the schedule finds them in that order.
    order = [index for step in schedule(len(pairs), BATCH, 1, settings.seed) for index in step]
    data = encoded(path, [pairs[order.index(index)] for index in range(len(pairs))], False)
    model = load_policy(path, settings)
    first = next(micro_batches(data, range(BATCH), TOKENS))
    completion_logprobs(model, data.select(first)).sums.sum().backward()
    model.zero_grad()
    products = Products()
    started = _now()
    references = References({"previous": measure(model, data, TOKENS)})
    products.take()
    done, _ = optimise(
        model, data, references, DNO(beta=BETA), settings, lambda *_: products.take(), print
    )
    taken = products.spent
    wall, cpu = (now - then - out for now, then, out in zip(_now(), started, taken, strict=True))
    head = model.get_output_embeddings().weight.numel()
    body = sum(weight.numel() for weight in model.parameters() if weight.dim() == 2) - head
    scored = sum(row.completion_length for row in data.rows)
    # Forward for the reference, forward and twice that backward for the policy.
    read = sum(tokens(data.select([index])) for index in range(len(data)))
    config = model.config
    width = config.num_hidden_layers * config.num_attention_heads * config.head_dim
    seen = sum(_seen(data.select([index])) for index in range(len(data)))
    flops = 2.0 * (1 + 3) * (body * read + head * scored + 2 * width * seen)
    losses = [step.loss for step in done]
    return _measured(len(data), wall, cpu, losses, flops, products.rates())


def _seen(rows: Any) -> int:
    """How many tokens, itself among them, each token of `rows` attends to; their sum."""
    import torch

    from harness.engines.packing import pack

    found = 0
    for s in pack(rows, torch.device("cpu")).segments:
        own = s.end - s.start
        found += own * (s.prefix_end - s.prefix_start) + own * (own + 1) // 2
    return found


def trl(name: str, steps: int) -> Measured:
    import warnings

    warnings.simplefilter("ignore")  # TRL's and its dependencies', not ours
    import torch
    from datasets import Dataset
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from trl import DPOConfig, DPOTrainer

    from harness.models.store import resolve

    path = resolve(name, print)
    policy, reference = (
        AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32) for _ in range(2)
    )
    rows = [
        {
            "prompt": [{"role": m.role, "content": m.content} for m in pair.prompt.messages],
            "chosen": [{"role": "assistant", "content": pair.chosen.text}],
            "rejected": [{"role": "assistant", "content": pair.rejected.text}],
        }
        for pair in examples(steps * BATCH)
    ]
    with tempfile.TemporaryDirectory() as folder:
        trainer = DPOTrainer(
            model=policy,
            ref_model=reference,
            args=DPOConfig(
                output_dir=folder, beta=BETA, learning_rate=RATE,
                per_device_train_batch_size=BATCH, num_train_epochs=1,
                train_sampling_strategy="sequential", gradient_checkpointing=False, bf16=False,
                use_cpu=True, dataloader_pin_memory=False, logging_steps=1, save_strategy="no",
                report_to="none", disable_tqdm=True,
            ),
            train_dataset=Dataset.from_list(rows),
            processing_class=AutoTokenizer.from_pretrained(path),
        )  # fmt: skip
        first = next(iter(trainer.get_train_dataloader()))
        trainer.compute_loss(policy, first).backward()
        policy.zero_grad()
        started = _now()
        trainer.train()
        wall, cpu = (after - before for before, after in zip(started, _now(), strict=True))
    losses = [float(entry["loss"]) for entry in trainer.state.log_history if "loss" in entry]
    return _measured(len(rows), wall, cpu, losses)


class Products:
    """The rate of square products by torch as it comes and by oneDNN, taken a second at a time
    between other work, whose clock is the same then; `spent` is what that took, to be left out."""

    size = 2048

    def __init__(self) -> None:
        self.spent = (0.0, 0.0)
        self.seconds = {"torch": 0.0, "oneDNN": 0.0}
        self.count = 0

    def take(self) -> None:
        import torch

        from harness.models.linear import product

        started = _now()
        left, right = torch.randn(2, self.size, self.size)
        while time.perf_counter() - started[0] < 1:
            for name, multiply in (("torch", torch.mm), ("oneDNN", product)):
                before = time.perf_counter()
                multiply(left, right)
                self.seconds[name] += time.perf_counter() - before
            self.count += 1
        wall, cpu = (now - then for now, then in zip(_now(), started, strict=True))
        self.spent = (self.spent[0] + wall, self.spent[1] + cpu)

    def rates(self) -> dict[str, float]:
        """GFLOP/s."""
        work = 2e-9 * self.size**3 * self.count
        return {name: work / seconds for name, seconds in self.seconds.items()}


def _now() -> tuple[float, float]:
    return time.perf_counter(), time.process_time()


def _measured(
    pairs: int, wall: float, cpu: float, losses: list[float], flops: float = 0.0,
    products: dict[str, float] | None = None,
) -> Measured:  # fmt: skip
    peak_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    return Measured(pairs, wall, cpu, peak_mib, tuple(losses), flops, products or {})


if __name__ == "__main__":
    main()
