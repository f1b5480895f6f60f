"""What a run's folder holds prompt by prompt, read back where outputs are shown."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

from harness import codec
from harness.records import Answer, Answered, RunDetails, RunRecord, Values
from harness.stages.judging import VERDICTS
from harness.stages.outputs import OUTPUTS_JSON
from harness.stages.scores import ANNOTATIONS, MATCHES, OPPONENT

BINS = 21
"""Odd, so that ties lie in the middle of a bin."""


def read_details(run: RunRecord) -> RunDetails:
    """The answers of a run's scored iterations with their verdicts; files that are not there any
    more are left out. Raises HarnessError on one that cannot be read."""
    folders = {r.iteration: run.path / f"iter-{r.iteration}" for r in run.iterations}
    prompts = _prompts(folders)
    said: dict[int, list[float]] = {}
    for answer in (answer for prompt in prompts for answer in prompt.answers):
        if answer.p is not None:
            said.setdefault(answer.iteration, []).append(answer.p)
    trained = {t: found for t, folder in folders.items() if (found := _values(folder / VERDICTS))}
    return RunDetails(prompts, {t: preferences(p) for t, p in said.items()}, trained)


def _prompts(folders: Mapping[int, Path]) -> tuple[Answered, ...]:
    instructions: dict[str, str] = {}
    answers: dict[str, list[Answer]] = {}
    opponents: dict[str, str] = {}
    for t, folder in folders.items():
        if not (folder / OUTPUTS_JSON).exists():
            continue
        said = _verdicts(folder / MATCHES)
        # where all outputs are the opponent's own nobody was asked
        default = (0.5, None) if said == {} else (None, "no judgement is kept")
        for row in codec.read_json(folder / OUTPUTS_JSON, "The outputs file"):
            name = row["id"]
            instructions.setdefault(name, row["instruction"])
            p, error = (said or {}).get(name, default)
            answers.setdefault(name, []).append(Answer(t, row["output"], p, error))
        opponents = opponents or _opponents(folder / ANNOTATIONS)
    return tuple(
        Answered(name, instruction, opponents.get(instruction), tuple(answers[name]))
        for name, instruction in instructions.items()
    )


def _verdicts(path: Path) -> dict[str, tuple[float | None, str | None]] | None:
    """By prompt, what the judge said against the opponent; None where the file is gone."""
    if not path.exists():
        return None
    ending = f"/{OPPONENT}"
    return {
        row["id"].removesuffix(ending): (row["p"], row["error"])
        for _, row in codec.read_lines(path)
        if row["id"].endswith(ending)
    }


def _opponents(path: Path) -> dict[str, str]:
    if not path.exists():
        return {}
    rows = codec.read_json(path, "The file of judgements")
    return {row["instruction"]: row["output_1"] for row in rows}


def _values(path: Path) -> Values | None:
    """Of a pair judge the probabilities, of a score judge the scores; None where nobody judged."""
    if not path.exists():
        return None
    rows = [row for _, row in codec.read_lines(path)]
    said = [row["p"] for row in rows if row.get("p") is not None]
    scores = [row["value"] for row in rows if row.get("value") is not None]
    if said:
        return preferences(said)
    if not scores:
        return None
    low, high = math.floor(min(scores)), math.ceil(max(scores))
    high = max(high, low + 1)
    return Values("score", low, high, _binned(scores, low, high))


def preferences(said: list[float]) -> Values:
    """How often which probability was said."""
    return Values("preference", 0.0, 1.0, _binned(said, 0.0, 1.0))


def _binned(values: list[float], low: float, high: float) -> tuple[int, ...]:
    counts = [0] * BINS
    for value in values:
        place = int(BINS * (value - low) / (high - low))
        counts[min(max(place, 0), BINS - 1)] += 1
    return tuple(counts)
