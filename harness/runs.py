"""A run's folder: what was asked for (`run.json`), its lock, and reading it back."""

from __future__ import annotations

import platform
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from filelock import FileLock, Timeout
from pydantic import ValidationError

from harness import codec
from harness.config import RunConfig, changed_field
from harness.errors import HarnessError
from harness.places import checkout
from harness.records import Drift, IterationRecord, RunRecord, StageCost
from harness.stages.examples import read_composition
from harness.stages.outputs import OUTPUTS_JSON
from harness.stages.sampling import DRIFT
from harness.stages.scores import MATCHES, read_result
from harness.stages.training import read_training
from harness.store import MANIFEST, Artifact, Stage, Store, link, read_manifest
from harness.types import Overlap

RUN_JSON, CONTAMINATION, LOCK = "run.json", "contamination.json", ".lock"
DISTRIBUTION = "posttrain-harness"
NO_CHECKOUT = "not a checkout"
PACKAGES = (DISTRIBUTION, "torch", "transformers", "accelerate", "peft", "tokenizers", "numpy")


def versions() -> dict[str, str]:
    """Versions of what decides the numbers, and the git revision of a checkout."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    found["git"] = _git_revision()
    return found


def _git_revision() -> str:
    here = checkout()
    if here is None:
        return NO_CHECKOUT
    told = subprocess.run(
        ["git", "-C", str(here), "describe", "--always", "--dirty", "--abbrev=12"],
        capture_output=True,
        text=True,
        check=False,
    )
    return told.stdout.strip() or "unknown"


@dataclass(frozen=True)
class RunFolder:
    """`path` holds run.json and iter-T/; the artefacts lie in `path/../.store`."""

    path: Path
    store: Store

    @classmethod
    def at(cls, path: Path, forked_from: Path | None = None) -> RunFolder:
        path = path.resolve()
        if forked_from and not (forked_from / RUN_JSON).exists():
            raise HarnessError(f"{forked_from} holds no run to fork from; name it with --out.")
        others = [forked_from.resolve().parent / ".store"] if forked_from else []
        return cls(path, Store(path.parent / ".store", versions(), others))

    def earlier_config(self) -> RunConfig | None:
        """What an earlier start asked for, or None in a new folder."""
        if not (self.path / RUN_JSON).exists():
            if self.path.exists() and not all(map(_is_ours, self.path.iterdir())):
                raise HarnessError(
                    f"{self.path} is not empty and holds no run; name another folder with --out."
                )
            return None
        return _read_config(self.path)

    def check(self, config: RunConfig) -> None:
        """Refuse what would change a finished stage of an earlier start."""
        earlier = self.earlier_config()
        changed = changed_field(earlier, config) if earlier else None
        if changed:
            name, before, after = changed
            name = name.replace("settings", "method", 1) if name.startswith("settings") else name
            raise HarnessError(
                f"{self.path} was started with {name} = {before}, now it is {after}; start anew "
                "from what is equal with --fork DIR, or name another folder with --out."
            )

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the run for this process. Raises HarnessError where another one has it."""
        self.path.mkdir(parents=True, exist_ok=True)
        lock = FileLock(self.path / LOCK)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            raise HarnessError(
                f"Another process is working on {self.path}; wait for it, stop it, or name "
                "another folder with --out."
            ) from None
        try:
            yield
        finally:
            lock.release()

    def begin(self, config: RunConfig, facts: Mapping[str, str]) -> None:
        """Write what is asked for, and by which code; what says so already stays as it is."""
        path = self.path / RUN_JSON
        data = {
            "config": config.model_dump(mode="json"),
            "facts": dict(facts),
            "versions": dict(self.store.versions),
        }
        if path.exists():
            earlier = _read_run_json(self.path)
            # the command may be typed in many ways that ask for the same
            earlier["facts"]["command"] = data["facts"]["command"]
            if earlier == data:
                return
        codec.write_json(path, data)

    def note_contamination(self, found: Sequence[Overlap]) -> None:
        """Write what the report must say of the training prompts; what says so already stays, and
        where there never was anything there is no file."""
        if _read_contamination(self.path) != tuple(found):
            codec.write_json(self.path / CONTAMINATION, [codec.dump(overlap) for overlap in found])

    def iteration(self, t: int) -> Path:
        return self.path / f"iter-{t}"

    def ensure(self, t: int, stage: Stage, say: Callable[[str], None]) -> Artifact:
        """A stage's artefact, linked into iteration t's folder."""
        artifact, computed = self.store.ensure(stage)
        link(artifact, self.iteration(t))
        seconds = artifact.manifest.seconds
        if computed:
            say(f"  iteration {t} · {stage.label} · {seconds:.1f} s")
        return artifact


