"""How many requests are under way: additive increase, multiplicative decrease."""

from __future__ import annotations

import asyncio
import heapq
import math
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count


class Pace:
    """At most `limit` requests at a time: halved when the server says 429, one more a round of
    successes, up to `most`. Used from one event loop only."""

    def __init__(self, most: int) -> None:
        self.limit = most
        self._most = most
        self._active = 0
        self._waiting: list[tuple[int, int, asyncio.Future[None]]] = []
        self._arrivals = count()
        self._successes = 0
        self._resume_at = 0.0
        self._slowed_at = -math.inf

    @asynccontextmanager
    async def slot(self, ticket: int) -> AsyncIterator[float]:
        """Hold a place, and give the time (s, monotonic) at which the request is sent. Lower
        tickets come first, so that one that is tried again does not queue behind all others."""
        await self._enter(ticket)
        try:
            while (wait := self._resume_at - time.monotonic()) > 0:
                await asyncio.sleep(wait)
            yield time.monotonic()
        finally:
            self._leave()

    def succeeded(self) -> None:
        self._successes += 1
        if self._successes >= self.limit and self.limit < self._most:
            self._successes = 0
            self.limit += 1

    def refused(self, sent_at: float, wait: float) -> None:
        """A 429 to a request of `sent_at`: nobody sends for `wait` seconds. Requests that were
        under way when the pace was last halved belong to the same burst and halve it once."""
        self._resume_at = max(self._resume_at, time.monotonic() + wait)
        if sent_at > self._slowed_at:
            self._slowed_at = time.monotonic()
            self._successes = 0
            self.limit = max(1, self.limit // 2)

    async def _enter(self, ticket: int) -> None:
        if self._active < self.limit and not self._waiting:
            self._active += 1
            return
        place = asyncio.get_running_loop().create_future()
        heapq.heappush(self._waiting, (ticket, next(self._arrivals), place))
        try:
            await place
        except asyncio.CancelledError:
            if not place.cancelled():  # it had been given the place by then
                self._leave()
            raise

    def _leave(self) -> None:
        self._active -= 1
        while self._waiting and self._active < self.limit:
            _, _, place = heapq.heappop(self._waiting)
            if not place.done():
                self._active += 1
                place.set_result(None)
