"""`python -m harness.engines.vllm_worker`: a process that holds one copy of a model in vLLM.

Lines of JSON come in: a `Model`, then any number of `Job`s. Lines go out: a `Sampled` as each
completion is finished, `null` after a job's last one, or `{"error": …}` before it ends. It also
ends when its input does, and when who started it is gone. Whatever vLLM prints goes to standard
error.
"""

from __future__ import annotations

import json
import os
import sys
import time
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from threading import Thread
from typing import TYPE_CHECKING

from harness import codec
from harness.types import FinishReason

if TYPE_CHECKING:
    from vllm import LLMEngine

_CPU_CACHE = 4 * 2**30
"""Bytes of keys and values on a CPU, where vLLM would take nine tenths of the machine."""

_REASON = 400
"""Characters of an error that are told; all of it stands in the log."""


@dataclass(frozen=True, slots=True)
class Model:
    """A model folder, on how many GPUs (0: the CPU) and at most so many rows at a time."""

    path: str
    dtype: str
    gpus: int
    gpu_memory: float
    rows: int


@dataclass(frozen=True, slots=True)
class Request:
    """Completions of one prompt, one a seed (in [0, 2⁶³)), numbered from `first` on."""

    first: int
    prompt_ids: tuple[int, ...]
    seeds: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Job:
    """Completions to sample alike; each ends with one of `stop_ids` or at the limit."""

    requests: tuple[Request, ...]
    temperature: float
    top_p: float
    max_new_tokens: int
    stop_ids: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Sampled:
    """The completion of that number, its end token included."""

    number: int
    token_ids: tuple[int, ...]
    finish_reason: FinishReason


def main() -> None:
    Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # vLLM and what it starts print where they like

    def tell(message: codec.Json) -> None:
        answers.write(codec.line(message))
        answers.flush()

    try:
        engine = _engine(codec.load(Model, json.loads(sys.stdin.readline())))
        for line in sys.stdin:
            for sampled in _sampled(engine, codec.load(Job, json.loads(line))):
                tell(codec.dump(sampled))
            tell(None)
        engine.engine_core.shutdown()
    except BrokenPipeError:  # nobody is there to hear it
        raise SystemExit(1) from None
    except Exception as error:
        traceback.print_exc()
        reason = " ".join(str(error).split()) or "no reason given"
        tell({"error": f"{type(error).__name__}: {reason[:_REASON]}"})
        raise SystemExit(1) from None


def _end_with(parent: int) -> None:
    """A process that was killed closes no input: without this, loading would go on for nobody."""
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)


def _engine(model: Model) -> LLMEngine:
    from vllm import EngineArgs, LLMEngine

    return LLMEngine.from_engine_args(
        EngineArgs(
            model=model.path,
            dtype=model.dtype,
            load_format="safetensors",
            trust_remote_code=False,
            skip_tokenizer_init=True,
            generation_config="vllm",  # none of the folder's: a job says all
            max_model_len=-1,  # the model's context, or as much of it as memory holds
            max_num_seqs=model.rows,
            enable_prefix_caching=True,
            tensor_parallel_size=max(1, model.gpus),
            gpu_memory_utilization=model.gpu_memory,
            kv_cache_memory_bytes=None if model.gpus else _CPU_CACHE,
            # vLLM 0.32 cannot take back a CPU stream's draw for the first part of a prompt.
            enable_chunked_prefill=None if model.gpus else False,
            disable_log_stats=True,
        )
    )


def _sampled(engine: LLMEngine, job: Job) -> Iterator[Sampled]:
    """The job's completions, in the order in which they finish."""
    from vllm import SamplingParams
    from vllm.inputs import tokens_input
    from vllm.sampling_params import RequestOutputKind

    room = engine.model_config.max_model_len
    longest = max(len(request.prompt_ids) for request in job.requests) + job.max_new_tokens
    if longest > room:  # vLLM would cut such rows short in silence
        raise MemoryError(f"memory has room for rows of {room} tokens, and one may need {longest}")
    for request in job.requests:
        for number, seed in enumerate(request.seeds, start=request.first):
            params = SamplingParams(
                n=1,
                temperature=job.temperature,
                top_p=job.top_p,
                max_tokens=job.max_new_tokens,
                seed=seed,
                stop_token_ids=list(job.stop_ids),
                detokenize=False,
                output_kind=RequestOutputKind.FINAL_ONLY,
            )
            engine.add_request(str(number), tokens_input(list(request.prompt_ids)), params)
    while engine.has_unfinished_requests():
        for output in engine.step():
            if output.finished:
                (found,) = output.outputs
                yield codec.load(
                    Sampled,
                    {
                        "number": output.request_id,
                        "token_ids": found.token_ids,
                        "finish_reason": found.finish_reason,
                    },
                )


if __name__ == "__main__":
    main()
