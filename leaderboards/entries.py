"""Entering a run: what an entry must be, and results files that only ever grow."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from harness.errors import HarnessError
from harness.records import RunRecord
from leaderboards.board import BoardRow, read_rows, rows_of, write_rows

MACHINERY = "tiny"
"""The preset, and the random model, whose numbers mean nothing."""

_FILE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


def checked(run: RunRecord) -> list[BoardRow]:
    """The rows of a run that may be entered; HarnessError names the first rule that it breaks.

    The rules are those of leaderboards/README.md.
    """
    if MACHINERY in (run.config.preset, run.config.model):
        raise HarnessError(
            f"{run.path} used the {MACHINERY} preset or model, which proves the machinery only: "
            "enter a run of quickstart or larger."
        )
    held = {overlap.benchmark_id for overlap in run.contamination}
    if held:
        raise HarnessError(
            f"{run.path} trained on prompts that hold {len(held)} of the benchmark's instructions: "
            "enter a run on training prompts without them."
        )
    missing = set(range(run.config.iterations + 1)) - {r.iteration for r in run.iterations}
    if missing:
        raise HarnessError(
            f"{run.path} is not finished, iteration {min(missing)} of {run.config.iterations} is "
            "not scored: finish it with the same harness run command, then enter it."
        )
    rows = rows_of(run)
    for row, record in zip(rows, run.iterations, strict=True):
        where = f"Iteration {row.iteration} of {run.path}"
        if not row.judge:
            raise HarnessError(f"{where} does not name its judge: score it by a judge that does.")
        if not row.win_rate.showable:
            raise HarnessError(
                f"{where} has no win rate with an interval ({row.win_rate.n} judged, "
                f"{row.win_rate.n_failed} failed): the same harness run command asks again for "
                "what failed."
            )
        if any(revision.endswith(("-dirty", "unknown")) for revision in record.revisions):
            raise HarnessError(
                f"{where} was computed by code that nobody can check out again (revision "
                f"{row.revision}): commit the code and run it anew, --out in another parent "
                "folder, so that nothing is reused."
            )
    return rows


def enter(rows: Sequence[BoardRow], folder: Path) -> Path:
    """Add one run's rows to a results folder as RUN.jsonl, and return that file.

    Results are append-only: an entry may gain iterations, but what stands there stays as it is.
    """
    names = {row.run for row in rows}
    if len(names) != 1:
        raise HarnessError("An entry is the rows of exactly one run: enter runs one by one.")
    name = names.pop()
    if not _FILE_NAME.fullmatch(name):
        raise HarnessError(
            f"The run name {name!r} cannot be a file name: use letters, digits, '.', '_' and '-'."
        )
    path = folder / f"{name}.jsonl"
    standing = read_rows(path) if path.exists() else []
    known = {(row.iteration, row.key): row for row in standing}
    changed = [row.iteration for row in rows if known.get((row.iteration, row.key), row) != row]
    if changed:
        raise HarnessError(
            f"{path} already holds another result for iteration {changed[0]} of {name}, and "
            "results are append-only: enter this run under another name."
        )
    added = [row for row in rows if row not in standing]
    if added:
        write_rows(path, [*standing, *added])
    return path
