"""`harness compare`: runs, evaluations and files of judgements, side by side.

What is compared must have been judged by one judge against one baseline; anything else is refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.data.annotations import Annotations, read_annotations
from harness.errors import HarnessError
from harness.scoring.compare import Comparison, Contender, compare

ANNOTATIONS = "annotations.json"


@dataclass(frozen=True, slots=True)
class Compared:
    """A comparison with whose word it is."""

    comparison: Comparison
    judge: str
    baseline: str


def compare_files(paths: Sequence[Path], seed: int) -> Compared:
    """Compare what the paths hold: a run's folder (its last scored iteration), an iteration's or an
    evaluation's folder, or a file of judgements. Raises HarnessError on what cannot be compared."""
    if len(paths) < 2:
        raise HarnessError("A comparison needs at least two runs or files; name another one.")
    found = [read_annotations(annotations_file(path)) for path in paths]
    judge = _same(found, [a.judge for a in found], "judge")
    baseline = _same(found, [a.baseline for a in found], "baseline")
    _check_baseline(found)
    contenders = [
        Contender(name, a.judgements) for name, a in zip(_names(paths, found), found, strict=True)
    ]
    try:
        comparison = compare(contenders, seed, baseline=baseline)
    except ValueError as error:
        raise HarnessError(
            f"{', '.join(map(str, paths))}: {error}; compare judgements of one benchmark."
        ) from None
    return Compared(comparison, judge or "not named", baseline or "not named")


def annotations_file(path: Path) -> Path:
    """The file of judgements that a path stands for."""
    if not path.is_dir():
        return path
    if (path / ANNOTATIONS).exists():
        return path / ANNOTATIONS
    iterations = sorted(
        (file for file in path.glob(f"iter-*/{ANNOTATIONS}")),
        key=lambda file: int(file.parent.name.removeprefix("iter-")),
    )
    if not iterations:
        raise HarnessError(
            f"{path}: neither {ANNOTATIONS} nor a scored iteration in it; name a run, an "
            "evaluation, or a file of judgements."
        )
    return iterations[-1]


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
            known, path = lengths.setdefault(
                j.instruction.strip(), (j.baseline_chars, file.path)
            )
            if known != j.baseline_chars:
                raise HarnessError(
                    f"{path} and {file.path} were judged against different baselines: to "
                    f"{j.instruction[:60]!r} one's answer has {known} characters, the other's "
                    f"{j.baseline_chars}; compare judgements against one baseline."
                )


def _names(paths: Sequence[Path], found: Sequence[Annotations]) -> list[str]:
    """Names that tell apart: the folder or file, else with the model or the whole path."""
    short = [
        path.name if path.is_dir() else a.model or path.stem
        for path, a in zip(paths, found, strict=True)
    ]
    if len(set(short)) == len(short):
        return short
    long = [str(path) for path in paths]
    if len(set(long)) < len(long):
        twice = next(name for name in long if long.count(name) > 1)
        raise HarnessError(f"{twice} is named twice; compare different runs or files.")
    return long
