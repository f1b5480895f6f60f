"""The one HTTP client of a process, for any OpenAI-compatible server.

It lives in a thread with an event loop of its own, so that ordinary code can ask many questions at
a time and read the answers in order. httpx2 (what `openai` itself sends with) is used directly:
`openai`'s client costs 2.4 times the processor time a call.
"""

from __future__ import annotations

import asyncio
import atexit
import random
import threading
from collections import Counter
from collections.abc import Coroutine
from concurrent.futures import Future
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from itertools import count
from typing import TYPE_CHECKING, Any, TypeVar

from harness import places
from harness.client.account import Account
from harness.client.cache import FILE, Cache
from harness.client.endpoint import Endpoint
from harness.client.pace import Pace
from harness.client.replies import FailureError, Reply, read_error, read_reply
from harness.errors import HarnessError

if TYPE_CHECKING:
    from httpx2 import AsyncClient, Response

T = TypeVar("T")

ATTEMPTS, REFUSALS = 5, 12
"""Failed attempts, and 429s, after which a request counts as failed."""
BACKOFF, CROWDED, LONGEST = 0.5, 1.0, 120.0
"""Seconds: the wait after the first failed attempt (then twice as long each time, give or take a
half), after a 429 that does not say, and the longest that a server can ask for."""
WRONG_REQUEST = {401: "refuses the key in OPENAI_API_KEY", 404: "does not know this model or path"}


class _AgainError(Exception):
    """An attempt that failed and may succeed later, after `wait` seconds where the server says so;
    `crowded`: there were too many at a time."""

    def __init__(self, failure: FailureError, wait: float = 0.0, crowded: bool = False) -> None:
        super().__init__(failure.reason)
        self.failure, self.wait, self.crowded = failure, wait, crowded


class Client:
    """At most `concurrency` requests at a time, each attempt within `timeout` seconds.

    Nothing is imported, opened or started before the first request. `close`, at the latest at the
    process's exit, ends the thread; a later request starts it again.
    """

    def __init__(
        self, concurrency: int = 32, timeout: float = 120.0, account: Account | None = None
    ) -> None:
        self.account = account or Account()
        self._timeout = timeout
        self._concurrency = concurrency
        self._tickets = count()
        self._pace = Pace(concurrency)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._http: AsyncClient | None = None
        self._cache: Cache | None = None

    @property
    def cache(self) -> Cache:
        """What was answered before, by any process; for use in the client's thread only."""
        self._cache = self._cache or Cache(places.home() / FILE)
        return self._cache

    def submit(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        """Run a coroutine in the client's thread."""
        if self._loop is None:
            self._loop = asyncio.new_event_loop()
            self._pace = Pace(self._concurrency)
            # a daemon: a process that ends in an error does not wait for a server
            self._thread = threading.Thread(
                target=self._loop.run_forever, name="judge-client", daemon=True
            )
            self._thread.start()
            atexit.register(self.close)
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    def close(self) -> None:
        if self._loop is None or self._thread is None:
            return
        atexit.unregister(self.close)
        self.submit(self._shut()).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        self._loop = self._thread = self._http = self._cache = None

    async def _shut(self) -> None:
        rest = asyncio.all_tasks() - {asyncio.current_task()}
        for task in rest:
            task.cancel()
        await asyncio.gather(*rest, return_exceptions=True)
        if self._http:
            await self._http.aclose()
        if self._cache:
            self._cache.close()

    async def complete(self, endpoint: Endpoint, body: bytes) -> Reply:
        """One chat completion for a JSON body; runs in the client's thread.

        408, 429, 5xx, lost connections and timeouts are tried again. Raises
        FailureError, BudgetSpentError before a request that no budget is left for, and HarnessError
        where the server says that no request like this can succeed.
        """
        ticket, tries = next(self._tickets), Counter[bool]()
        while True:
            try:
                async with self._pace.slot(ticket) as sent_at:
                    return await self._attempt(endpoint, body, sent_at)
            except _AgainError as again:
                failure = again.failure
                tries[again.crowded] += 1
                if tries[again.crowded] == (REFUSALS if again.crowded else ATTEMPTS):
                    raise failure from None
                self.account.enter(endpoint.model, "", (0, 0), failure.reason, failure.detail)
                if not again.crowded:
                    backoff = BACKOFF * 2 ** (tries[False] - 1) * random.uniform(0.5, 1.5)
                    await asyncio.sleep(again.wait or backoff)

    async def _attempt(self, endpoint: Endpoint, body: bytes, sent_at: float) -> Reply:
        self.account.check_budget()
        response = await self._post(endpoint, body)
        status, content = response.status_code, _without(endpoint.key(), response.content)
        if status == 200:
            self._pace.succeeded()
            return read_reply(content, len(body))
        failure = read_error(status, content)
        if status in WRONG_REQUEST:
            raise HarnessError(
                f"{endpoint.host} {WRONG_REQUEST[status]} (model {endpoint.model}: "
                f"{failure.detail}); correct it and run the same command again."
            )
        wait = _retry_after(response.headers.get("retry-after", ""))
        if status == 429:  # within the slot, so that whoever gets it next waits too
            self._pace.refused(sent_at, CROWDED if wait is None else wait)
        if status in {408, 429} or status >= 500:
            raise _AgainError(failure, wait or 0.0, crowded=status == 429)
        raise failure

    async def _post(self, endpoint: Endpoint, body: bytes) -> Response:
        import httpx2

        if self._http is None:
            # the pace bounds connections; the timeout below covers a reply that trickles in, too
            unbounded = httpx2.Limits(max_connections=None, max_keepalive_connections=None)
            self._http = httpx2.AsyncClient(limits=unbounded, timeout=None)
        headers = {"Content-Type": "application/json"}
        if key := endpoint.key():
            headers["Authorization"] = f"Bearer {key}"
        url = f"{endpoint.base_url}/chat/completions"
        try:
            async with asyncio.timeout(self._timeout):
                return await self._http.post(url, content=body, headers=headers)
        except TimeoutError:
            late = FailureError("timeout", f"no answer in {self._timeout:g} s")
            raise _AgainError(late) from None
        except httpx2.HTTPError as error:  # its text may quote a header
            raise _AgainError(FailureError("connection failed", type(error).__name__)) from None


def _without(key: str, content: bytes) -> bytes:
    """What a server said, less the key if it repeats it."""
    return content.replace(key.encode(), b"[key]") if key else content


def _retry_after(text: str) -> float | None:
    """Seconds, at most LONGEST, from a Retry-After header: a number or an HTTP date."""
    try:
        return min(max(0.0, float(text)), LONGEST)
    except ValueError:
        pass
    try:
        until = parsedate_to_datetime(text)
    except ValueError:
        return None
    until = until if until.tzinfo else until.replace(tzinfo=UTC)
    return min(max(0.0, until.timestamp() - datetime.now(UTC).timestamp()), LONGEST)
