"""Which model on which server, as a user names it, and the key to it from the environment."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from harness.errors import HarnessError

OPENAI = "https://api.openai.com/v1"
BASE_URL, KEY = "OPENAI_BASE_URL", "OPENAI_API_KEY"
_SPEC = re.compile(r"(?P<model>.+?)(?:@(?P<url>https?://.+))?", re.S)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A model behind an OpenAI-compatible server; `base_url` ends before `/chat/completions`."""

    model: str
    base_url: str

    @classmethod
    def of(cls, text: str) -> Endpoint:
        """From `MODEL` or `MODEL@BASE_URL`; by default OPENAI_BASE_URL, else OpenAI's.

        Raises HarnessError on a URL that holds a key: URLs are shown and saved, keys never are.
        """
        found = _SPEC.fullmatch(text)
        given = found["url"] if found else None
        where = f"the address after '@' of {text.split('@')[0]}" if given else BASE_URL
        url = given or os.environ.get(BASE_URL) or OPENAI
        try:
            parts = urlsplit(url)
            fine = url.isascii() and url.isprintable() and " " not in url
            fine = fine and parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0
        except ValueError:  # a port that is no number
            fine = False
        if not found or not fine:
            raise HarnessError(
                f"{where} is no http address; write it as http://HOST:PORT/v1, such as {OPENAI}."
            )
        if parts.username or parts.password or parts.query or parts.fragment:
            raise HarnessError(
                f"{where} holds more than host and path, perhaps a key; put a key into {KEY}, "
                "where nothing saves it."
            )
        return cls(found["model"], url.rstrip("/"))

    @property
    def host(self) -> str:
        """`HOST` or `HOST:PORT`."""
        return urlsplit(self.base_url).netloc.lower()

    @property
    def is_openai(self) -> bool:
        return self.host == urlsplit(OPENAI).netloc

    @property
    def name(self) -> str:
        """The model, with its host where that is not OpenAI: two servers may call two models by
        one name."""
        return self.model if self.is_openai else f"{self.model}@{self.host}"

    @property
    def limit_name(self) -> str:
        """What the token limit is called: OpenAI's newer models refuse what others know."""
        return "max_completion_tokens" if self.is_openai else "max_tokens"

    def key(self) -> str:
        """The key from the environment; empty where there is none and the server is not OpenAI's.
        Raises HarnessError without showing it."""
        key = os.environ.get(KEY, "").strip()
        if not key.isascii() or not key.isprintable():
            raise HarnessError(f"{KEY} holds characters that no key has; copy it once more.")
        if not key and self.is_openai:
            raise HarnessError(
                f"{self.model} is asked at OpenAI, and {KEY} is not set; set it, or name another "
                f"server with NAME:{self.model}@http://HOST:PORT/v1."
            )
        return key
