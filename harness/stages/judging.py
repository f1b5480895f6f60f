"""Stages that judge: the candidates of an iteration, and the outputs of each policy."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from harness import codec
from harness.data.sources import digest
from harness.experiment import Policy
from harness.judges.adapters import (
    Judge,
    Matrix,
    matrix,
    pool_matches,
    pool_scores,
    preference,
)
from harness.judges.self_score import SelfJudge
from harness.registry import judge_revision
from harness.scoring.winrate import by_construction, lengths, win_rate
from harness.stages.common import Context, by_prompt, has_own_pair, pool
from harness.stages.sampling import OUTPUTS, SAMPLES, read_completions
from harness.store import Artifact, Rows, Stage, Workspace
from harness.types import (
    Completion,
    Group,
    Match,
    PairJudge,
    Plan,
    Prompt,
    Result,
    Score,
    ScoreJudge,
    Usage,
    Verdict,
    WinRate,
)

VERDICTS, SCORES, MATCHES = "verdicts.jsonl", "scores.json", "matches.jsonl"
CHUNK = 16
"""Prompts handed to a judge at a time: a crash loses at most the calls in flight."""
DATASET = "dataset"
"""The judge of pairs that the data set ordered itself."""


def training_judge(context: Context, plan: Plan, policy: Policy) -> Judge:
    """Whoever judges an iteration's candidates: the configured judge, or the policy itself."""
    if plan.judged_by == "self":
        return SelfJudge(context.engine(policy), policy.digest)
    return context.experiment.train_judge


def judge_identity(context: Context, plan: Plan, policy: Policy) -> str:
    """`training_judge(...).identity`, without loading a policy."""
    if plan.judge == "none":
        return "none"
    if plan.judged_by == "self":
        return SelfJudge.name_of(policy.digest)
    return context.experiment.train_judge.identity


def verdicts_stage(
    context: Context, plan: Plan, policy: Policy, prompts: Sequence[Prompt], samples: Artifact
) -> Stage:
    """Judgements on each prompt's pool: one row a match (pair judge) or a candidate."""

    def work(space: Workspace) -> None:
        rows = space.rows(VERDICTS, _key, _failed)
        groups = [
            group
            for group in pools(prompts, read_completions(samples, SAMPLES), plan)
            if not has_own_pair(group.prompt, plan)
        ]
        judge = training_judge(context, plan, policy)
        with context.reporter.track("judging", len(groups)) as advance:
            for start in range(0, len(groups), CHUNK):
                chunk = groups[start : start + CHUNK]
                if isinstance(judge, PairJudge):
                    space.spend(_compare(judge, chunk, rows))
                else:
                    space.spend(_score(judge, chunk, rows))
                advance(len(chunk))

    return Stage(
        name="verdicts",
        version=1,
        params={
            "judge": judge_identity(context, plan, policy),
            "judge_revision": judge_revision(context.experiment.config.judge.train)
            if plan.judged_by == "configured"
            else "",
            "gold": plan.gold,
            "fixed_data": plan.sampler != "previous",
        },
        inputs={"samples": samples.digest, "prompts": digest(prompts)},
        seed=context.experiment.config.seed,
        work=work,
        label=f"judge {len(prompts)} pools by {judge_identity(context, plan, policy)}",
    )


def pools(prompts: Sequence[Prompt], samples: Sequence[Completion], plan: Plan) -> list[Group]:
    """Each prompt with its candidates, not judged yet."""
    sampled = by_prompt(samples)
    return [Group(p, pool(p, sampled.get(p.id, []), plan)) for p in prompts]


def judged(
    groups: Sequence[Group],
    plan: Plan,
    judge: str,
    scale: tuple[float, float] | None,
    rows: Mapping[str, Mapping[str, codec.Json]],
) -> list[Group]:
    """Groups with what the judge said: `scale` is a score judge's, None a pair judge's."""
    filled = []
    for group in groups:
        size = len(group.completions)
        if has_own_pair(group.prompt, plan):
            scores: tuple[Score, ...] = (Score(1.0, DATASET), Score(0.0, DATASET))
            filled.append(Group(group.prompt, group.completions, scores))
        elif scale is None:
            said = {(i, j): rows[match.id]["p"] for i, j, match in pool_matches(group)}
            preferences = matrix(size, said)
            scores = pool_scores(preferences, judge)
            filled.append(Group(group.prompt, group.completions, scores, preferences))
        else:
            given = [rows[f"{group.prompt.id}/{i}"] for i in range(size)]
            scores = tuple(Score(row["value"], judge, row["error"]) for row in given)
            both = _from_scores(scores, scale) if plan.judge == "compare" else None
            filled.append(Group(group.prompt, group.completions, scores, both))
    return filled


def _from_scores(scores: Sequence[Score], scale: tuple[float, float]) -> Matrix:
    said = {
        (i, j): preference(a.value, b.value, scale)
        if a.value is not None and b.value is not None
        else None
        for i, a in enumerate(scores)
        for j, b in enumerate(scores)
        if i < j
    }
    return matrix(len(scores), said)


def _compare(judge: PairJudge, groups: Sequence[Group], rows: Rows) -> Usage:
    asked = [
        match for group in groups for _, _, match in pool_matches(group) if not rows.done(match.id)
    ]
    spent = Usage()
    for verdict in verdicts(judge, asked):
        rows.append({"id": verdict.match_id, "p": verdict.p, "error": _error(verdict)})
        spent += verdict.usage
    return spent


