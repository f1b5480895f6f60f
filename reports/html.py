"""One self-contained HTML page out of run records: all text escaped, nothing fetched."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import yaml
from markupsafe import Markup

from harness.records import RunDetails, RunRecord
from harness.scoring.alpaca import DERIVED, LICENCE
from harness.scoring.compare import Comparison
from leaderboards.table import key_title
from reports import browser, controls, costs, judging, standing, tables
from reports.figures import FigureFile, write_figures
from reports.group import Group, grouped
from reports.lacks import lacks, unscored
from reports.render import render, write
from reports.style import inline_svg
from reports.tables import Table, merged
from reports.words import Verdict, caveats, control_kinds, headline, listed, notes, verdict

LIMIT = 8_000_000
"""Bytes that a page stays under."""
MARGIN = 100_000
ALPACA = "alpaca_eval"
OUTPUTS = "outputs"
"""Folder beside the page for the pages of all outputs."""

Compare = Callable[[Sequence[RunRecord]], Comparison | None]


def no_comparison(_: Sequence[RunRecord]) -> None:
    """Where nobody compared the runs."""


def no_word(_: str) -> str:
    """Where nothing is known of a judge."""
    return ""


@dataclass(frozen=True, slots=True)
class _Figure:
    title: str
    alt: str
    svg: Markup
    files: str


@dataclass(frozen=True, slots=True)
class _Run:
    """A run's provenance, or what all runs share of it."""

    name: str
    facts: tuple[tuple[str, str], ...]
    config: str


@dataclass(frozen=True, slots=True)
class _Section:
    """What the page shows of one group of runs; `payload` is what its output browser reads."""

    key: str
    title: str
    headline: tuple[str, ...]
    verdicts: tuple[Verdict, ...]
    judge: str
    caveats: tuple[str, ...]
    lacks: tuple[str, ...]
    notes: tuple[str, ...]
    figures: dict[str, _Figure]
    scores: Table
    official: Table | None
    published: Table
    data: Table
    training: Table
    drift: Table
    health: Table
    controls: Table
    costs: Table
    side_by_side: Table
    differences: Table | None
    digests: Table
    provenance: tuple[_Run, ...]
    several: bool
    prompts: int
    payload: Markup
    embedded: int
    characters: int | None
    seed: int
    pages: tuple[tuple[str, str], ...]


def write_report(
    runs: Sequence[RunRecord],
    out: Path,
    details: Sequence[RunDetails] = (),
    *,
    compare: Compare = no_comparison,
    calibration: Callable[[str], str] = no_word,
    full: bool = False,
) -> Path:
    """Write OUT/index.html and OUT/figures/*.png and *.svg; return the page's path.

    Runs of one benchmark, decoding, judge and opponent stand in one group with `compare`d last
    iterations; others are shown apart. `details` are the runs', in their order. `calibration` says
    how far a judge can be believed. With `full`, OUT/outputs/ holds every prompt with whole texts.
    """
    groups, bare = grouped(runs, details)
    sections = []
    for number, group in enumerate(groups, start=1):
        apart = f"board-{number}" if len(groups) > 1 else ""
        pages = _full(group, out, apart) if full else ()
        files = write_figures(group, out / "figures" / apart)
        sections.append(_section(group, files, compare, calibration, pages, out))
    budget = (LIMIT - MARGIN - len(_page(runs, sections, bare).encode())) // max(1, len(groups))
    filled = [
        _with_outputs(section, group, budget)
        for section, group in zip(sections, groups, strict=True)
    ]
    path = out / "index.html"
    write(path, _page(runs, filled, bare))
    return path


def _page(
    runs: Sequence[RunRecord], sections: Sequence[_Section], bare: Sequence[RunRecord]
) -> str:
    return render(
        "report.html.j2",
        title=listed(list(dict.fromkeys(run.method for run in runs))),
        models=sorted({run.config.model for run in runs}),
        sections=sections,
        unscored=unscored(bare),
        bare=[_provenance([run], [run.name])[0] for run in bare],
    )


