"""`harness compare`: runs, evaluations, files of judgements and files of outputs, side by side.

Win rates are compared where all were judged by one judge against one baseline; anything else is
refused. With a judge of its own, a comparison is head to head as well.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path

from harness.asking import Asker, bare_match
from harness.client.account import CALLS
from harness.config import AskingConfig
from harness.data.annotations import Annotations, holds_judgements, read_annotations
from harness.data.outputs import read_rows
from harness.errors import HarnessError
from harness.places import home
from harness.progress import Reporter
from harness.scoring.compare import Comparison, Contender, compare, with_head_to_head
from harness.store import sha256_text
from harness.types import Match

ANNOTATIONS = "annotations.json"


@dataclass(frozen=True, slots=True)
class Compared:
    """A comparison with whose word it is: `judge` and `baseline` are those of the win rates (None
    where there are none), `head_judge` saw the outputs side by side."""

    comparison: Comparison
    judge: str | None
    baseline: str | None
    head_judge: str | None = None


def compare_paths(
    paths: Sequence[Path], seed: int, judge: AskingConfig | None, reporter: Reporter
) -> Compared:
    """Compare what the paths hold: a run's folder (its last scored iteration), an iteration's or an
    evaluation's folder, a file of judgements, or a file of outputs (head to head only).

    Raises HarnessError on what cannot be compared.
    """
    if len(paths) < 2:
        raise HarnessError("A comparison needs at least two runs or files; name another one.")
    files = [annotations_file(path) for path in paths]
    bare = [file for file in files if not holds_judgements(file)]
    if bare and not judge:
        raise HarnessError(
            f"{bare[0]} holds outputs without judgements; name a --judge to compare them head to "
            "head, or score them with harness eval and compare the evaluations."
        )
    found = [] if bare else [read_annotations(file) for file in files]
    names = _names(paths, [a.model for a in found] if found else [None] * len(paths))
    compared = (
        compare_annotations(found, names, seed) if found else Compared(Comparison(), None, None)
    )
    if not judge:
        return compared
    texts = (
        [a.outputs for a in found]
        if found
        else [{row.instruction: row.text for row in read_rows(file)} for file in files]
    )
    return _head_to_head(compared, dict(zip(names, texts, strict=True)), judge, seed, reporter)


def annotations_file(path: Path) -> Path:
    """The file of judgements that a path stands for."""
    if not path.is_dir():
        return path
    if (path / ANNOTATIONS).exists():
        return path / ANNOTATIONS
    iterations = sorted(
        path.glob(f"iter-*/{ANNOTATIONS}"),
        key=lambda file: int(file.parent.name.removeprefix("iter-")),
    )
    if not iterations:
        raise HarnessError(
            f"{path}: neither {ANNOTATIONS} nor a scored iteration in it; name a run, an "
            "evaluation, or a file of judgements."
        )
    return iterations[-1]


def compare_annotations(found: Sequence[Annotations], names: Sequence[str], seed: int) -> Compared:
    """Compare judgements under these names. Raises HarnessError where they are not of one judge,
    one baseline and one benchmark."""
    judge = _same(found, [a.judge for a in found], "judge")
    baseline = _same(found, [a.baseline for a in found], "baseline")
    _check_baseline(found)
    contenders = [Contender(name, a.judgements) for name, a in zip(names, found, strict=True)]
    comparison = compare(contenders, seed, baseline=baseline)
    if not comparison.shared:
        raise HarnessError(
            f"{', '.join(str(a.path) for a in found)} share no instruction that is judged in all "
            "of them; compare judgements of one benchmark."
        )
    return Compared(comparison, judge or "not named", baseline or "not named")


def _head_to_head(
    compared: Compared,
    outputs: Mapping[str, Mapping[str, str]],
    judge: AskingConfig,
    seed: int,
    reporter: Reporter,
) -> Compared:
    """Let a judge see every two contenders' outputs to the instructions that all share."""
    asker = Asker.of(judge, reporter, otherwise="files of outputs have none")
    shared = sorted(set.intersection(*(set(texts) for texts in outputs.values())))
    if not shared:
        raise HarnessError(
            f"{' and '.join(outputs)} share no instruction with the texts of both answers; a "
            "--judge needs outputs to one benchmark."
        )
    pairs = list(combinations(outputs, 2))
    matches = [
        bare_match(
            f"{number}/{instruction}", instruction, outputs[a][instruction], outputs[b][instruction]
        )
        for number, (a, b) in enumerate(pairs)
        for instruction in shared
    ]
    verdicts = iter(asker.ask(matches, _ledger(asker, matches), "judging head to head"))
    said = {
        pair: [
            (instruction, v.p, v.error) for instruction, v in zip(shared, verdicts, strict=False)
        ]
        for pair in pairs
    }
    comparison = with_head_to_head(compared.comparison, said, seed)
    comparison = replace(comparison, shared=comparison.shared or len(shared))
    return replace(compared, comparison=comparison, head_judge=asker.judge.identity)


def _ledger(asker: Asker, matches: Sequence[Match]) -> Path:
    """A comparison leaves no file, so what its calls cost is kept by what was asked of whom."""
    texts = [[match.prompt.instruction, match.a.text, match.b.text] for match in matches]
    digest = sha256_text(json.dumps([asker.judge.identity, texts]))
    return home() / "comparisons" / f"{digest[:16]}.{CALLS}"


def _same(found: Sequence[Annotations], names: Sequence[str | None], what: str) -> str | None:
    first = names[0]
    for other, name in zip(found, names, strict=True):
        if name != first:
            raise HarnessError(
                f"{found[0].path} and {other.path} have different {what}s ({first!r} and "
                f"{name!r}), and win rates by different {what}s are not comparable; judge both "
                f"by one {what}."
            )
    return first


def _check_baseline(found: Sequence[Annotations]) -> None:
    """One name may stand for two models: the baseline's lengths must agree where both know them."""
    lengths: dict[str, tuple[int, Path]] = {}
    for file in found:
        for j in file.judgements:
            if j.baseline_chars is None:
                continue
            known, path = lengths.setdefault(j.instruction.strip(), (j.baseline_chars, file.path))
            if known != j.baseline_chars:
                raise HarnessError(
                    f"{path} and {file.path} were judged against different baselines: to "
                    f"{j.instruction[:60]!r} one's answer has {known} characters, the other's "
                    f"{j.baseline_chars}; compare judgements against one baseline."
                )


def _names(paths: Sequence[Path], models: Sequence[str | None]) -> list[str]:
    """Names that tell apart: the folder, the model or the file; else the whole path."""
    short = [
        path.name if path.is_dir() else model or path.stem
        for path, model in zip(paths, models, strict=True)
    ]
    if len(set(short)) == len(short):
        return short
    long = [str(path) for path in paths]
    if len(set(long)) < len(long):
        twice = next(name for name in long if long.count(name) > 1)
        raise HarnessError(f"{twice} is named twice; compare different runs or files.")
    return long