def _score(judge: ScoreJudge, groups: Sequence[Group], rows: Rows) -> Usage:
    asked = [
        group
        for group in groups
        if not all(rows.done(f"{group.prompt.id}/{i}") for i in range(len(group.completions)))
    ]
    spent = Usage()
    answers = judge.score(asked)
    for group in asked:
        scores = next(answers, ())
        for i in range(len(group.completions)):
            silent = Score(None, judge.identity, "the judge gave no score")
            score = scores[i] if i < len(scores) else silent
            error = None if score.value is not None else score.error or "no reason given"
            rows.append({"id": f"{group.prompt.id}/{i}", "value": score.value, "error": error})
            spent += score.usage
    return spent


def verdicts(judge: PairJudge, matches: Sequence[Match]) -> Iterator[Verdict]:
    """One verdict a match, as they come; equal texts are ½ without asking, and a match of which
    the judge says nothing is a failure."""
    asked = {match.id: match for match in matches if match.a.text != match.b.text}
    for match in matches:
        if match.id not in asked:
            yield Verdict(match.id, 0.5, judge.identity)
    for verdict in judge.compare(list(asked.values())):
        if asked.pop(verdict.match_id, None):
            yield verdict
    for name in asked:
        yield Verdict(name, None, judge.identity, "the judge gave no verdict")


def _key(row: codec.Json) -> str:
    return str(row["id"])


def _failed(row: codec.Json) -> bool:
    return row["error"] is not None


def _error(verdict: Verdict) -> str | None:
    return None if verdict.p is not None else verdict.error or "no reason given"


# --- scores -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Anchors:
    """The outputs that a policy's are compared with; None for the gold answers as opponent."""

    initial: Artifact
    previous: Artifact


def scores_stage(context: Context, outputs: Artifact, anchors: Anchors) -> Stage:
    """Win rates of one policy's outputs against the opponent, the initial and the previous
    policy. Anchors with the same outputs are judged once."""
    experiment = context.experiment
    config, benchmark = experiment.config, experiment.benchmark

    def work(space: Workspace) -> None:
        rows = space.rows(MATCHES, _key, _failed)
        ours = read_completions(outputs, OUTPUTS)
        initial = read_completions(anchors.initial, OUTPUTS)
        opponents = {
            "opponent": benchmark.gold() if experiment.opponent_is_gold else initial,
            "initial": initial,
            "previous": read_completions(anchors.previous, OUTPUTS),
        }
        rates: dict[str, WinRate] = {}
        judged_already: list[tuple[list[str], WinRate]] = []
        for role, theirs in opponents.items():
            texts = [completion.text for completion in _ordered(benchmark.prompts, theirs)]
            rate = next((rate for known, rate in judged_already if known == texts), None)
            if rate is None:
                rate = _rate(role, ours, theirs, rows, space)
                judged_already.append((texts, rate))
            rates[role] = rate
        result = Result(
            benchmark=benchmark.name,
            decoding=experiment.decoding,
            judge=experiment.eval_judge.identity,
            opponent=experiment.opponent,
            win_rate=rates["opponent"],
            vs_initial=rates["initial"],
            vs_previous=rates["previous"],
            lengths=lengths(ours),
        )
        space.write_json(SCORES, codec.dump(result))

    def _rate(
        role: str,
        ours: Sequence[Completion],
        theirs: Sequence[Completion],
        rows: Rows,
        space: Workspace,
    ) -> WinRate:
        a, b = _ordered(benchmark.prompts, ours), _ordered(benchmark.prompts, theirs)
        if [c.text for c in a] == [c.text for c in b]:
            return by_construction(len(a), "both sides gave the same outputs")
        matches = [
            Match(f"{prompt.id}/{role}", prompt, x, y)
            for prompt, x, y in zip(benchmark.prompts, a, b, strict=True)
        ]
        missing = [match for match in matches if not rows.done(match.id)]
        judge = experiment.eval_judge
        with context.reporter.track(f"scoring against {role}", len(matches)) as advance:
            advance(len(matches) - len(missing))
            for start in range(0, len(missing), CHUNK):
                chunk = missing[start : start + CHUNK]
                for verdict in verdicts(judge, chunk):
                    rows.append({"id": verdict.match_id, "p": verdict.p, "error": _error(verdict)})
                    space.spend(verdict.usage)
                advance(len(chunk))
        wanted = {match.id for match in matches}
        said = [
            Verdict(row["id"], row["p"], judge.identity, row["error"])
            for row in rows.all()
            if row["id"] in wanted
        ]
        return win_rate(said, config.seed)

    return Stage(
        name="scores",
        version=1,
        params={
            "benchmark": benchmark.name,
            "decoding": experiment.decoding,
            "judge": experiment.eval_judge.identity,
            "judge_revision": judge_revision(config.eval_judge),
            "opponent": experiment.opponent,
        },
        inputs={
            "outputs": outputs.digest_of(OUTPUTS),
            "initial": anchors.initial.digest_of(OUTPUTS),
            "previous": anchors.previous.digest_of(OUTPUTS),
            "prompts": digest(benchmark.prompts),
        },
        seed=config.seed,
        work=work,
        label=f"score by {experiment.eval_judge.identity}",
    )


def read_result(artifact: Artifact) -> Result:
    return codec.load(Result, codec.read_json(artifact.path / SCORES, "The scores file"))


def _ordered(prompts: Sequence[Prompt], outputs: Sequence[Completion]) -> list[Completion]:
    found = {output.prompt_id: output for output in outputs}
    return [found[prompt.id] for prompt in prompts]
