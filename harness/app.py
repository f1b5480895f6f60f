"""What the commands do: the loop wired to folders, boards and reports. `cli.py` only parses."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness import calibrations, loop
from harness.client.account import CALLS
from harness.compare import ANNOTATIONS, compare_annotations
from harness.config import RunConfig
from harness.data.annotations import read_annotations
from harness.details import read_details
from harness.errors import HarnessError
from harness.experiment import Experiment, check_contexts, prepare, resolve_config
from harness.folders import RUN, Folder, disk_errors
from harness.plan import PlannedStage, planned, total_usd
from harness.progress import Reporter
from harness.records import IterationRecord, RunRecord
from harness.runs import CONTAMINATION, note_contamination, read_run
from harness.scoring.compare import Comparison
from harness.stages.common import Context
from harness.store import Artifact, Stage
from harness.text import control_text, order_text, rate_text

LEADERBOARD, REPORT = "leaderboard.jsonl", "report"


@dataclass(frozen=True)
class Request:
    """One `harness run` or `plan`, as it was typed."""

    method: str
    preset: str
    options: dict[str, Any]
    config_file: Path | None
    sets: tuple[str, ...]
    out: Path | None
    fork: Path | None

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


Opened = tuple[Folder[RunConfig], Experiment, Context]


def open_run(request: Request, reporter: Reporter, pull: bool) -> Opened:
    """Check everything about a request; nothing runs yet and nothing is written."""
    folder = Folder.at(RUN, request.folder, request.forked_from)
    config, plugin, method = resolve_config(
        request.method, request.options, request.preset, request.config_file, request.sets
    )
    config = _continued(config, folder.earlier_config())
    experiment = prepare(config, plugin, method, reporter.say, pull)
    folder.check(experiment.config)
    context = Context(reporter, experiment.config.device, experiment.config.sampling.batch_size)
    if experiment.start.digest:
        stages = planned(experiment, context, folder.store)
        if not all(stage.done for stage in stages):
            check_contexts(experiment)
            if pull:  # a plan needs no key
                experiment.access.check_keys()
    return folder, experiment, context


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
        folder, experiment, context = open_run(request, reporter, pull=True)
        with folder.lock():
            folder.begin(experiment.config, _facts(experiment))
            note_contamination(folder.path, experiment.contamination)
            with experiment.access.kept_in(folder.path / CALLS, reporter.say):
                return _run(folder, experiment, context)


def _run(folder: Folder[RunConfig], experiment: Experiment, context: Context) -> RunRecord:
    reporter = context.reporter
    config, evaluation = experiment.config, experiment.evaluation
    reporter.say(
        f"{experiment.method.name} on {config.model}, {_count(config.iterations)}, judge "
        f"{evaluation.judge.identity}, benchmark {evaluation.benchmark.name} → {folder.path}"
    )
    _say_forecast(folder, experiment, context)
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

    def on_scored(record: IterationRecord) -> None:
        reporter.say(_scored_line(record))
        if news:
            write_board(folder.path)

    loop.run(experiment, context, ensure, on_scored)
    write_board(folder.path)  # where another run computed the news, or this one was killed after it
    report = folder.path / REPORT / "index.html"
    said = [file for name in (LEADERBOARD, CONTAMINATION) if (file := folder.path / name).exists()]
    if not report.exists() or any(report.stat().st_mtime_ns < f.stat().st_mtime_ns for f in said):
        write_run_report([folder.path], report.parent)
    record = read_run(folder.path)
    reporter.say(_best_line(record))
    reporter.say(f"report: {report}")
    return record


def _say_forecast(folder: Folder[RunConfig], experiment: Experiment, context: Context) -> None:
    """What judges that ask a model will cost at most."""
    if experiment.access.asks_models:
        todo = [s for s in planned(experiment, context, folder.store) if not s.done]
        calls = sum(stage.calls for stage in todo)
        experiment.access.say_forecast(calls, total_usd(todo), context.reporter.say)


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


def comparison(records: Sequence[RunRecord]) -> Comparison:
    """Paired differences of the runs' last iterations, or a caveat that says why there are none."""
    from reports.words import labels

    last = [r.path / f"iter-{r.iterations[-1].iteration}" / ANNOTATIONS for r in records]
    try:
        found = [read_annotations(file) for file in last]
        return compare_annotations(found, labels(records), records[0].config.seed).comparison
    except HarnessError as error:
        return Comparison(caveats=(str(error),))


def plan(request: Request, reporter: Reporter) -> tuple[Experiment, list[PlannedStage]]:
    """What a run would do; changes nothing."""
    folder, experiment, context = open_run(request, reporter, pull=False)
    return experiment, planned(experiment, context, folder.store)


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


def _count(iterations: int) -> str:
    return f"{iterations} iteration" + ("s" if iterations > 1 else "")


def _best_line(record: RunRecord) -> str:
    """Which iterate to keep, beside the last one."""
    best, last = record.best, record.iterations[-1]
    if best is None:
        return "best iterate: not chosen, since no validation judgement came back"

    def told(iteration: IterationRecord) -> str:
        won = iteration.validation
        return f"iteration {iteration.iteration} ({rate_text(won) if won else '50'})"

    beside = "which is also the last" if best is last else f"the last is {told(last)}"
    judge = record.provenance["train_judge"]
    return (
        f"best iterate by {judge} on validation prompts, win rate % against the start: "
        f"{told(best)}, {beside}"
    )


def _scored_line(record: IterationRecord) -> str:
    result, control = record.result, record.result.length_control
    controlled = f" ({control.kind} {control_text(control)})" if control else ""
    order = f"; {order_text(result.order_bias)}" if result.order_bias else ""
    bound = record.drift.improvement_bound if record.drift else None
    most = "" if bound is None else f" (an exact update: at least {100 * bound:.1f})"
    left_out = record.training.left_out if record.training else 0
    without = f"; {left_out} examples left out, impossible under a reference" if left_out else ""
    return (
        f"iteration {record.iteration}: win rate % against {result.opponent} "
        f"{rate_text(result.win_rate)}{controlled}, the start {rate_text(result.vs_initial)}, "
        f"the previous {rate_text(result.vs_previous)}{most}; {result.lengths.mean:.0f} characters"
        f"{order}{without}{_learnt_from(record)}"
    )


def _learnt_from(record: IterationRecord) -> str:
    """A word where an iteration had no example of its own."""
    made = record.composition
    if made is None or made.trained:
        return ""
    if made.replayed:
        return f"; no new example: trained on {made.replayed} of earlier iterations"
    return "; no example: the policy stays as it was"
