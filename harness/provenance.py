"""Which code made a number: versions of what decides it, and the git revision of a checkout."""

from __future__ import annotations

import platform
import subprocess
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version

from harness.engines.vllm_installed import installed
from harness.places import checkout

DISTRIBUTION = "posttrain-harness"
NO_CHECKOUT = "not a checkout"
PACKAGES = (DISTRIBUTION, "torch", "transformers", "accelerate", "peft", "tokenizers", "numpy")


def versions() -> dict[str, str]:
    """Versions of what decides the numbers, and the git revision of a checkout."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    if (vllm := installed()) is not None:
        found[vllm.distribution] = vllm.version
    found["git"] = _git_revision()
    return found


def revision(made_by: Mapping[str, str]) -> str:
    """The code behind a stage: its git revision, or the installed package's version."""
    git = made_by.get("git", "unknown")
    return f"{DISTRIBUTION} {made_by.get(DISTRIBUTION)}" if git == NO_CHECKOUT else git


def _git_revision() -> str:
    here = checkout()
    if here is None:
        return NO_CHECKOUT
    told = subprocess.run(
        ["git", "-C", str(here), "describe", "--always", "--dirty", "--abbrev=12"],
        capture_output=True,
        text=True,
        check=False,
    )
    return told.stdout.strip() or "unknown"