def iteration_record(t: int, artifacts: Sequence[Artifact]) -> IterationRecord:
    """What an iteration's artefacts say."""
    named = {artifact.manifest.stage: artifact for artifact in artifacts}
    drift = named.get("drift")
    return IterationRecord(
        iteration=t,
        result=read_result(named["scores"]),
        composition=read_composition(named["examples"]) if "examples" in named else None,
        training=read_training(named["train"]) if "train" in named else None,
        drift=codec.load(Drift, codec.read_json(drift.path / DRIFT, "The drift file"))
        if drift
        else None,
        costs=tuple(_cost(artifact) for artifact in artifacts),
        revisions=tuple(sorted({_revision(artifact.manifest.versions) for artifact in artifacts})),
    )


def _revision(made_by: Mapping[str, str]) -> str:
    """The code behind a stage: its git revision, or the installed package's version."""
    git = made_by.get("git", "unknown")
    return f"{DISTRIBUTION} {made_by.get(DISTRIBUTION)}" if git == NO_CHECKOUT else git


def read_run(path: Path) -> RunRecord:
    """A run's finished iterations. Raises HarnessError where the folder holds no run."""
    if not (path / RUN_JSON).exists():
        raise HarnessError(f"{path} holds no run (no {RUN_JSON}); name a folder of harness run.")
    data = _read_run_json(path)
    config = _read_config(path)
    facts = data["facts"]
    records = []
    for t in range(config.iterations + 1):
        folder = path / f"iter-{t}"
        if not (folder / f"scores.{MANIFEST}").exists():
            break
        found = [
            Artifact(folder, read_manifest(file))
            for stage in ("samples", "verdicts", "examples", "train", "drift", "outputs", "scores")
            if (file := folder / f"{stage}.{MANIFEST}").exists()
        ]
        records.append(iteration_record(t, found))
    return RunRecord(
        name=path.resolve().name,
        path=path,
        method=facts["method"],
        paper=facts["paper"],
        config=config,
        iterations=tuple(records),
        provenance={**facts, **data["versions"], "seed": str(config.seed)},
        contamination=_read_contamination(path),
    )


@dataclass(frozen=True, slots=True)
class ShownOutputs:
    """One evaluation prompt, its outputs by iteration, and the probability that the last
    iteration's beats iteration 0's (None where that judgement failed)."""

    prompt: str
    outputs: Mapping[int, str]
    p: float | None


def shown_outputs(run: RunRecord, count: int) -> list[ShownOutputs]:
    """The first `count` evaluation prompts of a run, with iteration 0's and the last outputs."""
    if not run.iterations:
        return []
    last = run.iterations[-1].iteration
    rows = {
        t: codec.read_json(run.path / f"iter-{t}" / OUTPUTS_JSON, "The outputs file")
        for t in sorted({0, last})
    }
    matches = codec.read_lines(run.path / f"iter-{last}" / MATCHES)
    said = {row["id"]: row["p"] for _, row in matches}
    return [
        ShownOutputs(
            prompt=first["instruction"],
            outputs={t: outputs[index]["output"] for t, outputs in rows.items()},
            # anchors that coincide are judged once, under the first role
            p=said.get(f"{first['id']}/initial", said.get(f"{first['id']}/opponent")),
        )
        for index, first in enumerate(rows[0][:count])
    ]


def _is_ours(file: Path) -> bool:
    """What a start leaves that was stopped before it could write run.json."""
    return file.name == LOCK or file.name.startswith(f".{RUN_JSON}.")


def _read_run_json(path: Path) -> codec.Json:
    cure = "restore it, or start in another folder with --out: finished stages are found again"
    return codec.read_json(path / RUN_JSON, "The run's settings", cure)


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


def _read_config(path: Path) -> RunConfig:
    data = _read_run_json(path)
    try:
        return RunConfig.model_validate(data["config"])
    except (KeyError, TypeError, ValidationError) as error:
        told = " ".join(str(error).split())
        raise HarnessError(
            f"{path / RUN_JSON} is not a run's settings ({told[:200]}); name another folder."
        ) from None


def _cost(artifact: Artifact) -> StageCost:
    manifest = artifact.manifest
    return StageCost(
        stage=manifest.stage,
        seconds=manifest.seconds,
        prompt_tokens=manifest.usage.prompt_tokens,
        completion_tokens=manifest.usage.completion_tokens,
        usd=manifest.usage.usd,
    )
