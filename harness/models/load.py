"""Weights onto a device."""

from __future__ import annotations

import ctypes
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from harness.errors import HarnessError
from harness.models.quiet import hush

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
"""Of glibc's malloc.h."""
_OWN_PAGES = 2**27
"""Blocks of so many bytes get pages of their own, and the system gets them back when they are
freed: with all of them kept, gaps between them let a training's memory grow from step to step."""


def pick_device(name: Literal["auto", "cpu", "cuda"]) -> torch.device:
    """`auto` is the GPU where there is one; HarnessError where `cuda` is asked for in vain."""
    import torch

    if name == "cuda" and not torch.cuda.is_available():
        raise HarnessError("device 'cuda' was asked for but torch sees no GPU; use device=cpu.")
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(name)


def load_model(
    path: Path, device: torch.device, dtype: torch.dtype | None = None
) -> PreTrainedModel:
    """The causal language model of a folder, in evaluation mode.

    `dtype` is float32 on a CPU and bfloat16 on a GPU unless given; a CPU multiplies as in `linear`,
    and has norms and gated layers of `fused`. Reads safetensors only and runs no code from the
    folder.
    """
    import torch
    from transformers import AutoModelForCausalLM

    from harness.models.fused import use_fused
    from harness.models.linear import use_onednn

    hush()
    if dtype is None:
        dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
    try:
        model: Any = AutoModelForCausalLM.from_pretrained(
            path, dtype=dtype, use_safetensors=True, trust_remote_code=False, local_files_only=True
        )
    except (OSError, ValueError) as error:
        raise HarnessError(
            f"cannot load a model from {path} ({error}); point to a complete safetensors folder."
        ) from error
    loaded: PreTrainedModel = model.eval().to(device)
    use_onednn(loaded)
    use_fused(loaded)
    if device.type == "cpu":
        _keep_memory()
    return loaded


def _keep_memory() -> None:
    """Let glibc keep what this process frees, but for the largest blocks. Else a tensor's memory
    goes back to the system at once, and the next one's is fresh pages that the system fills with
    zeros first: a tenth of a training's time. Other C libraries stay as they are."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        if not mallopt(_M_MMAP_THRESHOLD, _OWN_PAGES):
            mallopt(_M_MMAP_THRESHOLD, 2**25)  # the most that older versions of glibc take
        mallopt(_M_TRIM_THRESHOLD, -1)
