"""Runs that may be compared: one benchmark, decoding, judge and opponent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from harness.errors import HarnessError
from harness.records import RunDetails, RunRecord
from leaderboards.board import BoardKey
from reports.words import key_of, labels


@dataclass(frozen=True, slots=True)
class Group:
    """The runs of one board, each with its details."""

    key: BoardKey
    runs: tuple[RunRecord, ...]
    details: tuple[RunDetails, ...]

    @property
    def names(self) -> list[str]:
        return labels(self.runs)


def grouped(
    runs: Sequence[RunRecord], details: Sequence[RunDetails] = ()
) -> tuple[tuple[Group, ...], tuple[RunRecord, ...]]:
    """The groups in the order of their first runs, and the runs that have no scores yet.

    Raises HarnessError where one run's iterations are of different boards.
    """
    if not runs:
        raise HarnessError("A report needs at least one run: name a run folder.")
    told = details or [RunDetails() for _ in runs]
    by_key: dict[BoardKey, list[tuple[RunRecord, RunDetails]]] = {}
    for run, detail in zip(runs, told, strict=True):
        if run.iterations:
            by_key.setdefault(key_of(run), []).append((run, detail))
    groups = tuple(
        Group(key, tuple(run for run, _ in found), tuple(detail for _, detail in found))
        for key, found in by_key.items()
    )
    return groups, tuple(run for run in runs if not run.iterations)
