"""Several methods in one command: the same start, prompts, seeds and decoding, one comparison."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from harness import app, registry
from harness.app import REPORT, Request
from harness.compare import Compared
from harness.errors import HarnessError
from harness.progress import Reporter
from harness.records import RunRecord


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
    return [
        replace(request, method=method, out=folder / name, sets=sets)
        for method, name, sets in zip(methods, short, chosen, strict=True)
    ]


def run_several(request: Request, reporter: Reporter) -> Several:
    """Run or resume one method after the other; one that fails does not keep the others from
    finishing. Everything about all of them is checked before the first begins."""
    each = requests(request)
    for one in each:
        app.open_run(one, reporter, pull=True)
    records: list[RunRecord] = []
    failed: dict[str, str] = {}
    for one in each:
        try:
            records.append(app.run(one, reporter))
        except HarnessError as error:
            failed[one.method] = str(error)
            reporter.say(f"{one.method} failed and the others go on: {error}")
    folder = each[0].folder.parent
    compared = _compare(folder, records, reporter) if len(records) > 1 else None
    return Several(folder, tuple(records), compared, failed)


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
