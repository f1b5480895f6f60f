"""The stage that judges an iteration's candidates, and how any stage asks a judge."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from harness import codec
from harness.data.sources import digest
from harness.experiment import Experiment
from harness.judges.adapters import (
    Judge,
    Matrix,
    matrix,
    pool_matches,
    pool_scores,
    preference,
)
from harness.judges.policy import self_judge
from harness.policy import Policy
from harness.registry import judge_revision
from harness.scoring import winrate
from harness.scoring.winrate import by_construction
from harness.stages.common import Context, by_prompt, has_own_pair, pool
from harness.stages.sampling import SAMPLES, read_completions
from harness.store import Artifact, Rows, Stage, Workspace
from harness.types import (
    Completion,
    Group,
    Match,
    PairJudge,
    Plan,
    Prompt,
    Score,
    ScoreJudge,
    Verdict,
    WinRate,
)

VERDICTS = "verdicts.jsonl"
CHUNK, MATCHES = 16, 256
"""Prompts, and matches of a scoring, handed to a judge at a time: enough to keep one that asks over
the network busy. What it says is kept as it comes."""
SHARES = (0.0, 1.0)
"""The scale of win rates, and of a data set's own order."""
DATASET = "dataset"
"""The judge of pairs that the data set ordered itself."""


def training_judge(context: Context, experiment: Experiment, plan: Plan, policy: Policy) -> Judge:
    """Whoever judges an iteration's candidates: the configured judge, or the policy itself, which
    is loaded when it is first asked."""
    config = experiment.config
    if plan.judged_by == "configured":
        return experiment.train_judge
    return self_judge(
        config.judge.self,
        lambda: context.engine(policy),
        lambda: context.sampler(policy),
        policy.digest,
        context.settings.engine,
        config.judging.votes,
        config.seed,
        context.settings.batch_size,
    )


def verdicts_stage(
    context: Context,
    experiment: Experiment,
    plan: Plan,
    judge: Judge,
    prompts: Sequence[Prompt],
    samples: Artifact,
) -> Stage:
    """Judgements on each prompt's pool: one row a match (pair judge) or a candidate."""

    def work(space: Workspace) -> None:
        rows = judged_rows(space, VERDICTS, final=plan.judged_by == "self")
        groups = [
            group
            for group in pools(prompts, read_completions(samples, SAMPLES), plan)
            if not has_own_pair(group.prompt, plan)
        ]
        with context.reporter.track("judging", len(groups)) as advance:
            for start in range(0, len(groups), CHUNK):
                chunk = groups[start : start + CHUNK]
                if isinstance(judge, PairJudge):
                    _compare(judge, chunk, rows, space)
                else:
                    _score(judge, chunk, rows, space)
                advance(len(chunk))

    return Stage(
        name="verdicts",
        version=1,
        params={
            "judge": judge.identity,
            "judge_revision": judge_revision(experiment.config.judge.train)
            if plan.judged_by == "configured"
            else "",
            "gold": plan.gold,
            "fixed_data": plan.sampler != "previous",
        },
        inputs={"samples": samples.digest, "prompts": digest(prompts)},
        seed=experiment.config.seed,
        work=work,
        label=f"judge {len(prompts)} pools by {judge.identity}",
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
            filled.append(Group(group.prompt, group.completions, scores, scale=SHARES))
        elif scale is None:
            said = {(i, j): rows[match.id]["p"] for i, j, match in pool_matches(group)}
            preferences = matrix(size, said)
            scores = pool_scores(preferences, judge)
            filled.append(Group(group.prompt, group.completions, scores, preferences, SHARES))
        else:
            given = [rows[f"{group.prompt.id}/{i}"] for i in range(size)]
            scores = tuple(Score(row["value"], judge, row["error"]) for row in given)
            both = _from_scores(scores, scale) if plan.judge == "compare" else None
            filled.append(Group(group.prompt, group.completions, scores, both, scale))
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


def _compare(judge: PairJudge, groups: Sequence[Group], rows: Rows, space: Workspace) -> None:
    asked = [
        match for group in groups for _, _, match in pool_matches(group) if not rows.done(match.id)
    ]
    for verdict in verdicts(judge, asked):
        _keep(verdict, rows, space)


def _score(judge: ScoreJudge, groups: Sequence[Group], rows: Rows, space: Workspace) -> None:
    asked = [
        group
        for group in groups
        if not all(rows.done(f"{group.prompt.id}/{i}") for i in range(len(group.completions)))
    ]
    answers = judge.score(asked)
    for group in asked:
        scores = next(answers, ())
        for i in range(len(group.completions)):
            silent = Score(None, judge.identity, "the judge gave no score")
            score = scores[i] if i < len(scores) else silent
            error = None if score.value is not None else score.error or "no reason given"
            rows.append({"id": f"{group.prompt.id}/{i}", "value": score.value, "error": error})
            space.spend(score.usage)


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


def judge_matches(
    context: Context,
    judge: PairJudge,
    matches: Sequence[Match],
    rows: Rows,
    space: Workspace,
    label: str,
) -> list[Verdict]:
    """One verdict a match, in order; what `rows` has from an earlier attempt is not asked again."""
    missing = [match for match in matches if not rows.done(match.id)]
    with context.reporter.track(label, len(matches)) as advance:
        advance(len(matches) - len(missing))
        for start in range(0, len(missing), MATCHES):
            for verdict in verdicts(judge, missing[start : start + MATCHES]):
                _keep(verdict, rows, space)
                advance(1)
    said = {row["id"]: row for row in rows.all()}
    return [_verdict(said[match.id], judge.identity) for match in matches]


def rate(judged: Sequence[tuple[Match, Verdict]], seed: int) -> WinRate:
    """The win rate of the first answers; by construction where both are the same throughout."""
    if all(match.a.text == match.b.text for match, _ in judged):
        return by_construction(len(judged), "both sides gave the same outputs")
    # by instruction, as a file of judgements is sorted: the bootstrap then draws the same rows
    said = [(match.prompt.instruction, verdict.p, verdict.error) for match, verdict in judged]
    return winrate.rate(said, seed)


def judged_rows(space: Workspace, name: str, *, final: bool = False) -> Rows:
    """Rows of judgements by id; those that failed do not count as done, unless failures are
    `final`: a policy says the same of the same text whenever it is asked."""
    return space.rows(
        name, lambda row: str(row["id"]), lambda row: not final and row["error"] is not None
    )


def _keep(verdict: Verdict, rows: Rows, space: Workspace) -> None:
    """A verdict and what it cost, at once: a budget or a crash may end the next one."""
    error = None if verdict.p is not None else verdict.error or "no reason given"
    row = {"id": verdict.match_id, "p": verdict.p, "error": error}
    rows.append({**row, "by_order": verdict.by_order} if verdict.by_order else row)
    space.spend(verdict.usage)


def _verdict(row: Mapping[str, codec.Json], judge: str) -> Verdict:
    by_order = row.get("by_order")
    return Verdict(
        row["id"], row["p"], judge, row["error"], by_order=tuple(by_order) if by_order else None
    )
