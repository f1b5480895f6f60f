"""The stage that scores a policy's outputs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from harness import codec
from harness.data.annotations import annotation
from harness.data.sources import digest
from harness.evaluation import Evaluation
from harness.scoring.length_control import length_control
from harness.scoring.winrate import lengths, order_bias
from harness.stages.common import Context
from harness.stages.controls import control_prompts, judge_controls
from harness.stages.judging import judge_matches, judged_rows, rate
from harness.stages.outputs import OUTPUTS, OUTPUTS_JSON
from harness.stages.sampling import read_completions
from harness.store import Artifact, Rows, Stage, Workspace
from harness.types import (
    Completion,
    Controls,
    Judgement,
    LengthControl,
    Match,
    Prompt,
    Result,
    Verdict,
    WinRate,
)

SCORES, MATCHES = "scores.json", "matches.jsonl"
CONTROLS, ANNOTATIONS = "controls.json", "annotations.json"
OPPONENT = "opponent"


@dataclass(frozen=True, slots=True)
class Anchors:
    """The outputs that a policy's are compared with, beside the gold answers."""

    initial: Artifact
    previous: Artifact


@dataclass(frozen=True, slots=True)
class Compared:
    """A policy's outputs (a) against others (b), in the benchmark's order."""

    judged: Sequence[tuple[Match, Verdict]]
    rate: WinRate

    def is_against(self, theirs: Sequence[Completion]) -> bool:
        return [match.b.text for match, _ in self.judged] == [answer.text for answer in theirs]


def scores_stage(
    context: Context, evaluation: Evaluation, outputs: Artifact, anchors: Anchors
) -> Stage:
    """Win rates of one policy's outputs against the opponent, the initial and the previous
    policy, and the controls beside it. Anchors with the same outputs are judged once. The
    judgements against the opponent are also written as AlpacaEval's annotations.json.

    Controls are part of it so that a judgement that failed is asked for again without the rest."""
    benchmark = evaluation.benchmark

    def work(space: Workspace) -> None:
        rows = judged_rows(space, MATCHES)
        ours = read_outputs(evaluation, outputs)
        compared: dict[str, Compared] = {}
        for role, theirs in (
            (OPPONENT, opponent_outputs(evaluation, anchors.initial)),
            ("initial", read_outputs(evaluation, anchors.initial)),
            ("previous", read_outputs(evaluation, anchors.previous)),
        ):
            known = next((c for c in compared.values() if c.is_against(theirs)), None)
            compared[role] = known or _compare(
                context, evaluation, _matches(evaluation, role, ours, theirs), rows, space
            )
        against = compared[OPPONENT]
        result = Result(
            benchmark=benchmark.name,
            decoding=evaluation.decoding,
            judge=evaluation.judge.identity,
            opponent=evaluation.opponent,
            win_rate=against.rate,
            vs_initial=compared["initial"].rate,
            vs_previous=compared["previous"].rate,
            lengths=lengths(ours),
            length_control=_length_control(evaluation, against),
            order_bias=order_bias([verdict for _, verdict in against.judged]),
        )
        controls = judge_controls(context, evaluation, against.judged, rows, space)
        generator = codec.read_json(outputs.path / OUTPUTS_JSON, "The outputs file")[0]["generator"]
        space.write_json(ANNOTATIONS, _annotations(evaluation, against, generator))
        space.write_json(CONTROLS, codec.dump(controls))
        space.write_json(SCORES, codec.dump(result))

    return Stage(
        name="scores",
        version=2,
        params={
            "benchmark": benchmark.name,
            "decoding": evaluation.decoding,
            "judge": evaluation.judge.identity,
            "judge_revision": evaluation.judge_revision,
            "opponent": evaluation.opponent,
            "controls": len(control_prompts(evaluation)),
        },
        inputs={
            "outputs": outputs.digest,  # with their generator's name, which annotations repeat
            "initial": anchors.initial.digest_of(OUTPUTS),
            "previous": anchors.previous.digest_of(OUTPUTS),
            "prompts": digest(benchmark.prompts),
        },
        seed=evaluation.seed,
        work=work,
        label=f"score by {evaluation.judge.identity}",
    )


def read_result(artifact: Artifact) -> Result:
    return codec.load(Result, codec.read_json(artifact.path / SCORES, "The scores file"))


def read_controls(artifact: Artifact) -> Controls | None:
    """None where the scores are from before there were controls."""
    if CONTROLS not in artifact.manifest.files:
        return None
    return codec.load(Controls, codec.read_json(artifact.path / CONTROLS, "The controls file"))


def read_outputs(evaluation: Evaluation, artifact: Artifact) -> list[Completion]:
    """An outputs stage's completions in the benchmark's order."""
    return _ordered(evaluation.benchmark.prompts, read_completions(artifact, OUTPUTS))


def opponent_outputs(evaluation: Evaluation, initial: Artifact) -> list[Completion]:
    """The opponent's answers in the benchmark's order; `initial` are the start model's."""
    if evaluation.opponent_is_gold:
        return list(evaluation.benchmark.gold())
    return read_outputs(evaluation, initial)


def _matches(
    evaluation: Evaluation, role: str, ours: Sequence[Completion], theirs: Sequence[Completion]
) -> list[Match]:
    prompts = evaluation.benchmark.prompts
    return [
        Match(f"{prompt.id}/{role}", prompt, a, b)
        for prompt, a, b in zip(prompts, ours, theirs, strict=True)
    ]


def _compare(
    context: Context, evaluation: Evaluation, matches: list[Match], rows: Rows, space: Workspace
) -> Compared:
    judge = evaluation.judge
    if all(match.a.text == match.b.text for match in matches):
        ties = [(match, Verdict(match.id, 0.5, judge.identity)) for match in matches]
        return Compared(ties, rate(ties, evaluation.seed))
    verdicts = judge_matches(context, judge, matches, rows, space, "scoring")
    judged = list(zip(matches, verdicts, strict=True))
    return Compared(judged, rate(judged, evaluation.seed))


def _length_control(evaluation: Evaluation, against: Compared) -> LengthControl | None:
    if against.rate.by_construction:
        return None
    judgements = [
        Judgement(m.prompt.instruction, v.p, v.error, len(m.a.text), len(m.b.text))
        for m, v in against.judged
    ]
    return length_control(judgements, evaluation.seed, is_alpaca=evaluation.is_alpaca)


def _annotations(evaluation: Evaluation, against: Compared, generator: str) -> list[codec.Json]:
    """AlpacaEval's format: the opponent is the first output, and a preference is 1 + p."""
    return [
        annotation(
            match.prompt.source,
            match.prompt.instruction,
            (evaluation.opponent, match.b.text),
            (generator, match.a.text),
            replace(verdict, judge=evaluation.judge.identity),
        )
        for match, verdict in against.judged
    ]


def _ordered(prompts: Sequence[Prompt], outputs: Sequence[Completion]) -> list[Completion]:
    found = {output.prompt_id: output for output in outputs}
    return [found[prompt.id] for prompt in prompts]
