"""The stage that turns judged pools into what a method trains on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from random import Random

from harness import codec
from harness.data.sources import digest
from harness.errors import HarnessError
from harness.experiment import Experiment
from harness.judges.adapters import Judge
from harness.records import Composition
from harness.stages.composition import FAILED, composition, kind_of, why_nothing
from harness.stages.judging import VERDICTS, judged, pools
from harness.stages.sampling import SAMPLES, read_completions
from harness.store import Artifact, Stage, Workspace
from harness.types import Example, Group, Method, PairJudge, Plan, Prompt

EXAMPLES, COMPOSITION = "examples.jsonl", "composition.json"


def examples_stage(
    experiment: Experiment,
    iteration: int,
    plan: Plan,
    judge: Judge,
    prompts: Sequence[Prompt],
    samples: Artifact | None,
    verdicts: Artifact | None,
    older: Sequence[Artifact],
) -> Stage:
    """The method's new examples, at most `train.max_examples` of them, and what replay brings
    back. `older` are the examples of the iterations before, the latest first."""
    config = experiment.config

    def work(space: Workspace) -> None:
        said = _said(verdicts)
        groups = _groups(plan, judge, prompts, samples, said)
        made, unused = make_examples(experiment.method, config.seed, iteration, groups)
        if not made:
            _check_nothing(experiment.method.name, iteration, plan, unused)
        kept = _cap(made, config.train.max_examples, config.seed, iteration)
        own = [_own_examples(artifact, iteration - age) for age, artifact in enumerate(older, 1)]
        back = replayed(plan, own, iteration, config.seed)
        rows = space.rows(EXAMPLES, lambda row: str(row["key"]))
        for index, example in enumerate([*kept, *back]):
            rows.append(_row(f"{index:06}", example))
        identity = judge.identity if plan.judge != "none" else "none"
        failures = Counter(row["error"] for row in (said or {}).values() if row["error"])
        table = composition(groups, made, kept, back, unused, identity, failures)
        space.write_json(COMPOSITION, codec.dump(table))

    return Stage(
        name="examples",
        version=1,
        params={
            "method": experiment.method_identity,
            "iteration": iteration,
            "plan": codec.dump(plan),
            "max_examples": config.train.max_examples,
        },
        inputs={
            "prompts": digest(prompts),
            "samples": samples.digest if samples else "none",
            "verdicts": verdicts.digest if verdicts else "none",
            **{f"older-{k}": artifact.digest for k, artifact in enumerate(older)},
        },
        seed=config.seed,
        work=work,
        label="make examples",
    )


def read_examples(artifact: Artifact) -> list[Example]:
    """New and replayed examples; a replayed one's `iteration` is the one that made it."""
    path = artifact.path / EXAMPLES
    return [codec.load(Example, row["example"]) for _, row in codec.read_lines(path)]  # type: ignore[arg-type]


def read_composition(artifact: Artifact) -> Composition:
    data = codec.read_json(artifact.path / COMPOSITION, "The composition file")
    return codec.load(Composition, data)


def _said(verdicts: Artifact | None) -> dict[str, codec.Json] | None:
    """The judgements by id, None where nobody judged."""
    if verdicts is None:
        return None
    return {row["id"]: row for _, row in codec.read_lines(verdicts.path / VERDICTS)}


def _groups(
    plan: Plan,
    judge: Judge,
    prompts: Sequence[Prompt],
    samples: Artifact | None,
    rows: Mapping[str, codec.Json] | None,
) -> list[Group]:
    groups = pools(prompts, read_completions(samples, SAMPLES) if samples else [], plan)
    if rows is None:
        return groups
    scale = None if isinstance(judge, PairJudge) else judge.scale
    return judged(groups, plan, judge.identity, scale, rows)


def _check_nothing(method: str, iteration: int, plan: Plan, unused: Mapping[str, int]) -> None:
    """Whether an iteration may go on without a new example. Later ones may: a policy can reach
    what its rule asks for (a teacher that wins no more), and the next prompts may tell it more. In
    the first one rule and judge do not fit, and where judgements failed they can be had yet."""
    told = ", ".join(f"{count} {why}" for why, count in sorted(unused.items()))
    nothing = (
        f"Iteration {iteration} of '{method}' gave no example from {sum(unused.values())} prompts "
        f"({told})"
    )
    if FAILED in unused and plan.judged_by == "self":
        raise HarnessError(
            f"{nothing}; {VERDICTS} says why the policy could not judge itself: start in another "
            "folder with another judge.self, or with a stronger model."
        )
    if FAILED in unused:
        raise HarnessError(
            f"{nothing}; {VERDICTS} says why judgements failed: once that is mended, run the same "
            "command again."
        )
    if iteration == 1:
        raise HarnessError(
            f"{nothing}; loosen the method's gate or give it more prompts or samples (harness "
            "methods lists its settings)."
        )


def make_examples(
    method: Method, seed: int, iteration: int, groups: Sequence[Group]
) -> tuple[list[Example], Mapping[str, int]]:
    """The method's examples, and the prompts that gave none by reason."""
    made: list[Example] = []
    unused: Counter[str] = Counter()
    for group in groups:
        rng = Random(f"examples:{seed}:{iteration}:{group.prompt.id}")
        new = [replace(e, iteration=iteration) for e in method.examples(group, rng)]
        if not new:
            unused[why_nothing(group)] += 1
        made += new
    kinds = {kind_of(example) for example in made}
    if len(kinds) > 1:
        raise HarnessError(
            f"The method '{method.name}' made {' and '.join(sorted(kinds))} examples in "
            "one iteration; one iteration's examples must be of one kind."
        )
    return made, unused


def _cap(made: Sequence[Example], most: int | None, seed: int, iteration: int) -> list[Example]:
    """A seeded subset in the original order."""
    if most is None or len(made) <= most:
        return list(made)
    chosen = Random(f"cap:{seed}:{iteration}").sample(range(len(made)), most)
    return [made[index] for index in sorted(chosen)]


def replayed(
    plan: Plan, older: Sequence[Sequence[Example]], iteration: int, seed: int
) -> list[Example]:
    """A seeded share of older iterations' own new examples (the latest first), never of their
    replays."""
    back: list[Example] = []
    for age, (share, own) in enumerate(zip(plan.replay, older, strict=False), start=1):
        chosen = Random(f"replay:{seed}:{iteration}:{age}").sample(
            range(len(own)), round(share * len(own))
        )
        back += [own[index] for index in sorted(chosen)]
    return back


def _own_examples(artifact: Artifact, iteration: int) -> list[Example]:
    """What an iteration made itself: the rest of its examples is replayed."""
    return [e for e in read_examples(artifact) if e.iteration == iteration]


def _row(key: str, example: Example) -> codec.Json:
    return {"key": key, "kind": kind_of(example), "example": codec.dump(example)}
