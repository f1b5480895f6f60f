"""Times 805 comparisons by the judge `alpaca-eval` against a server on loopback, in a process of
its own: processor time of the client where the server answers at once, wall time where it takes
50 ms at concurrency 64; then the same once more, from the cache.

    python benchmarks/judge_client.py
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time

COMPARISONS, LATENCY, CONCURRENCY = 805, 0.05, 64
CPU_LIMIT, WALL_LIMIT = 3.5, 3.0
"""Seconds. AlpacaEval's own client takes 34.8 s of one core for the first."""

TOP = [{"token": "m", "logprob": -0.2}, {"token": "M", "logprob": -1.7}]
BODY = json.dumps(
    {
        "model": "fake-2024",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "m"},
                "finish_reason": "length",
                "logprobs": {"content": [{"token": "m", "logprob": -0.2, "top_logprobs": TOP}]},
            }
        ],
        "usage": {"prompt_tokens": 1000, "completion_tokens": 1},
    }
).encode()
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"


async def serve(latency: float) -> None:
    """Says its port, then answers every request alike after `latency` seconds."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).lower()
                await reader.readexactly(int(head.split(b"content-length:")[1].split(b"\r\n")[0]))
                await asyncio.sleep(latency)
                writer.write(HEAD % len(BODY) + BODY)
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0, backlog=256)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


def measure(latency: float, concurrency: int) -> tuple[float, float, float, int]:
    """(processor seconds of this process so far, imports included; wall seconds; wall seconds of a
    second run; its calls)."""
    from harness import registry
    from harness.access import Access
    from harness.config import JudgingConfig
    from harness.types import Completion, Match, Message, PairJudge, Prompt

    def match(i: int) -> Match:
        prompt = Prompt(f"p{i}", (Message("user", f"Explain number {i} to a child."),))
        answers = [Completion(prompt.id, n, f"{i} is {word} " * 200) for n, word in enumerate("ab")]
        return Match(f"m{i}", prompt, *answers)

    matches = [match(i) for i in range(COMPARISONS)]
    line = [sys.executable, __file__, "serve", str(latency)]
    with (
        subprocess.Popen(line, stdout=subprocess.PIPE, text=True) as server,
        tempfile.TemporaryDirectory() as home,
    ):
        os.environ["HARNESS_HOME"] = home
        assert server.stdout
        port = int(server.stdout.readline())
        found = []
        for _ in range(2):
            access = Access.by(JudgingConfig(concurrency=concurrency))
            judge = registry.make_judge(f"alpaca-eval:fake@http://127.0.0.1:{port}/v1", access)
            assert isinstance(judge, PairJudge)
            wall = time.perf_counter()
            assert all(verdict.p is not None for verdict in judge.compare(matches))
            took = time.process_time(), time.perf_counter() - wall
            access.client.close()
            found.append((*took, access.client.account.calls))
        server.terminate()
    (cpu, wall, _), (_, again, calls) = found
    return cpu, wall, again, calls


def main() -> None:
    if sys.argv[1:2] == ["serve"]:
        asyncio.run(serve(float(sys.argv[2])))
        return
    cpu, wall, again, calls = measure(0.0, 32)
    print(f"no latency:            {cpu:.2f} s of one core (limit {CPU_LIMIT}), {wall:.2f} s wall")
    print(f"  once more:           {calls} calls, {again:.2f} s wall")
    _, wall, again, calls = measure(LATENCY, CONCURRENCY)
    print(f"50 ms, 64 at a time:   {wall:.2f} s wall (limit {WALL_LIMIT})")
    print(f"  once more:           {calls} calls, {again:.2f} s wall")


if __name__ == "__main__":
    main()