def _section(
    group: Group,
    files: Sequence[FigureFile],
    compare: Compare,
    calibration: Callable[[str], str],
    pages: tuple[tuple[str, str], ...],
    out: Path,
) -> _Section:
    runs, names, key = group.runs, group.names, group.key
    compared = compare(runs) if len(runs) > 1 else None

    def table(of: Callable[[RunRecord], Table]) -> Table:
        return merged(names, [of(run) for run in runs])

    return _Section(
        key=f"{key.benchmark}, judge {key.judge}",
        title=key_title(key),
        headline=headline(runs, compared),
        verdicts=tuple(
            verdict(run, None if len(runs) == 1 else name)
            for run, name in zip(runs, names, strict=True)
        ),
        judge=calibration(key.judge),
        caveats=(*caveats(runs), *controls.warnings(runs)),
        lacks=lacks(group),
        notes=notes(runs),
        figures={file.name: _inline(file, out) for file in files},
        scores=table(tables.scores),
        official=standing.among_official(runs),
        published=standing.published_table(key.benchmark, key.judge, [r.method for r in runs]),
        data=table(tables.data_dynamics),
        training=table(tables.training),
        drift=table(tables.drift),
        health=table(judging.health),
        controls=table(controls.controls),
        costs=table(costs.costs),
        side_by_side=standing.side_by_side(runs),
        differences=standing.differences(runs, compared) if compared else None,
        digests=table(tables.digests),
        provenance=_provenance(runs, names),
        several=len(runs) > 1,
        prompts=len(browser.prompts_of(group)),
        payload=Markup(""),
        embedded=0,
        characters=None,
        seed=runs[0].config.seed,
        pages=pages,
    )


def facts_of(run: RunRecord) -> dict[str, str]:
    """A run's provenance by name: what it was, by which code, under which licences."""
    return {
        "method": run.method,
        "paper": run.paper,
        "model": run.config.model,
        "preset": run.config.preset,
        "seed": str(run.config.seed),
        "training judge": run.config.judge.train,
        "evaluation judge": run.config.eval_judge,
        "code licence": "Apache-2.0, embedded prompts too",
        **({"benchmark licence": LICENCE} if run.config.benchmark.name == ALPACA else {}),
        **({"data licence": DERIVED} if "LC" in control_kinds([run]) else {}),
        **{name.replace("_", " "): value for name, value in run.provenance.items()},
    }


def _provenance(runs: Sequence[RunRecord], names: Sequence[str]) -> tuple[_Run, ...]:
    """What all runs share, said once, and what is each one's own."""
    facts = [facts_of(run) for run in runs]
    shared = {
        key: value
        for key, value in facts[0].items()
        if len(runs) > 1 and all(other.get(key) == value for other in facts)
    }
    each = []
    for run, name, known in zip(runs, names, facts, strict=True):
        own = tuple((key, value) for key, value in known.items() if key not in shared)
        config = run.config.model_dump(mode="json")
        text = yaml.safe_dump(config, sort_keys=False, allow_unicode=True)
        each.append(_Run(name, own, text))
    common = (_Run("All runs", tuple(shared.items()), ""),) if shared else ()
    return (*common, *each)


def _inline(file: FigureFile, out: Path) -> _Figure:
    # Put in unescaped: drawn by matplotlib with letters as paths, comments removed.
    prefix = "-".join(file.svg.relative_to(out).with_suffix("").parts[1:])
    svg = inline_svg(file.svg.read_text(encoding="utf-8"), prefix)
    stem = file.svg.relative_to(out).with_suffix("").as_posix()
    return _Figure(file.title, file.alt, Markup(svg), stem)


# --- outputs ----------------------------------------------------------------------------------


def _with_outputs(section: _Section, group: Group, budget: int) -> _Section:
    shown = browser.chosen(browser.prompts_of(group), section.seed)
    if not shown:
        return section
    made = browser.fitted(group, shown, budget)
    return replace(
        section,
        payload=Markup(made.json),  # escaped as JSON: it holds no < and no &
        embedded=made.prompts,
        characters=made.characters,
    )


def _full(group: Group, out: Path, apart: str) -> tuple[tuple[str, str], ...]:
    """Pages of all prompts with whole texts; their addresses from the report, and words."""
    shown = browser.prompts_of(group)
    pages = []
    for start in range(0, len(shown), browser.EMBEDDED):
        part = shown[start : start + browser.EMBEDDED]
        words = f"Prompts {start + 1} to {start + len(part)} of {len(shown)}"
        path = out / OUTPUTS / apart / f"{start + 1:05}.html"
        data = Markup(browser.payload(group, part, None))
        write(path, render("outputs.html.j2", title=words, key=key_title(group.key), payload=data))
        pages.append((path.relative_to(out).as_posix(), words))
    return tuple(pages)
