"""Answers whose worth is known, judged as if they were the policy's, on a sample of its prompts."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import get_args

import numpy as np

from harness.evaluation import Evaluation
from harness.scoring.bootstrap import paired_difference
from harness.scoring.controls import control_text
from harness.scoring.winrate import win_rate
from harness.stages.common import Context
from harness.stages.judging import judge_matches, rate
from harness.store import Rows, Workspace
from harness.types import (
    Completion,
    Control,
    ControlName,
    Controls,
    Difference,
    Match,
    Verdict,
)

NAMES: tuple[ControlName, ...] = get_args(ControlName)


def control_prompts(evaluation: Evaluation) -> list[str]:
    """Ids of the prompts that controls answer: a sample by the seed and all ids alone."""
    ids = sorted(prompt.id for prompt in evaluation.benchmark.prompts)
    size = min(evaluation.settings.controls, len(ids))
    return sorted(Random(f"controls:{evaluation.seed}").sample(ids, size))


def judge_controls(
    context: Context,
    evaluation: Evaluation,
    own: Sequence[tuple[Match, Verdict]],
    rows: Rows,
    space: Workspace,
) -> Controls:
    """Each control against the opponent, beside the verdicts on the policy's `own` outputs."""
    judged = {match.prompt.id: (match, verdict) for match, verdict in own}
    sample = [judged[name] for name in control_prompts(evaluation)]
    controls = []
    for name in NAMES:
        matches = [
            Match(f"{match.prompt.id}/{name}", match.prompt, _answer(name, match.a), match.b)
            for match, _ in sample
        ]
        label = f"judging {name} answers"
        said = judge_matches(context, evaluation.judge, matches, rows, space, label)
        controls.append(
            Control(
                name=name,
                win_rate=win_rate(said, evaluation.seed),
                vs_own=_difference(said, [verdict for _, verdict in sample], evaluation.seed),
                avg_chars=float(np.mean([len(match.a.text) for match in matches])),
            )
        )
    return Controls(
        judge=evaluation.judge.identity,
        opponent=evaluation.opponent,
        prompts=len(sample),
        own=rate(sample, evaluation.seed),
        controls=tuple(controls),
    )


def _answer(name: ControlName, own: Completion) -> Completion:
    """The control in place of the output. One that is made of it stays cut off where it was, so
    that the text alone makes the difference."""
    finish = "stop" if name == "null" else own.finish_reason
    return Completion(own.prompt_id, 0, control_text(name, own.text), (), finish, own.source)


def _difference(theirs: Sequence[Verdict], own: Sequence[Verdict], seed: int) -> Difference | None:
    """A control's rate less the policy's own, over the prompts where both were judged."""
    both = [(a.p, b.p) for a, b in zip(theirs, own, strict=True) if None not in (a.p, b.p)]
    if not both:
        return None
    a, b = np.array(both, dtype=np.float64).T
    return paired_difference(a, b, seed)
