"""One self-contained HTML page out of run records: no script, no network, all text escaped."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from harness.codec import write_atomic
from harness.records import RunRecord
from harness.scoring.alpaca import DERIVED
from harness.scoring.compare import Comparison
from reports import controls, ledger, standing, tables
from reports.figures import FigureFile, write_figures
from reports.style import inline_svg
from reports.tables import Table
from reports.words import Verdict, caveats, common_key, control_kinds, labels, notes, verdict

if TYPE_CHECKING:
    from markupsafe import Markup

# Control characters are not allowed in HTML, lone surrogates not in UTF-8, and characters that turn
# the direction of writing would hide what a model wrote.
_UNFIT = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\u202a-\u202e\u2066-\u2069]")

SHOWN_SAMPLES = 8
SHOWN_CHARACTERS = 6000
SUMMARY_CHARACTERS = 160


@dataclass(frozen=True, slots=True)
class OutputSample:
    """One evaluation prompt, its outputs by iteration, and the judge's word on the last one.

    `p` is the judge's probability that the last iteration's output beats iteration 0's; None where
    that judgement failed (`error` says why) or was not asked for. `run` is the run's name, needed
    where a report shows several runs.
    """

    prompt: str
    outputs: Mapping[int, str]
    p: float | None
    error: str | None = None
    run: str = ""


@dataclass(frozen=True, slots=True)
class _Output:
    iteration: int
    text: str
    note: str


@dataclass(frozen=True, slots=True)
class _Sample:
    summary: str
    prompt: str
    verdict: str
    outputs: tuple[_Output, ...]


@dataclass(frozen=True, slots=True)
class _Section:
    """What the page shows of one run."""

    label: str
    verdict: Verdict
    scores: Table
    controls: Table
    data: Table
    training: Table
    drift: Table
    losses: Table
    costs: Table
    samples: tuple[_Sample, ...]
    facts: tuple[tuple[str, str], ...]
    config: str


@dataclass(frozen=True, slots=True)
class _Figure:
    title: str
    alt: str
    svg: Markup


def write_report(
    runs: Sequence[RunRecord],
    out: Path,
    samples: Sequence[OutputSample] = (),
    comparison: Comparison | None = None,
    judge: str = "",
) -> Path:
    """Write OUT/index.html and OUT/figures/*.png and *.svg; return the page's path.

    Several runs stand side by side, with the `comparison` of their last iterations. Runs of
    different benchmarks, decodings, judges or opponents are refused: their numbers have no common
    axis. `judge` says how far their judge can be believed.
    """
    key = common_key(runs)
    figures = write_figures(runs, out / "figures")
    names = labels(runs)
    methods = list(dict.fromkeys(run.method for run in runs))
    page = _render(
        title=" and ".join(methods),
        models=sorted({run.config.model for run in runs}),
        key=key,
        sections=[
            _section(run, name, samples, alone=len(runs) == 1)
            for run, name in zip(runs, names, strict=True)
        ],
        caveats=(*caveats(runs), *controls.warnings(runs)),
        notes=(*notes(runs), *([judge] if judge else [])),
        figures=[_inline(file) for file in figures],
        has_pairs=any(file.name == "pairs" for file in figures),
        differences=standing.differences(runs, comparison) if comparison else None,
        official=standing.among_official(runs),
        published=standing.published_table(key.benchmark, key.judge, methods),
    )
    path = out / "index.html"
    _write(path, page)
    return path


def _section(
    run: RunRecord, label: str, samples: Sequence[OutputSample], *, alone: bool
) -> _Section:
    mine = [sample for sample in samples if sample.run == run.name or (alone and not sample.run)]
    return _Section(
        label=label,
        verdict=verdict(run, None if alone else label),
        scores=tables.scores(run),
        controls=controls.controls(run),
        data=tables.data_dynamics(run),
        training=tables.training(run),
        drift=tables.drift(run),
        losses=ledger.losses_of_data(run),
        costs=ledger.costs(run),
        samples=tuple(_sample(sample) for sample in mine[:SHOWN_SAMPLES]),
        facts=(
            ("run", run.name),
            ("method", run.method),
            ("paper", run.paper),
            ("model", run.config.model),
            ("preset", run.config.preset),
            ("seed", str(run.config.seed)),
            ("training judge", run.config.judge.train),
            ("evaluation judge", run.config.eval_judge),
            *((("data licence", DERIVED),) if "LC" in control_kinds([run]) else ()),
            *((name, value) for name, value in run.provenance.items()),
        ),
        config=yaml.safe_dump(
            run.config.model_dump(mode="json"), sort_keys=False, allow_unicode=True
        ),
    )


def _sample(sample: OutputSample) -> _Sample:
    chosen = sorted({min(sample.outputs), max(sample.outputs)}) if sample.outputs else []
    return _Sample(
        summary=textwrap.shorten(sample.prompt, SUMMARY_CHARACTERS, placeholder=" …"),
        prompt=_legible(sample.prompt)[0],
        verdict=_judged(sample, len(chosen)),
        outputs=tuple(_Output(i, *_legible(sample.outputs[i])) for i in chosen),
    )


def _judged(sample: OutputSample, outputs: int) -> str:
    if outputs < 2:
        return "nothing to compare"
    last, first = max(sample.outputs), min(sample.outputs)
    if sample.outputs[last] == sample.outputs[first]:
        return "the same output in both"
    if sample.p is None:
        return f"not judged: {sample.error}" if sample.error else "not judged"
    if sample.p == 0.5:
        return "a draw (p = 0.50)"
    winner = last if sample.p > 0.5 else first
    return f"iteration {winner} preferred (p = {max(sample.p, 1 - sample.p):.2f})"


def _legible(text: str) -> tuple[str, str]:
    """The text's beginning, and a note where it was cut."""
    cut = len(text) - SHOWN_CHARACTERS
    return text[:SHOWN_CHARACTERS], f"{cut:,} more characters are not shown" if cut > 0 else ""


def _inline(file: FigureFile) -> _Figure:
    from markupsafe import Markup

    # The one thing put in unescaped: drawn by matplotlib with letters as paths, comments removed.
    svg = inline_svg(file.svg.read_text(encoding="utf-8"), file.name)
    return _Figure(file.title, file.alt, Markup(svg))


def _render(**context: object) -> str:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("reports"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    page = environment.get_template("report.html.j2").render(**context)
    return _UNFIT.sub("\N{REPLACEMENT CHARACTER}", page)


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, text)
