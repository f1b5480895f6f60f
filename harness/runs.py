"""What a run's folder says, read back."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pydantic import ValidationError

from harness import codec
from harness.errors import HarnessError
from harness.folders import RUN, read_asked
from harness.models.store import licence
from harness.provenance import revision
from harness.records import Drift, IterationRecord, RunRecord, StageCost
from harness.stages.examples import read_composition
from harness.stages.sampling import DRIFT
from harness.stages.scores import read_controls, read_result
from harness.stages.training import read_training
from harness.stages.validation import read_validation
from harness.store import MANIFEST, Artifact, read_manifest
from harness.types import Overlap

CONTAMINATION = "contamination.json"
STAGES = ("samples", "verdicts", "examples", "train", "drift", "outputs", "validation", "scores")
"""Of an iteration, in the order in which a reader wants their costs."""


def iteration_record(t: int, artifacts: Sequence[Artifact]) -> IterationRecord:
    """What an iteration's artefacts say."""
    named = {artifact.manifest.stage: artifact for artifact in artifacts}
    drift, validation = named.get("drift"), named.get("validation")
    return IterationRecord(
        iteration=t,
        result=read_result(named["scores"]),
        composition=read_composition(named["examples"]) if "examples" in named else None,
        training=read_training(named["train"]) if "train" in named else None,
        drift=codec.load(Drift, codec.read_json(drift.path / DRIFT, "The drift file"))
        if drift
        else None,
        costs=tuple(stage_cost(artifact) for artifact in artifacts),
        controls=read_controls(named["scores"]),
        validation=read_validation(validation) if validation else None,
        revisions=tuple(sorted({revision(artifact.manifest.versions) for artifact in artifacts})),
        digests={name: artifact.digest for name, artifact in named.items()},
    )


def read_run(path: Path) -> RunRecord:
    """A run's finished iterations. Raises HarnessError where the folder holds no run."""
    asked = read_asked(RUN, path)
    config, facts = asked.config, asked.facts
    records = []
    begun: tuple[str, ...] = ()
    for t in range(config.iterations + 1):
        folder = path / f"iter-{t}"
        there = {s: file for s in STAGES if (file := folder / f"{s}.{MANIFEST}").exists()}
        if "scores" not in there:
            begun = tuple(there)
            break
        found = [Artifact(folder, read_manifest(file)) for file in there.values()]
        records.append(iteration_record(t, found))
    return RunRecord(
        name=path.resolve().name,
        path=path,
        method=facts["method"],
        paper=facts["paper"],
        config=config,
        iterations=tuple(records),
        provenance={
            **facts,
            **asked.versions,
            "seed": str(config.seed),
            "model_licence": licence(config.model) or "the model's own: see where it comes from",
        },
        contamination=_read_contamination(path),
        begun=begun,
    )


def note_contamination(path: Path, found: Sequence[Overlap]) -> None:
    """Write what the report must say of the training prompts; what says so already stays, and
    where there never was anything there is no file."""
    if _read_contamination(path) != tuple(found):
        codec.write_json(path / CONTAMINATION, [codec.dump(overlap) for overlap in found])


def _read_contamination(path: Path) -> tuple[Overlap, ...]:
    file = path / CONTAMINATION
    if not file.exists():
        return ()
    cure = "delete it, and run the same command again to have it written anew"
    try:
        return codec.load(
            tuple[Overlap, ...], codec.read_json(file, "The list of overlapping prompts", cure)
        )
    except ValidationError:
        raise HarnessError(f"{file} is no list of overlapping prompts: {cure}.") from None


def stage_cost(artifact: Artifact) -> StageCost:
    manifest = artifact.manifest
    return StageCost(
        stage=manifest.stage,
        seconds=manifest.seconds,
        prompt_tokens=manifest.usage.prompt_tokens,
        completion_tokens=manifest.usage.completion_tokens,
        usd=manifest.usage.usd,
    )
