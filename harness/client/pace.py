"""How many requests are under way: additive increase, multiplicative decrease."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Pace:
    """At most `limit` slots: halved when the server says 429, one more a round of successes, up to
    `most`. Used from one event loop only."""

    def __init__(self, most: int) -> None:
        self.limit = most
        self._most = most
        self._slots = asyncio.Semaphore(most)
        self._owed = 0  # slots to be kept back when they are next given back
        self._successes = 0
        self._resume_at = 0.0
        self._slowed_at = -math.inf

    @asynccontextmanager
    async def slot(self) -> AsyncIterator[None]:
        await self._slots.acquire()
        try:
            yield
        finally:
            self._give_back()

    async def go(self) -> float:
        """Wait out the server's pause; the time (s, monotonic) at which the request is sent."""
        while (wait := self._resume_at - time.monotonic()) > 0:
            await asyncio.sleep(wait)
        return time.monotonic()

    def succeeded(self) -> None:
        self._successes += 1
        if self._successes >= self.limit and self.limit < self._most:
            self._successes = 0
            self.limit += 1
            self._give_back()

    def refused(self, sent_at: float, wait: float) -> None:
        """A 429 to a request of `sent_at`: nobody sends for `wait` seconds. Requests that were
        under way when the pace was last halved belong to the same burst and halve it once."""
        self._resume_at = max(self._resume_at, time.monotonic() + wait)
        if sent_at > self._slowed_at:
            self._slowed_at = time.monotonic()
            self._successes = 0
            fewer = max(1, self.limit // 2)
            self._owed += self.limit - fewer
            self.limit = fewer

    def _give_back(self) -> None:
        if self._owed:
            self._owed -= 1
        else:
            self._slots.release()
