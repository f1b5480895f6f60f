"""`harness calibrate`: a judge against an archive of stored judgements; what was found is kept.

A calibration belongs to a judge's identity. Those in `judges/calibrations/` come with the program,
those that a user made are under HARNESS_HOME and go before them.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Sequence
from importlib.resources import files
from pathlib import Path
from random import Random
from typing import Protocol, runtime_checkable

import numpy as np
from pydantic import ValidationError

from harness import codec
from harness.asking import Asker, bare_match
from harness.client.account import CALLS
from harness.config import AskingConfig
from harness.data.archive import YARDSTICK, Archived, read_archive
from harness.errors import HarnessError
from harness.places import home
from harness.progress import Reporter
from harness.scoring.calibration import Calibration, Comparisons, Swapped, calibrate
from harness.types import Verdict

SWAPPED = 200
"""Comparisons that are judged in both orders, for the figures of position."""


@runtime_checkable
class Learned(Protocol):
    """A judge that learned from an archive; `learned_from` names it. On that archive it is judged
    by what it has seen."""

    @property
    def learned_from(self) -> str: ...


def calibrate_judge(
    config: AskingConfig, archive: Path, comparisons: int | None, seed: int, reporter: Reporter
) -> Calibration:
    """Let a judge repeat stored comparisons (a seeded sample where `comparisons` says how many),
    compare its word with the archive's, and keep the result under HARNESS_HOME, with the ledger of
    all calls that this judge's calibrations took."""
    asker = Asker.of(
        config,
        reporter,
        otherwise="in the archive that answer is one of the two that it would rank",
    )
    rows = _sample(read_archive(archive), comparisons, seed)
    turned = [(i, rows[i]) for i in _chosen(len(rows), SWAPPED, seed)]
    matches = [
        bare_match(f"{i}", r.instruction, r.output, r.baseline, gold=r.baseline)
        for i, r in enumerate(rows)
    ]
    back = [
        bare_match(f"{i}/ba", r.instruction, r.baseline, r.output, gold=r.baseline)
        for i, r in turned
    ]
    path = _kept(asker.judge.identity)
    said = asker.ask([*matches, *back], path.with_name(f"{path.stem}.{CALLS}"), "calibrating")
    forth = said[: len(rows)]
    judged = [(row, v.p) for row, v in zip(rows, forth, strict=True) if v.p is not None]
    if not judged:
        raise HarnessError(
            f"The judge '{config.judge}' gave no verdict on {len(rows)} comparisons (the first: "
            f"{said[0].error}); check it and try again."
        )
    note = ""
    if isinstance(asker.made, Learned) and asker.made.learned_from == YARDSTICK:
        note = "on comparisons that the judge learned from: figures of unseen models are lower"
    calibration = calibrate(
        asker.judge.identity,
        YARDSTICK,
        _arrays(judged),
        _swapped([forth[i] for i, _ in turned], said[len(rows) :]),
        len(rows) - len(judged),
        seed,
        note,
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    codec.write_json(path, codec.dump(calibration))
    return calibration


def find(identity: str) -> Calibration | None:
    """What is known of a judge: the user's own calibration, else the one that comes with it."""
    own = _kept(identity)
    if own.exists():
        return _load(codec.read_json(own, "The calibration", "run harness calibrate again"), own)
    shipped = files("harness.judges") / "calibrations" / own.name
    return (
        _load(json.loads(shipped.read_text(encoding="utf-8")), own) if shipped.is_file() else None
    )


def sentence(identity: str) -> str:
    """What to say beside every figure of a judge: how far it agrees with the yardstick."""
    known = find(identity)
    if known is None:
        return f"Judge {identity}: not calibrated (harness calibrate)."
    parts = [f"agreement {100 * known.agreement.value:.1f}%"]
    if known.auc:
        parts.append(f"AUC {known.auc.value:.3f}")
    if known.within_auc:
        parts.append(f"{known.within_auc.value:.3f} within an instruction")
    if known.spearman:
        parts.append(f"Spearman {known.spearman.value:.2f} of {known.models} models")
    note = f"; {known.note}" if known.note else ""
    return f"Judge {identity} against {known.yardstick}: {', '.join(parts)}{note}."


def _load(data: codec.Json, path: Path) -> Calibration:
    try:
        return codec.load(Calibration, data)
    except ValidationError:
        raise HarnessError(f"{path} is no calibration; run harness calibrate again.") from None


def file_name(identity: str) -> str:
    """A judge's file; a digest tells apart what the readable part of its name does not."""
    readable = re.sub(r"[^A-Za-z0-9.-]+", "-", identity).strip("-")[:60]
    return f"{readable}-{hashlib.sha256(identity.encode()).hexdigest()[:8]}.json"


def _kept(identity: str) -> Path:
    return home() / "calibrations" / file_name(identity)


def _sample(rows: list[Archived], wanted: int | None, seed: int) -> list[Archived]:
    return rows if wanted is None else [rows[i] for i in _chosen(len(rows), wanted, seed)]


def _chosen(count: int, wanted: int, seed: int) -> list[int]:
    """Which of so many, in order."""
    if wanted >= count:
        return list(range(count))
    return sorted(Random(f"calibrate:{seed}").sample(range(count), wanted))


def _swapped(forth: Sequence[Verdict], back: Sequence[Verdict]) -> Swapped | None:
    both = [
        (a.p, 1 - b.p)
        for a, b in zip(forth, back, strict=True)
        if a.p is not None and b.p is not None
    ]
    return Swapped(*np.array(both, dtype=np.float64).T) if both else None


def _arrays(judged: Sequence[tuple[Archived, float]]) -> Comparisons:
    rows = [row for row, _ in judged]
    return Comparisons(
        judge=np.array([p for _, p in judged], dtype=np.float64),
        yardstick=np.array([row.p for row in rows], dtype=np.float64),
        longer=np.sign([float(len(row.output) - len(row.baseline)) for row in rows]),
        model=_numbers(row.model for row in rows),
        instruction=_numbers(row.instruction for row in rows),
    )


def _numbers(names: Iterable[str]) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    known: dict[str, int] = {}
    return np.array([known.setdefault(name, len(known)) for name in names], dtype=np.int64)
