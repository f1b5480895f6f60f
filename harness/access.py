"""How judges, and whoever else asks, reach models: one client a process, shared by all of a
command."""

from __future__ import annotations

from collections.abc import Callable, Iterator
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

Say = Callable[[str], None]
NO_PRICE = "no price is known"


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

    @property
    def asks_models(self) -> bool:
        """Whether any judge of the command asks a model."""
        return bool(self._endpoints)

    def check_keys(self) -> None:
        """Raises HarnessError where a key is missing, before anything is asked."""
        for endpoint in self._endpoints:
            endpoint.key()

    @contextmanager
    def kept_in(self, ledger: Path, say: Say, who: str = "judges") -> Iterator[None]:
        """Ask, each call a line of this ledger; at the end, however it comes, say what it cost."""
        account = self.client.account
        if self.asks_models:
            account.keep_in(ledger)
        try:
            yield
        finally:
            self.client.close()
            account.close()
            if self.asks_models:
                paid, spent = _dollars(account.paid), _dollars(account.usd)
                cost = f"{paid}, with earlier starts {spent}" if self._priced else NO_PRICE
                say(f"{who}: {account.calls:,} calls, {account.tokens:,} tokens, {cost} → {ledger}")

    def say_forecast(self, calls: int, usd: float | None, say: Say, what: str = "judging") -> None:
        """What is still to be asked takes at most; nothing is said where no model is asked."""
        account = self.client.account
        if self.asks_models:
            most = f"{what}: at most {calls:,} calls"
            limit = "" if account.limit is None else f", budget ${account.limit:g}"
            if usd is None:
                say(f"{most} to come, {NO_PRICE}")
            else:
                spent = _dollars(account.usd)
                say(f"{most} and {_dollars(usd)} to come, {spent} spent{limit}")

    @property
    def _priced(self) -> bool:
        return None not in [self.client.account.price(e.model) for e in self._endpoints]


def _dollars(usd: float) -> str:
    return f"${usd:.4f}" if 0 < usd < 1 else f"${usd:.2f}"
