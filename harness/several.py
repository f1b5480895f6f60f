"""Several methods in one command: the same start, prompts, seeds and decoding, one comparison."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from harness import app, registry
from harness.app import REPORT, Opened, Request
from harness.compare import Compared
from harness.errors import HarnessError
from harness.experiment import Experiment
from harness.folders import disk_errors
from harness.loop import Loop, drive
from harness.match import examples_to_take, with_equal_judgements
from harness.plan import NotDoneError, PlannedStage
from harness.progress import Reporter
from harness.records import RunRecord
from harness.store import Artifact

T = TypeVar("T")


@dataclass(frozen=True)
class Several:
    """What a command with several methods left. `failed` says why a method has no finished run;
    `compared` is None where fewer than two have one."""

    folder: Path
    records: tuple[RunRecord, ...]
    compared: Compared | None
    failed: Mapping[str, str]


def names(method: str) -> list[str]:
    """The methods of `--method a,b`."""
    return [name.strip() for name in method.split(",")]


def requests(request: Request) -> list[Request]:
    """One request a method, each in a folder of its own beside the others: they share a store, so
    what is equal is computed once."""
    if request.fork:
        raise HarnessError("--fork goes with one --method; name one of the methods' runs instead.")
    methods = names(request.method)
    short = [name.rpartition(":")[2] for name in methods]
    if not all(short) or len(set(short)) < len(short):
        raise HarnessError(
            f"--method {request.method}: write different methods, with a comma between them."
        )
    folder = request.out or Path("runs") / f"comparison-{request.preset}"
    chosen = _sets(methods, request.sets)
    if request.match:
        match = {"cost": request.match, "methods": methods}
        request = replace(request, options={**request.options, "match": match})
    return [
        replace(request, method=method, out=folder / name, sets=sets)
        for method, name, sets in zip(methods, short, chosen, strict=True)
    ]


def run_several(request: Request, reporter: Reporter) -> Several:
    """Run or resume one method after the other; one that fails does not keep the others from
    finishing. With a `match` of steps or tokens they go in step, and one that fails stops them all:
    what it would have spent is not known. Everything about all of them is checked before the first
    begins."""
    each = requests(request)
    folder = each[0].folder.parent
    with disk_errors(folder):
        opened = _open(each, reporter, pull=True)
        records, failed = (_run_in_step(opened), {}) if _goes_in_step(opened) else _run_each(opened)
    compared = _compare(folder, records, reporter) if len(records) > 1 else None
    return Several(folder, tuple(records), compared, failed)


def plan_several(
    request: Request, reporter: Reporter
) -> list[tuple[Experiment, list[PlannedStage]]]:
    """What each method would do; changes nothing."""
    opened = _open(requests(request), reporter, pull=False)
    return [(one.experiment, list(one.stages)) for one in opened]


def _open(each: Sequence[Request], reporter: Reporter, pull: bool) -> list[Opened]:
    opened = [app.open_run(one, reporter, pull) for one in each]
    match = opened[0].experiment.config.match
    if match:
        _check_iterations(opened)
    if match and match.cost == "judgements":
        equal = with_equal_judgements([one.experiment for one in opened])
        opened = [replace(one, experiment=e) for one, e in zip(opened, equal, strict=True)]
    dry = [one.dry_run() for one in opened]
    planned = _in_step(opened, dry) if _goes_in_step(opened) else [drive(one) for one in dry]
    return [app.checked(one, stages, pull) for one, stages in zip(opened, planned, strict=True)]


def _check_iterations(opened: Sequence[Opened]) -> None:
    counts = {one.experiment.method.name: one.experiment.config.iterations for one in opened}
    most = max(counts.values())
    if min(counts.values()) < most:
        told = ", ".join(f"{name} {count}" for name, count in counts.items())
        raise HarnessError(
            f"--match: the runs that are there have different numbers of iterations ({told}); "
            f"run the same command with --iters {most}."
        )


def _goes_in_step(opened: Sequence[Opened]) -> bool:
    match = opened[0].experiment.config.match
    return match is not None and match.cost != "judgements"


def _run_each(opened: Sequence[Opened]) -> tuple[list[RunRecord], dict[str, str]]:
    """The records of those that finished, and why others did not."""
    records: list[RunRecord] = []
    failed: dict[str, str] = {}
    for one in opened:
        try:
            records.append(drive(app.execute(one)))
        except HarnessError as error:
            name = one.experiment.config.method
            failed[name] = str(error)
            one.context.reporter.say(f"{name} failed and the others go on: {error}")
    return records, failed


def _run_in_step(opened: Sequence[Opened]) -> list[RunRecord]:
    def told(index: int) -> None:
        one = opened[index]
        one.context.reporter.say(f"{one.experiment.method.name}:")

    return _in_step(opened, [app.execute(one) for one in opened], told)


def _in_step(
    opened: Sequence[Opened],
    loops: Sequence[Loop[T]],
    on_turn: Callable[[int], None] = lambda _index: None,
) -> list[T]:
    """The ends of loops that go on together: all make an iteration's examples before any trains on
    so many of its own as the match allows."""
    match = opened[0].experiment.config.match
    assert match
    take: list[int | None] = [None] * len(loops)
    ends: dict[int, T] = {}
    try:
        while len(ends) < len(loops):
            made: list[Artifact] = []
            iteration = 0
            for index, loop in enumerate(loops):
                on_turn(index)
                try:
                    iteration, examples = loop.send(take[index])
                    made.append(examples)
                except StopIteration as end:
                    ends[index] = end.value
            if len(made) == len(loops):
                experiments = [one.experiment for one in opened]
                take = examples_to_take(match.cost, experiments, iteration, made)
            else:  # a dry run: one knows no further, so nobody does
                ends |= {i: _ended(loop) for i, loop in enumerate(loops) if i not in ends}
    finally:
        for loop in loops:
            loop.close()
    return [ends[index] for index in range(len(loops))]


def _ended(loop: Loop[T]) -> T:
    try:
        loop.throw(NotDoneError())
    except StopIteration as end:
        found: T = end.value
        return found
    raise AssertionError("a dry run goes on where it cannot")


def _compare(folder: Path, records: Sequence[RunRecord], reporter: Reporter) -> Compared:
    page = folder / REPORT / "index.html"
    boards = [record.path / app.LEADERBOARD for record in records]
    if not page.exists() or any(page.stat().st_mtime_ns < b.stat().st_mtime_ns for b in boards):
        app.write_run_report([record.path for record in records], page.parent)
    reporter.say(f"comparison: {page}")
    result = records[0].iterations[-1].result
    return Compared(app.comparison(records), result.judge, result.opponent)


def _sets(methods: Sequence[str], sets: Sequence[str]) -> list[tuple[str, ...]]:
    """`--set method.x=…` goes to the methods that have x, and one of them must."""
    known = [registry.method_fields(registry.find(registry.METHODS, name)) for name in methods]
    for text in sets:
        field = _field(text)
        if field and not any(field in fields for fields in known):
            raise HarnessError(f"--set {text}: none of the methods has the setting '{field}'.")
    return [
        tuple(text for text in sets if (_field(text) or "") in fields | {""}) for fields in known
    ]


def _field(text: str) -> str | None:
    """x of `method.x=…`."""
    name = text.partition("=")[0].strip()
    return name.removeprefix("method.").partition(".")[0] if name.startswith("method.") else None
