"""A model's outputs from a file in AlpacaEval's format (model_outputs.json)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.data.annotations import json_rows
from harness.data.sources import clean
from harness.errors import HarnessError
from harness.types import Prompt


@dataclass(frozen=True, slots=True)
class GivenOutputs:
    """Texts by prompt id, and who wrote them."""

    texts: Mapping[str, str]
    generator: str


@dataclass(frozen=True, slots=True)
class Output:
    """One row; `where` names file and row."""

    where: str
    instruction: str
    text: str
    generator: str
    dataset: str


def read_outputs(path: Path, prompts: Sequence[Prompt]) -> GivenOutputs:
    """Outputs matched to a benchmark's prompts by their instructions, never by position.

    Surrounding white space of an instruction does not count. Raises HarnessError with file and row
    on what is malformed, there twice, or no instruction of the benchmark.
    """
    ids = _ids(prompts)
    texts: dict[str, str] = {}
    rows = read_rows(path)
    for row in rows:
        identity = ids.get(row.instruction)
        if identity is None:
            raise HarnessError(
                f"{row.where}: the benchmark has no instruction {row.instruction[:50]!r}; name the "
                "--benchmark that these outputs answer, or remove the row."
            )
        texts[identity] = row.text
    return GivenOutputs(texts, generator_of(path, rows))


def read_rows(path: Path) -> list[Output]:
    """All outputs of a file, of any benchmark, each instruction once."""
    rows: dict[str, Output] = {}
    for where, row in json_rows(path):
        wanted = ("instruction", "output")
        if not isinstance(row, dict) or not all(isinstance(row.get(key), str) for key in wanted):
            raise HarnessError(f"{where}: it needs the texts 'instruction' and 'output'.")
        instruction = clean(row["instruction"]).strip()
        if instruction in rows:
            raise HarnessError(
                f"{where}: an output to {instruction[:50]!r} was there before; keep one."
            )
        generator = str(row.get("generator") or path.stem)
        dataset = str(row.get("dataset") or "")
        rows[instruction] = Output(where, instruction, clean(row["output"]), generator, dataset)
    if not rows:
        raise HarnessError(f"{path}: no outputs in it; give at least one row.")
    return list(rows.values())


def generator_of(path: Path, rows: Sequence[Output]) -> str:
    """The one that wrote all rows. Raises HarnessError where there are several."""
    names = sorted({row.generator for row in rows})
    if len(names) > 1:
        raise HarnessError(
            f"{path}: outputs of {len(names)} generators ({names[0]!r}, {names[1]!r} …) in one "
            "file; give one file a model."
        )
    return names[0]


def _ids(prompts: Sequence[Prompt]) -> dict[str, str]:
    ids: dict[str, str] = {}
    for prompt in prompts:
        other = ids.setdefault(prompt.instruction.strip(), prompt.id)
        if other != prompt.id:
            raise HarnessError(
                f"The benchmark's prompts '{other}' and '{prompt.id}' have the same instruction, "
                "so that outputs cannot be matched to them; evaluate the model itself."
            )
    return ids
