"""A policy: weights in a folder, known by what is in it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from harness.store import sha256_file, sha256_text


@dataclass(frozen=True, slots=True)
class Policy:
    """Weights in a Hugging Face folder, and the digest of what is in it."""

    path: Path
    digest: str


def find_policy(model: str, say: Callable[[str], None], pull: bool = True) -> Policy:
    """A model by name or folder; its digest is empty where it is missing and not pulled."""
    from harness.models.store import present, resolve

    if not pull and not present(model):
        return Policy(Path(model), "")
    path = resolve(model, say)
    return Policy(path, policy_digest(path))


def policy_digest(path: Path) -> str:
    """sha256 over the names and contents of a model folder's files that decide its outputs."""
    used = [
        file
        for file in sorted(path.iterdir())
        if file.suffix in {".safetensors", ".json", ".jinja", ".model", ".txt"}
        and file.name != "provenance.json"
    ]
    return sha256_text("\n".join(f"{file.name} {sha256_file(file)}" for file in used))
