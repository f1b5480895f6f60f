"""Sampling by vLLM, in processes of its own: when they end, all of their memory comes back."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from queue import SimpleQueue
from threading import Thread

from harness import codec
from harness.config import Device, EngineConfig
from harness.engines.draws import stream
from harness.engines.vllm_installed import gpus
from harness.engines.vllm_worker import Job, Model, Request, Sampled
from harness.errors import HarnessError
from harness.models.chat import ChatTokenizer, check_context, context_length
from harness.types import Completion, Prompt, SampleSpec

_PATIENCE = 30.0
"""Seconds that a process has to end by itself."""


class VLLMEngine:
    """A model that answers prompts, each of its samples a request with a seed of its own.

    Seeds follow from the random stream of (run seed, prompt, sample); what vLLM makes of them is
    the same from run to run on one machine, but for rounding, which depends on what else is in a
    batch. Processes start when something is to be sampled and stay until `close`. Not thread-safe.
    """

    def __init__(self, path: Path, device: Device, settings: EngineConfig):
        """HarnessError when the folder is unusable or vLLM cannot run here."""
        self.chat = ChatTokenizer.load(path)
        self.context_length = context_length(path)
        self._settings = settings
        count = gpus(settings, device)
        self._model = Model(
            path=str(path.resolve()),
            dtype="bfloat16" if count else "float32",  # as `load_model` has it
            gpus=count,
            gpu_memory=settings.gpu_memory,
            rows=settings.batch_size,
        )
        self._copies: list[_Copy] = []
        self._said: SimpleQueue[tuple[_Copy, codec.Json]] = SimpleQueue()
        self._closed = False

    def close(self) -> None:
        """End the processes; nothing but `chat` works afterwards."""
        self._closed = True
        self._end()

    def check_context(self, prompts: Sequence[Prompt], max_new_tokens: int) -> None:
        """HarnessError naming the first prompt that leaves too little room for an answer."""
        check_context(self.chat, self.context_length, prompts, max_new_tokens)

    def sample(self, prompts: Sequence[Prompt], spec: SampleSpec) -> Iterator[Completion]:
        """`spec.samples` completions of each prompt, in the order in which they finish.

        HarnessError (before anything is sampled) when a prompt does not fit; later, when a process
        fails: what was yielded until then is whole.
        """
        self.check_context(prompts, spec.max_new_tokens)
        return self._sample(prompts, spec)

    def _sample(self, prompts: Sequence[Prompt], spec: SampleSpec) -> Iterator[Completion]:
        if self._closed:
            raise RuntimeError("the engine was closed")
        rows = [(prompt, sample) for prompt in prompts for sample in range(spec.samples)]
        if not rows:
            return
        finished = False
        try:
            for sampled in self._answers(self._jobs(prompts, spec)):
                prompt, sample = rows[sampled.number]
                yield Completion(
                    prompt_id=prompt.id,
                    sample=sample,
                    text=self.chat.decode(sampled.token_ids),
                    token_ids=sampled.token_ids,
                    finish_reason=sampled.finish_reason,
                    source=spec.source,
                )
            finished = True
        finally:
            if not finished:  # they are in the middle of something that nobody waits for any more
                self._end(kill=True)

    def _jobs(self, prompts: Sequence[Prompt], spec: SampleSpec) -> list[Job]:
        """One a copy of the model. A prompt's samples stay together: it is computed once."""
        parts: list[list[Request]] = [[] for _ in range(self._settings.data_parallel)]
        for at, prompt in enumerate(prompts):
            ids = tuple(self.chat.prompt_ids(prompt))
            seeds = tuple(stream(spec.seed, prompt.id, k) >> 65 for k in range(spec.samples))
            parts[at % len(parts)].append(Request(at * spec.samples, ids, seeds))
        stop_ids = tuple(sorted(self.chat.stop_ids))
        return [
            Job(tuple(part), spec.temperature, spec.top_p, spec.max_new_tokens, stop_ids)
            for part in parts
            if part
        ]

    def _answers(self, jobs: Sequence[Job]) -> Iterator[Sampled]:
        while len(self._copies) < len(jobs):
            self._copies.append(_Copy(self._model, len(self._copies), self._said))
        for copy, job in zip(self._copies, jobs, strict=False):
            copy.send(job)
        busy = len(jobs)
        while busy:
            copy, message = self._said.get()
            match message:
                case None:
                    busy -= 1
                case {"error": text}:
                    raise copy.failure(text)
                case _:
                    yield codec.load(Sampled, message)

    def _end(self, *, kill: bool = False) -> None:
        copies, self._copies, self._said = self._copies, [], SimpleQueue()
        for copy in copies:
            copy.end(kill)


