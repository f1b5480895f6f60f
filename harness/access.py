"""How judges reach models: one client a process, shared by all judges of a command."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, runtime_checkable

from harness.client.account import Account
from harness.client.chat import Chat
from harness.client.client import Client
from harness.client.endpoint import Endpoint
from harness.config import JudgingConfig
from harness.judges.adapters import Judge


@runtime_checkable
class ModelJudge(Protocol):
    """A judge's class that is made from a model: `NAME:MODEL` is `of(chat, votes)`."""

    @classmethod
    def of(cls, chat: Chat, votes: int) -> Judge: ...


@dataclass(frozen=True)
class Access:
    """The client that a command's judges share, and how they are to be asked."""

    settings: JudgingConfig
    client: Client
    _endpoints: list[Endpoint] = field(default_factory=list, init=False)

    @classmethod
    def by(cls, settings: JudgingConfig) -> Access:
        account = Account(settings.budget_usd)
        return cls(settings, Client(settings.concurrency, settings.timeout, account))

    def chat(self, text: str) -> Chat:
        """A model by `MODEL` or `MODEL@BASE_URL`. Raises HarnessError."""
        endpoint = Endpoint.of(text)
        self._endpoints.append(endpoint)
        return Chat(endpoint, self.client)

    def check_keys(self) -> None:
        """Raises HarnessError where a key is missing, before anything is asked."""
        for endpoint in self._endpoints:
            endpoint.key()

    @contextmanager
    def kept_in(self, folder: Path) -> Iterator[None]:
        """Ask, with the ledger of calls in this folder."""
        if self._endpoints:
            self.client.account.keep_in(folder)
        try:
            yield
        finally:
            self.client.close()
            self.client.account.close()
