"""What the commands do: the loop wired to folders, boards and reports. `cli.py` only parses."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from harness import calibrations, loop, tracking
from harness.client.account import CALLS
from harness.compare import ANNOTATIONS, compare_annotations
from harness.config import RunConfig
from harness.data.annotations import read_annotations
from harness.details import read_details
from harness.engines.vllm_installed import check_engine
from harness.errors import HarnessError
from harness.experiment import Experiment, check_contexts, prepare, resolve_config
from harness.folders import RUN, Folder, disk_errors
from harness.loop import Loop, drive
from harness.match import spent
from harness.plan import PlannedStage, planned, total_usd
from harness.progress import Reporter
from harness.records import IterationRecord, RunRecord
from harness.runs import CONTAMINATION, note_contamination, read_run
from harness.scoring.compare import Comparison
from harness.stages.common import Context
from harness.store import Artifact, Stage
from harness.told import best_line, count_text, scored_line

LEADERBOARD, REPORT = "leaderboard.jsonl", "report"


@dataclass(frozen=True)
class Request:
    """One `harness run` or `plan`, as it was typed; `match` is for several methods."""

    method: str
    preset: str
    options: dict[str, Any]
    config_file: Path | None
    sets: tuple[str, ...]
    out: Path | None
    fork: Path | None
    match: str | None = None

    @property
    def folder(self) -> Path:
        """Where the run lives; `runs/METHOD-PRESET` by default."""
        return self.fork or self._asked

    @property
    def forked_from(self) -> Path | None:
        """The run that a fork takes what is equal from."""
        return self._asked if self.fork else None

    @property
    def _asked(self) -> Path:
        name = self.method.rpartition(":")[2]  # of file.py:Class, the class
        return self.out or Path("runs") / f"{name}-{self.preset}"


@dataclass(frozen=True)
class Opened:
    """A request, checked, and its dry run: `stages`."""

    folder: Folder[RunConfig]
    experiment: Experiment
    context: Context
    stages: Sequence[PlannedStage] = ()

    def dry_run(self) -> Loop[list[PlannedStage]]:
        return planned(self.experiment, self.context, self.folder.store)


def open_run(request: Request, reporter: Reporter, pull: bool) -> Opened:
    """Check a request, less what hangs on its dry run; nothing runs yet and nothing is written."""
    folder = Folder.at(RUN, request.folder, request.forked_from)
    config, plugin, method = resolve_config(
        request.method, request.options, request.preset, request.config_file, request.sets
    )
    config = _continued(config, folder.earlier_config())
    if pull:  # a plan tracks nothing
        tracking.check(config.tracker)
    experiment = prepare(config, plugin, method, reporter.say, pull)
    folder.check(experiment.config)
    context = Context(reporter, experiment.config.device, experiment.config.sampling)
    return Opened(folder, experiment, context)


def checked(opened: Opened, stages: Sequence[PlannedStage], pull: bool) -> Opened:
    """With its dry run; where something is to be done, what that needs is checked."""
    if opened.experiment.start.digest and not all(stage.done for stage in stages):
        check_contexts(opened.experiment)
        if pull:  # a plan needs neither vLLM nor a key
            check_engine(opened.experiment.config.sampling, opened.experiment.config.device)
            opened.experiment.access.check_keys()
    return replace(opened, stages=stages)


def _continued(config: RunConfig, earlier: RunConfig | None) -> RunConfig:
    """An existing run never shrinks, and its prompts stay cut as they were."""
    if earlier is None:
        return config
    data = config.data
    if data.per_iteration is None and not data.reuse:
        data = data.model_copy(update={"per_iteration": earlier.data.per_iteration})
    iterations = max(config.iterations, earlier.iterations)
    return config.model_copy(update={"iterations": iterations, "data": data})


def run(request: Request, reporter: Reporter) -> RunRecord:
    """Run or resume; returns what the folder then says. Board and report are written as it goes."""
    with disk_errors(request.folder):
        return drive(execute(_alone(request, reporter, pull=True)))


def _alone(request: Request, reporter: Reporter, pull: bool) -> Opened:
    opened = open_run(request, reporter, pull)
    if request.match or opened.experiment.config.match:
        raise HarnessError("--match is for several methods; name them as --method a,b.")
    return checked(opened, drive(opened.dry_run()), pull)


def execute(opened: Opened) -> Loop[RunRecord]:
    """Run what was opened."""
    folder, experiment, say = opened.folder, opened.experiment, opened.context.reporter.say
    with disk_errors(folder.path), folder.lock():
        folder.begin(experiment.config, _facts(experiment))
        note_contamination(folder.path, experiment.contamination)
        with experiment.access.kept_in(folder.path / CALLS, say):
            try:
                return (yield from _run(opened))
            finally:
                opened.context.release()


def _run(opened: Opened) -> Loop[RunRecord]:
    folder, experiment, context = opened.folder, opened.experiment, opened.context
    reporter = context.reporter
    config, evaluation = experiment.config, experiment.evaluation
    reporter.say(
        f"{experiment.method.name} on {config.model}, {count_text(config.iterations)}, judge "
        f"{evaluation.judge.identity}, benchmark {evaluation.benchmark.name} → {folder.path}"
    )
    _say_forecast(opened)
    if experiment.contamination:
        reporter.say(
            f"training prompts hold instructions of the benchmark ({CONTAMINATION} lists them): "
            "going on as allowed, and the report says so"
        )
    news = False

    def ensure(t: int, stage: Stage) -> Artifact:
        nonlocal news
        artifact, computed = folder.ensure(stage, f"iter-{t}")
        if computed:
            news = True
            reporter.say(f"  iteration {t} · {stage.label} · {artifact.manifest.seconds:.1f} s")
        return artifact

    with tracking.opened(config, folder.path) as tracked:

        def on_scored(record: IterationRecord) -> None:
            reporter.say(scored_line(record))
            tracked.log(record)
            if news:
                write_board(folder.path)

        yield from loop.run(experiment, context, ensure, on_scored)
    write_board(folder.path)  # where another run computed the news, or this one was killed after it
    report = folder.path / REPORT / "index.html"
    said = [file for name in (LEADERBOARD, CONTAMINATION) if (file := folder.path / name).exists()]
    if not report.exists() or any(report.stat().st_mtime_ns < f.stat().st_mtime_ns for f in said):
        write_run_report([folder.path], report.parent)
    record = read_run(folder.path)
    reporter.say(best_line(record))
    reporter.say(f"report: {report}")
    return record


def _say_forecast(opened: Opened) -> None:
    """What judges that ask a model will cost at most."""
    if opened.experiment.access.asks_models:
        todo = [stage for stage in opened.stages if not stage.done]
        calls = sum(stage.calls for stage in todo)
        opened.experiment.access.say_forecast(calls, total_usd(todo), opened.context.reporter.say)


def write_board(path: Path) -> None:
    """The run's own leaderboard, from its finished iterations; one that says so already stays.

    Its time tells whether the report is older, whoever computed the news and however it ended.
    """
    from leaderboards.board import read_rows, rows_of, write_rows

    rows = rows_of(read_run(path))
    try:
        known = read_rows(path / LEADERBOARD) == rows
    except HarnessError:  # none yet, or one that cannot be read
        known = False
    if not known:
        write_rows(path / LEADERBOARD, rows)


def write_run_report(paths: Sequence[Path], out: Path, *, full: bool = False) -> Path:
    """The report of one or several runs; with `full` all outputs in a folder beside it."""
    from reports.html import write_report

    records = [read_run(path) for path in paths]
    return write_report(
        records,
        out,
        [read_details(record) for record in records],
        compare=comparison,
        calibration=calibrations.sentence,
        full=full,
    )


@dataclass(frozen=True)
class Card:
    """A model card, and the folder of the policy that it is of."""

    path: Path
    policy: Path


def write_card(path: Path, out: Path, iteration: int | None) -> Card:
    """The card of one iteration's policy; by default that of the best trained one."""
    from reports.card import write_card

    run = read_run(path)
    if iteration is None:
        best = run.best.iteration if run.best else 0
        iteration = best or len(run.iterations) - 1
    written = write_card(run, read_details(run), out, iteration, calibrations.sentence)
    return Card(written, path / f"iter-{iteration}" / "policy")


