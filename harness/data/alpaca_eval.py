"""AlpacaEval 2.0: 805 instructions and the answers of its baseline, GPT-4-Turbo.

The data are CC BY-NC 4.0, so the project carries none of them. They are read from where the user
has them, or fetched as one plain file from the Hugging Face hub, and known by a digest.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

from harness import codec
from harness.data.annotations import Located, json_rows
from harness.data.sources import parquet_rows
from harness.data.standin import NotHereError, Size
from harness.errors import HarnessError
from harness.scoring import alpaca
from harness.types import Message, Prompt

NAME = "alpaca_eval"
VERSION = "alpaca_eval-2.0"
BASELINE = "gpt4_1106_preview"
REPOSITORY, HUB_FILE = "tatsu-lab/alpaca_eval", "alpaca_eval_gpt4_baseline.json"
CHECKOUT_FILE = f"results/{BASELINE}/model_outputs.json"
PARQUET_FILE = "instructions.parquet"
SIZE = 805
INSTRUCTION, OUTPUT = 165, 2049
"""Mean characters."""
SHA256 = "a71649e7750646f4e8be4e32a445531be5da3ba2d20bba60904355e18939c843"
"""Of the pairs of instruction and baseline output, see `content_digest`."""


def load_prompts(folder: Path | None, fetch: bool) -> list[Prompt]:
    """The 805 prompts in AlpacaEval's order; `gold` is the baseline's output.

    `folder` is a checkout of alpaca_eval, or holds `instructions.parquet` (columns instruction,
    dataset, gpt4_1106_preview_output); without it the file comes from the hub's cache, and from
    the hub where `fetch` allows. Raises HarnessError where the contents are not AlpacaEval's, and
    NotHereError where they would have to be fetched.
    """
    path, output = _find(folder) if folder else (_from_hub(fetch), "output")
    rows = list(parquet_rows(path) if path.suffix == ".parquet" else json_rows(path))
    prompts = [_prompt(row, output, where) for where, row in rows]
    if content_digest(prompts) != SHA256:
        raise HarnessError(
            f"{path} does not hold AlpacaEval 2.0's instructions and {BASELINE} outputs: "
            f"{_difference(rows, prompts)}; take {HUB_FILE} of the hub's data set {REPOSITORY}, or "
            "a fresh checkout of the GitHub repository of that name."
        )
    return prompts


def content_digest(prompts: Sequence[Prompt]) -> str:
    """sha256 over [instruction, output], sorted: the same whatever the file and its order."""
    pairs = sorted([prompt.instruction, prompt.gold] for prompt in prompts)
    return _sha256("".join(map(codec.line, pairs)))


def subset(prompts: Sequence[Prompt], count: int) -> list[Prompt]:
    """`count` prompts, always the same ones, in their order.

    Those with the smallest ids, which are hashes: AlpacaEval's order is by source, so that its
    first prompts would be of one kind.
    """
    chosen = set(sorted(prompt.id for prompt in prompts)[:count])
    return [prompt for prompt in prompts if prompt.id in chosen]


def _find(folder: Path) -> tuple[Path, str]:
    """The file in a user's folder, and its column of the baseline's outputs."""
    folder = folder.expanduser()
    for name, output in ((CHECKOUT_FILE, "output"), (PARQUET_FILE, f"{BASELINE}_output")):
        if (folder / name).is_file():
            return folder / name, output
    raise HarnessError(
        f"{folder} holds neither {CHECKOUT_FILE} nor {PARQUET_FILE}; name a checkout of "
        "alpaca_eval with --alpaca-dir, or leave it out to fetch the file from the hub."
    )


def _from_hub(fetch: bool) -> Path:
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    from harness.models.quiet import hush

    def get(local: bool) -> Path:
        return Path(
            hf_hub_download(REPOSITORY, HUB_FILE, repo_type="dataset", local_files_only=local)
        )

    hush()
    try:
        return get(local=True)
    except LocalEntryNotFoundError:
        if not fetch:
            raise NotHereError(
                VERSION,
                f"AlpacaEval's {HUB_FILE} is not here yet, and a plan fetches nothing; start the "
                "run, or name a checkout of alpaca_eval with --alpaca-dir.",
                Size(SIZE, INSTRUCTION, OUTPUT),
            ) from None
    try:
        return get(local=False)
    except (HfHubHTTPError, OSError, ValueError) as error:
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise HarnessError(
            f"AlpacaEval's {HUB_FILE} cannot be fetched from the Hugging Face hub ({reason}); "
            "check the network, or name a checkout of alpaca_eval with --alpaca-dir."
        ) from error


def _prompt(row: object, output: str, where: str) -> Prompt:
    wanted = ("instruction", output)
    if not isinstance(row, dict) or not all(isinstance(row.get(key), str) for key in wanted):
        raise HarnessError(f"{where}: it needs the texts 'instruction' and '{output}'.")
    instruction = row["instruction"]
    return Prompt(
        id=f"alpaca-{_sha256(instruction)[:12]}",
        messages=(Message("user", instruction),),
        gold=row[output],
        source=str(row.get("dataset", NAME)),
    )


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()


def _difference(rows: Sequence[Located], prompts: Sequence[Prompt]) -> str:
    """What is wrong, as far as hashes of the instructions can tell."""
    known = alpaca.known(prompt.instruction for prompt in prompts)
    for (where, _), prompt, right in zip(rows, prompts, known, strict=True):
        if not right:
            return (
                f"{where.rpartition(', ')[2]} has another instruction, {prompt.instruction[:50]!r}"
            )
    if len({prompt.id for prompt in prompts}) != SIZE or len(prompts) != SIZE:
        return f"it has {len(prompts)} rows with {len({p.id for p in prompts})} instructions"
    return "all instructions are there, but an output (or white space) differs"
