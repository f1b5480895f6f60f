"""Where the program itself lies, and where it keeps what is to outlive a run."""

from __future__ import annotations

import os
from pathlib import Path

SOURCE = Path(__file__).resolve().parent.parent
"""The folder that holds the rooms: a checkout, or site-packages."""


def checkout() -> Path | None:
    """The git checkout that the program runs from; None where it is installed."""
    return SOURCE if (SOURCE / ".git").exists() else None


def home() -> Path:
    """HARNESS_HOME, else `posttrain-harness` in the user's cache directory."""
    chosen = os.environ.get("HARNESS_HOME")
    if chosen:
        return Path(chosen).expanduser().absolute()
    cache = os.environ.get("XDG_CACHE_HOME")
    return (Path(cache) if cache else Path.home() / ".cache") / "posttrain-harness"