def comparison(records: Sequence[RunRecord]) -> Comparison:
    """Paired differences of the runs' last iterations, or a caveat that says why there are none."""
    from reports.words import labels

    last = [r.path / f"iter-{r.iterations[-1].iteration}" / ANNOTATIONS for r in records]
    try:
        found = [read_annotations(file) for file in last]
        made = compare_annotations(found, labels(records), records[0].config.seed).comparison
    except HarnessError as error:
        return Comparison(caveats=(str(error),))
    return replace(made, caveats=(*made.caveats, *_matched(records)))


def _matched(records: Sequence[RunRecord]) -> list[str]:
    """What runs of one `--match` spent of the cost that is alike."""
    match = records[0].config.match
    if match is None or any(record.config.match != match for record in records):
        return []
    costs = [(record.method, asdict(spent(record))[match.cost]) for record in records]
    told = ", ".join(f"{method} {cost:,}" for method, cost in costs)
    return [f"training {match.cost} are matched in each iteration: {told}"]


def plan(request: Request, reporter: Reporter) -> tuple[Experiment, list[PlannedStage]]:
    """What a run would do; changes nothing."""
    opened = _alone(request, reporter, pull=False)
    return opened.experiment, list(opened.stages)


def _facts(experiment: Experiment) -> dict[str, str]:
    return {
        "method": experiment.method.name,
        "command": " ".join(["harness", *sys.argv[1:]]),
        "paper": experiment.method.paper,
        "method_origin": experiment.plugin.origin,
        "method_revision": experiment.plugin.revision,
        "model_digest": experiment.start.digest,
        "train_judge": experiment.train_judge.identity,
        "eval_judge": experiment.evaluation.judge.identity,
    }
