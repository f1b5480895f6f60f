"""What calls cost: a price table, a ledger in the run's folder, and a budget that stops."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import TextIO

import yaml
from pydantic import TypeAdapter, ValidationError

from harness import codec, places
from harness.errors import ExitCode, HarnessError
from harness.types import Usage

PRICES = "prices.yaml"
CALLS = "calls.jsonl"
"""The ledger in a run's or an evaluation's folder, and the end of its name where it stands beside
one file: one line a call."""


@dataclass(frozen=True, slots=True)
class Price:
    """US dollars a million tokens."""

    prompt: float
    completion: float

    def of(self, prompt_tokens: int, completion_tokens: int) -> float:
        """US dollars."""
        return (prompt_tokens * self.prompt + completion_tokens * self.completion) / 1e6


def prices() -> Mapping[str, Price]:
    """The package's table, and over it the user's HARNESS_HOME/prices.yaml."""
    table = _read((files("harness.client") / PRICES).read_text("utf-8"), PRICES)
    own = places.home() / PRICES
    return {**table, **_read(own.read_text("utf-8"), str(own))} if own.exists() else table


def _read(text: str, where: str) -> dict[str, Price]:
    try:
        table = TypeAdapter(dict[str, Price]).validate_python(yaml.safe_load(text) or {})
    except (yaml.YAMLError, ValidationError) as error:
        said = " ".join(str(error).split())[:160]
        raise HarnessError(
            f"{where}: not a table such as 'my-model: {{prompt: 0.4, completion: 1.6}}', in US "
            f"dollars a million tokens ({said}); correct it."
        ) from None
    for name, price in table.items():
        if not all(math.isfinite(p) and p >= 0 for p in (price.prompt, price.completion)):
            raise HarnessError(f"{where}: the price of {name} should be 0 or more; correct it.")
    return table


class BudgetSpentError(HarnessError):
    """The budget is spent: what has come in is kept, and the same command goes on later."""

    exit_code = ExitCode.BUDGET


class Account:
    """What this process's calls came to (`calls`, `tokens`, `paid` in US dollars); `usd` holds what
    the ledger has from before as well.

    Raises BudgetSpentError before a request once `limit` US dollars are spent, so that no more than
    the requests under way go beyond it.
    """

    def __init__(self, limit: float | None = None) -> None:
        self.limit = limit
        self.calls = self.tokens = 0
        self.usd = self.paid = 0.0
        self._prices: Mapping[str, Price] | None = None
        self._ledger: TextIO | None = None

    def price(self, model: str) -> Price | None:
        if self._prices is None:
            self._prices = prices()
        return self._prices.get(model)

    def check_price(self, model: str) -> None:
        """A budget cannot hold what has no price. Raises HarnessError."""
        if self.limit is not None and self.price(model) is None:
            raise HarnessError(
                f"No price is known for {model}, so --budget-usd could not stop it; add a line "
                f"'{model}: {{prompt: …, completion: …}}' (US dollars a million tokens; 0 for a "
                f"server of your own) to {places.home() / PRICES}."
            )

    def keep_in(self, path: Path) -> None:
        """Go on with a ledger; a torn last line is dropped."""
        path.parent.mkdir(parents=True, exist_ok=True)
        raw = path.read_bytes() if path.exists() else b""
        whole = raw[: raw.rfind(b"\n") + 1]
        if whole != raw:
            with path.open("r+b") as file:
                file.truncate(len(whole))
        try:
            self.usd += sum(float(json.loads(text)["usd"]) for text in whole.splitlines())
        except (ValueError, KeyError, TypeError):
            raise HarnessError(
                f"{path} is corrupt, so what was spent is not known; delete it to count from 0."
            ) from None
        self._ledger = path.open("a", encoding="utf-8", newline="\n")

    def close(self) -> None:
        if self._ledger:
            self._ledger.close()
            self._ledger = None

    def check_budget(self) -> None:
        if self.limit is not None and self.usd >= self.limit:
            raise BudgetSpentError(
                f"The budget of ${self.limit:g} is spent (${self.usd:.4f} so far); what was "
                "answered is kept: raise --budget-usd and run the same command again to go on."
            )

    def enter(
        self, model: str, version: str, tokens: tuple[int, int], failure: str | None, detail: str
    ) -> Usage:
        """Charge one call: (prompt, completion) tokens of `model`, served as `version`."""
        price = self.price(model)
        usage = Usage(*tokens, price.of(*tokens) if price else 0.0)
        self.usd += usage.usd
        self.paid += usage.usd
        self.tokens += sum(tokens)
        self.calls += 1
        if self._ledger:
            line = {"model": version or model, "failure": failure, "detail": detail}
            cost = {"prompt_tokens": tokens[0], "completion_tokens": tokens[1], "usd": usage.usd}
            self._ledger.write(codec.line({**line, **cost}))
            self._ledger.flush()
        return usage
