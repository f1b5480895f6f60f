"""What a run folder says, as frozen dataclasses, for boards and reports.

`harness.runs.read_run` builds a `RunRecord` from a folder.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from harness.config import EvalConfig, RunConfig
from harness.types import Controls, Overlap, Result, WinRate


@dataclass(frozen=True, slots=True)
class Spread:
    """Mean and standard deviation (ddof 1; 0 where there is one value)."""

    mean: float
    sd: float


@dataclass(frozen=True, slots=True)
class Composition:
    """The data of one iteration: the columns of DNO's Table 2, and why prompts gave nothing.

    `pairs` counts new examples by type (`teacher>student`, `student>teacher`, `student>student`,
    `dataset`; for other kinds `demo:teacher` …) before the cap; `trained` those after it;
    `replayed` those that came back from older iterations. Values under a pair judge are win rates
    inside the pool (0..1), under a score judge scores. None: not measurable here.
    """

    inputs: int
    student_length: Spread | None
    best_student_vs_teacher: float | None
    student_wins: float | None
    student_score: float | None
    teacher_score: float | None
    pairs: Mapping[str, int]
    trained: Mapping[str, int]
    replayed: int
    unused_prompts: Mapping[str, int]
    judge: str
    judge_failures: Mapping[str, int]
    tie_rate: float | None
    length_score_correlation: float | None
    chosen_length: Spread | None
    rejected_length: Spread | None
    sampled_limit_share: float | None


@dataclass(frozen=True, slots=True)
class TrainStep:
    """One optimiser step: the mean loss over its examples and the mean of each diagnostic."""

    step: int
    epoch: float
    loss: float
    learning_rate: float
    grad_norm: float
    diagnostics: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class TrainSummary:
    """One iteration's training. `tokens` counts the tokens of all forward passes that were
    trained on, prompts included. `after` are means of the method's diagnostics over all examples
    under the finished policy (and its `loss`). `left_out` examples had no finite log-prob under a
    reference; `set_aside` ones were not taken, so that methods cost the same (`--match`)."""

    examples: int
    tokens: int
    steps: tuple[TrainStep, ...]
    after: Mapping[str, float]
    left_out: int = 0
    set_aside: int = 0


@dataclass(frozen=True, slots=True)
class Drift:
    """KL(this policy || previous) in nats a completion, sampled from this policy at temperature 1,
    and the same a token; `se` is over prompts. `improvement_bound` is the share of wins against the
    previous policy (0..1) that an exact update has at least, ½ + η·KL; None where the method
    promises none (`Improves`)."""

    kl: float
    se: float
    kl_per_token: float
    prompts: int
    samples: int
    max_new_tokens: int
    improvement_bound: float | None = None


@dataclass(frozen=True, slots=True)
class StageCost:
    """What one stage cost when it was computed (a reused one costs nothing again)."""

    stage: str
    seconds: float
    prompt_tokens: int
    completion_tokens: int
    usd: float


@dataclass(frozen=True, slots=True)
class IterationRecord:
    """One iteration; iteration 0 is the start model and has a result only.

    `revisions` name the code that computed its stages: more than one where it was changed on the
    way, or where a stage was taken from an earlier run. `controls` are None where the scores are
    from before there were any. `validation` is the win rate against iteration 0 on validation
    prompts by the training data's judge; None for iteration 0 and for older runs. `digests` has the
    sha256 of what each stage wrote.
    """

    iteration: int
    result: Result
    composition: Composition | None
    training: TrainSummary | None
    drift: Drift | None
    costs: tuple[StageCost, ...]
    revisions: tuple[str, ...] = ()
    controls: Controls | None = None
    validation: WinRate | None = None
    digests: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class EvalRecord:
    """An evaluation's folder: one model, or one file of outputs, scored without a run.

    `missing` prompts of the benchmark have no output in the file and are in no number.
    """

    name: str
    path: Path
    config: EvalConfig
    result: Result
    controls: Controls | None
    missing: int
    costs: tuple[StageCost, ...]
    provenance: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class RunRecord:
    """A run folder. `provenance` holds versions, git revision, command, seeds and digests;
    `contamination` what training prompts hold of the benchmark, where the run was let go on.
    `iterations` are the scored ones; `begun` names the stages that the next one has finished."""

    name: str
    path: Path
    method: str
    paper: str
    config: RunConfig
    iterations: tuple[IterationRecord, ...]
    provenance: Mapping[str, str]
    contamination: tuple[Overlap, ...] = ()
    begun: tuple[str, ...] = ()

    @property
    def missing(self) -> int:
        """How many of the iterations that were asked for, iteration 0 included, have no scores."""
        return self.config.iterations + 1 - len(self.iterations)

    @property
    def best(self) -> IterationRecord | None:
        """The iterate to keep: the highest win rate against iteration 0 on the validation prompts,
        iteration 0 itself at 50; the earliest of equals. None where nothing was validated."""
        found = {
            r.iteration: r.validation.value
            for r in self.iterations
            if r.validation is not None and r.validation.value is not None
        }
        if not found:
            return None
        candidates = [r for r in self.iterations if not r.iteration or r.iteration in found]
        return max(candidates, key=lambda r: (found.get(r.iteration, 50.0), -r.iteration))


# --- prompt by prompt: too much for a record, read where outputs are shown ----------------------


@dataclass(frozen=True, slots=True)
class Answer:
    """One iteration's answer to a benchmark prompt, and the probability `p` that it beats the
    opponent's; None where that judgement failed, and `error` says why."""

    iteration: int
    text: str
    p: float | None
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Answered:
    """A benchmark prompt with each iteration's answer. `opponent` is the answer that they were
    judged against; None where no file holds it."""

    id: str
    instruction: str
    opponent: str | None
    answers: tuple[Answer, ...]


@dataclass(frozen=True, slots=True)
class Values:
    """How often a judge gave which number: counts in equal bins from `low` to `high`, the last one
    closed. A `preference` is the probability (0..1) that the first of two candidates wins."""

    kind: Literal["preference", "score"]
    low: float
    high: float
    counts: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class RunDetails:
    """The benchmark's prompts with all answers, and what the judges said by iteration: that of the
    evaluation against the opponent, that of the training data among the candidates."""

    prompts: tuple[Answered, ...] = ()
    evaluation_values: Mapping[int, Values] = field(default_factory=dict)
    training_values: Mapping[int, Values] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class GameIteration:
    """Policy π_t of a preference game; t = 1 is the start policy.

    `gap_last` and `gap_average` are the duality gaps (0..1) of π_t and of the uniform mixture of
    π_1..π_t. Against the predecessor, None at the start: P(π_t ≻ π_{t−1}), KL(π_t ‖ π_{t−1}) in
    nats, and ½ + η·KL, which an exact update's win rate is at least.
    """

    iteration: int
    gap_last: float
    gap_average: float
    win_rate_vs_previous: float | None
    kl_to_previous: float | None
    improvement_bound: float | None
    policy: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class GameRun:
    """One method, or one exact update, in one game of preferences `payoff`, P(row ≻ column).

    `eta` multiplies log-ratios; `tau` draws to the reference policy (0: not at all), which is
    `uniform` or the `start`. `pool` is the actions a pool, None where nothing was sampled.
    """

    player: str
    game: str
    payoff: tuple[tuple[float, ...], ...]
    eta: float
    tau: float
    reference: str
    pool: int | None
    seed: int
    iterations: tuple[GameIteration, ...]