class _Copy:
    """A process of `vllm_worker`, the number-th; what it says goes to `said`, its end as an error.
    Its log is deleted unless it failed."""

    def __init__(
        self, model: Model, number: int, said: SimpleQueue[tuple[_Copy, codec.Json]]
    ) -> None:
        with tempfile.NamedTemporaryFile(prefix="vllm-", suffix=".log", delete=False) as log:
            self._log = Path(log.name)
            self._failed = False
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "harness.engines.vllm_worker"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                encoding="utf-8",
                env=_environment(model.gpus, number),
                start_new_session=True,  # a Ctrl-C is for the process that started it
            )
        self._reader = Thread(target=self._read, args=(said,), daemon=True)
        self._reader.start()
        self.send(model)

    def send(self, message: Model | Job) -> None:
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):  # the reader tells of its end
            self._process.stdin.write(codec.line(codec.dump(message)))
            self._process.stdin.flush()

    def _read(self, said: SimpleQueue[tuple[_Copy, codec.Json]]) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.endswith("\n"):  # the last one of a process that was killed may be torn
                said.put((self, json.loads(line)))
        said.put((self, {"error": ""}))

    def failure(self, text: str) -> HarnessError:
        """What its error, or its end without one (empty `text`), is to the user."""
        self._failed = True
        no_memory = "memory" in text.lower()
        if not text:
            code = self._process.wait()
            ended = f"signal {-code}" if code < 0 else f"exit code {code}"
            text = f"it ended without a word ({ended})"
            no_memory = code == -signal.SIGKILL  # the kernel's answer to who takes too much
        log = self._log.read_text("utf-8", errors="replace")
        if no_memory or re.search("out of memory|OutOfMemory|bad_alloc", log):
            return HarnessError(
                f"vLLM has too little memory: {text}; lower batch_size, or gpu_memory where others "
                "use the GPU, or share the model among more GPUs by tensor_parallel (its log: "
                f"{self._log}). What was sampled is kept."
            )
        return HarnessError(
            f"vLLM failed: {text}; its log is {self._log}. What was sampled is kept: run the same "
            "command again, or use engine=transformers."
        )

    def end(self, kill: bool) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with suppress(BrokenPipeError):
            self._process.stdin.close()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(0 if kill else _PATIENCE)
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)  # with whatever it started
        self._process.wait()
        self._reader.join()
        self._process.stdout.close()
        if not self._failed:
            self._log.unlink(missing_ok=True)


def _environment(gpus: int, number: int) -> dict[str, str]:
    """vLLM's settings that are no arguments, and which GPUs the number-th copy gets."""
    environment = {
        **os.environ,
        "VLLM_ENABLE_V1_MULTIPROCESSING": "0",  # it has a process; and this keeps the order fixed
        "VLLM_NO_USAGE_STATS": "1",
        "HF_HUB_OFFLINE": "1",
    }
    if gpus:
        import torch

        given = os.environ.get("CUDA_VISIBLE_DEVICES")
        visible = given.split(",") if given else list(map(str, range(torch.cuda.device_count())))
        environment["CUDA_VISIBLE_DEVICES"] = ",".join(visible[number * gpus :][:gpus])
    return environment
