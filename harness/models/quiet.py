"""One place that keeps the model libraries' progress bars and advice off the user's terminal."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator
from functools import cache
from typing import Any


@cache
def hush() -> None:
    """Errors still raise; only bars and advisory log lines go. Safe to call again.

    Every function of this room that is about to use transformers calls it first, so that nobody
    else has to remember to.
    """
    import huggingface_hub.utils
    import transformers.utils.logging

    hub: Any = huggingface_hub.utils  # Any: neither library types these functions
    logging: Any = transformers.utils.logging
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    hub.disable_progress_bars()


@contextlib.contextmanager
def no_stderr() -> Iterator[None]:
    """For the few library loops whose progress bar knows no switch; exceptions pass through."""
    with contextlib.redirect_stderr(io.StringIO()):
        yield
