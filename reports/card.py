"""A model card for a run's policy: Markdown with the hub's front matter, and figures beside it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import yaml

from harness.errors import HarnessError
from harness.records import RunDetails, RunRecord
from reports.controls import controls, warnings
from reports.figures import write_figures
from reports.group import Group, grouped
from reports.html import facts_of
from reports.lacks import lacks
from reports.render import legible, template, write
from reports.tables import Table, data_dynamics, digests, scores
from reports.words import Verdict, caveats, notes, plural, verdict

CARD = "README.md"
SHOWN = ("win_rate", "length", "pairs")
STANDING = (
    "An interval covers the prompts and not the training: another seed is another policy.",
    "A judge's word is not a person's, and nothing here measures truth, safety or bias.",
    "Nothing was filtered: the policy says what its start and its data have taught it.",
)


@dataclass(frozen=True, slots=True)
class _Picture:
    title: str
    alt: str
    src: str


def write_card(
    run: RunRecord,
    details: RunDetails,
    out: Path,
    iteration: int,
    calibration: Callable[[str], str],
) -> Path:
    """Write OUT/README.md and its figures for the policy of this iteration; the card's path.

    Raises HarnessError for an iteration that was not trained, or has no scores.
    """
    if not 0 < iteration < len(run.iterations):
        raise HarnessError(
            f"The run {run.name} has no trained and scored iteration {iteration}: name one of 1 to "
            f"{len(run.iterations) - 1} with --iteration."
            if len(run.iterations) > 1
            else f"The run {run.name} has no trained iteration yet, and a start needs no card of "
            "ours: resume the run first."
        )
    # a card is of one policy: what came later is another one's
    until = replace(run, iterations=run.iterations[: iteration + 1], begun=())
    (group,), _ = grouped([until], [details])
    path = out / CARD
    write(path, _text(group, until, calibration, list(_pictures(group, out))))
    return path


def _pictures(group: Group, out: Path) -> Iterator[_Picture]:
    for file in write_figures(group, out / "figures", SHOWN):
        yield _Picture(file.title, file.alt, file.png.relative_to(out).as_posix())


def _text(
    group: Group, run: RunRecord, calibration: Callable[[str], str], figures: list[_Picture]
) -> str:
    last = run.iterations[-1]
    said = verdict(run)
    limits = (*caveats([run]), *warnings([run]), *notes([run]), *_lacking(group), *STANDING)
    config = run.config.model_dump(mode="json")
    page = template("card.md.j2", autoescape=False).render(
        front=yaml.safe_dump(_front(run), sort_keys=False, allow_unicode=True),
        title=plain(f"{run.name}, iteration {last.iteration}"),
        base=plain(run.config.model),
        iterations=plural(last.iteration, "iteration"),
        method=plain(run.method),
        paper=plain(run.paper),
        verdict=Verdict(said.kind, plain(said.sentence), tuple(map(plain, said.more))),
        judge=plain(calibration(group.key.judge)),
        scores=markdown(scores(run)),
        figures=[_Picture(f.title, plain(f.alt), f.src) for f in figures],
        limits=[plain(line) for line in limits],
        command=_fenced(run.provenance.get("command", "not recorded")),
        config=_fenced(yaml.safe_dump(config, sort_keys=False, allow_unicode=True)),
        data=plain(run.config.data.train),
        trained_by=plain(run.provenance.get("train_judge", run.config.judge.train)),
        composition=markdown(data_dynamics(run)),
        controls=markdown(controls(run)),
        facts=[(plain(name), plain(value)) for name, value in facts_of(run).items()],
        digests=markdown(digests(run)),
    )
    return legible(page)


def _lacking(group: Group) -> list[str]:
    """Without what later iterations of the run lack."""
    (run,) = group.runs
    asked = run.config.model_copy(update={"iterations": len(run.iterations) - 1})
    return list(lacks(replace(group, runs=(replace(run, config=asked),))))


def _front(run: RunRecord) -> dict[str, object]:
    """What the hub reads."""
    model, licence = run.config.model, run.provenance.get("model_licence", "")
    front: dict[str, object] = {
        "library_name": "transformers",
        "pipeline_tag": "text-generation",
        "license": licence.lower() if re.fullmatch(r"[\w.-]+", licence) else "other",
        "tags": ["posttrain-harness", "preference-optimization", run.method],
    }
    on_hub = re.fullmatch(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*", model)
    if on_hub and not Path(model).exists():  # a folder goes before the hub
        front["base_model"] = model
    return front


# --- Markdown ---------------------------------------------------------------------------------

_SPECIAL = re.compile(r"([\\`*_{}\[\]<>!|~$&]|^[-+#=])")


def plain(text: str) -> str:
    """Anybody's text as one line of Markdown that means nothing but itself."""
    return _SPECIAL.sub(r"\\\1", " ".join(text.split()))


def _fenced(text: str) -> str:
    """Text that cannot end the fence that it stands in."""
    return text.replace("```", "'''")


def markdown(table: Table) -> str:
    """A table in GitHub's Markdown with its notes below; without rows the notes alone."""
    notes = plain(f"{table.note} {table.own}")
    if not table.rows:
        return notes
    head, *body = (" | ".join(map(plain, row)) for row in (table.columns, *table.rows))
    rule = " | ".join("---" for _ in table.columns)
    drawn = [f"| {line} |" for line in (head, rule, *body)]
    return "\n".join([*drawn, "", notes])
