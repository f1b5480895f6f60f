"""The frozen dataclasses and protocols that cross rooms.

Nothing here imports another room or a heavy package: whoever writes a method, a judge or a
benchmark needs this module (and torch, for a method's loss) and nothing else.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import TYPE_CHECKING, ClassVar, Literal, NamedTuple, Protocol, runtime_checkable

if TYPE_CHECKING:
    from torch import Tensor

Source = Literal["initial", "policy", "gold", "dataset"]
PolicyRef = Literal["initial", "previous"]
FinishReason = Literal["stop", "length"]


# --- prompts and what is said to them ---------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a conversation; role is `system`, `user` or `assistant`."""

    role: str
    content: str


@dataclass(frozen=True, slots=True)
class Prompt:
    """A conversation that awaits an answer.

    `gold` is a strong (the teacher's) answer, `rejected` a weaker one of the data set's own, where
    the data has them; `source` names the data set.
    """

    id: str
    messages: tuple[Message, ...]
    gold: str | None = None
    rejected: str | None = None
    source: str = ""

    @property
    def instruction(self) -> str:
        """The last user turn: what AlpacaEval's format calls the instruction."""
        return next((m.content for m in reversed(self.messages) if m.role == "user"), "")


@dataclass(frozen=True, slots=True)
class Completion:
    """One answer to a prompt.

    `token_ids` are the ids as they were sampled, the end-of-turn token included; empty where the
    text was not sampled here (gold, data sets), and then training tokenises `text`.
    `finish_reason` is `length` where the token limit cut it.
    """

    prompt_id: str
    sample: int
    text: str
    token_ids: tuple[int, ...] = ()
    finish_reason: FinishReason = "stop"
    source: Source = "policy"


@dataclass(frozen=True, slots=True)
class SampleSpec:
    """How to sample: `samples` completions a prompt; temperature 0 is greedy; top_p in (0, 1].

    The stream of random numbers of a completion depends on (seed, prompt id, sample number) only.
    """

    samples: int
    temperature: float
    top_p: float
    max_new_tokens: int
    seed: int
    source: Source = "policy"


# --- judging ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Usage:
    """What a step cost."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    usd: float = 0.0
    seconds: float = 0.0

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            self.prompt_tokens + other.prompt_tokens,
            self.completion_tokens + other.completion_tokens,
            self.usd + other.usd,
            self.seconds + other.seconds,
        )


@dataclass(frozen=True, slots=True)
class Match:
    """Two answers to one prompt, to be compared."""

    id: str
    prompt: Prompt
    a: Completion
    b: Completion


@dataclass(frozen=True, slots=True)
class Verdict:
    """`p` is the probability that a beats b; None when the judge failed, and `error` says why.

    `order` says which answer the judge saw first. `by_order` is p with a first and p with b first,
    where both were asked for.
    """

    match_id: str
    p: float | None
    judge: str
    error: str | None = None
    order: Literal["ab", "ba", "both"] = "ab"
    usage: Usage = Usage()
    by_order: tuple[float, float] | None = None


@dataclass(frozen=True, slots=True)
class Score:
    """An absolute score of one completion; None when the judge failed, and `error` says why."""

    value: float | None
    judge: str
    error: str | None = None
    usage: Usage = Usage()


@dataclass(frozen=True, slots=True)
class Group:
    """All that is known of one prompt's candidates.

    `scores` has one entry a completion (a pair judge's are win rates inside the pool, 0..1);
    `scale` is the lowest and the highest that a score can be, None where nobody said;
    `preferences[i][j]` is the probability that completion i beats completion j, the diagonal ½,
    None where that judgement failed or was not asked for.
    """

    prompt: Prompt
    completions: tuple[Completion, ...]
    scores: tuple[Score, ...] | None = None
    preferences: tuple[tuple[float | None, ...], ...] | None = None
    scale: tuple[float, float] | None = None


@runtime_checkable
class PairJudge(Protocol):
    """Compares two answers. One verdict a match, in order; a failure is a verdict without p.

    `reference_based`: the verdict leans on the prompt's gold answer, so that answer must not be
    an opponent that this judge ranks.
    """

    @property
    def identity(self) -> str: ...
    @property
    def reference_based(self) -> bool: ...

    def compare(self, matches: Sequence[Match]) -> Iterator[Verdict]: ...


@runtime_checkable
class ScoreJudge(Protocol):
    """Scores each candidate of a group absolutely. One sequence of scores a group, in order.

    `scale` is (lowest, highest) score.
    """

    @property
    def identity(self) -> str: ...
    @property
    def reference_based(self) -> bool: ...
    @property
    def scale(self) -> tuple[float, float]: ...

    def score(self, groups: Sequence[Group]) -> Iterator[Sequence[Score]]: ...


class Sampler(Protocol):
    """Yields `spec.samples` completions a prompt, in the order in which they finish."""

    def sample(self, prompts: Sequence[Prompt], spec: SampleSpec) -> Iterator[Completion]: ...


# --- examples: what a method trains on --------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Demo:
    """An answer to imitate."""

    prompt: Prompt
    completion: Completion
    weight: float = 1.0
    iteration: int = 0


@dataclass(frozen=True, slots=True)
class Pair:
    """Two answers of which the first is preferred.

    The values are the judge's (win rates inside the pool, or scores): soft targets read them.
    """

    prompt: Prompt
    chosen: Completion
    rejected: Completion
    chosen_value: float
    rejected_value: float
    weight: float = 1.0
    iteration: int = 0

    @property
    def margin(self) -> float:
        return self.chosen_value - self.rejected_value


@dataclass(frozen=True, slots=True)
class Labelled:
    """One answer marked desirable or not."""

    prompt: Prompt
    completion: Completion
    desirable: bool
    weight: float = 1.0
    iteration: int = 0


Example = Demo | Pair | Labelled


@dataclass(frozen=True, slots=True)
class LogProbs:
    """Summed completion log-probs and completion lengths in tokens, both [rows].

    A batch of n pairs has 2n rows: the n chosen ones first, then the n rejected ones. Other kinds
    have one row an example. Where the plan asks for it, `mismatched` has the sums of answers to
    other prompts, one for each row of the whole optimiser step, whatever part of it this is, and
    without gradient; else it is None.
    """

    sums: Tensor
    lengths: Tensor
    mismatched: Tensor | None = None

    @property
    def chosen(self) -> Tensor:
        """[n] sums of a pair batch's first half."""
        return self.sums[: self.sums.shape[0] // 2]

    @property
    def rejected(self) -> Tensor:
        """[n] sums of a pair batch's second half."""
        return self.sums[self.sums.shape[0] // 2 :]


@dataclass(frozen=True, slots=True)
class Batch:
    """The examples of one step, as tensors.

    `weights` [n]; `values` [rows], in the order of `LogProbs.sums` (pairs: chosen values, then
    rejected values; zeros for demos); `desirable` [rows] booleans (all true for demos; pairs: true
    for the first half).
    """

    weights: Tensor
    values: Tensor
    desirable: Tensor


class Loss(NamedTuple):
    """`mean` is the scalar to minimise; `diagnostics` are detached [n] tensors, one value an
    example, averaged over a step's examples by whoever logs them."""

    mean: Tensor
    diagnostics: Mapping[str, Tensor]


# --- methods ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Hyper:
    """A method's own training defaults; presets, files and --set override them."""

    learning_rate: float = 5e-7
    lora_learning_rate: float = 5e-5
    epochs: int = 1
    batch_size: int = 64


@dataclass(frozen=True, slots=True)
class Plan:
    """What one iteration does, as papers leave it unsaid.

    `samples` completions a prompt from the `sampler` policy; `gold` lets the teacher's completion
    join the candidates; `judge` says whether candidates are scored, compared or neither, and
    `judged_by` by whom; training starts from `start` and measures log-ratios against
    `references`; `replay[k]` is the share of iteration t-1-k's own new examples that come back;
    `mismatched` asks for the log-probs of answers paired with other prompts.
    """

    samples: int
    sampler: Literal["none", "initial", "previous"]
    gold: bool
    judge: Literal["none", "score", "compare"]
    judged_by: Literal["configured", "self"] = "configured"
    start: PolicyRef = "previous"
    references: tuple[PolicyRef, ...] = ("previous",)
    replay: tuple[float, ...] = ()
    mismatched: bool = False


class Method(Protocol):
    """A post-training method: declared choices and two pure functions (see docs/adding-a-method).

    A method is a frozen dataclass whose fields are its settings (`--set method.beta=0.05`).
    """

    name: ClassVar[str]
    paper: ClassVar[str]
    defaults: ClassVar[Hyper]

    def plan(self, iteration: int, iterations: int) -> Plan:
        """The plan of iteration 1..iterations."""
        ...

    def examples(self, group: Group, rng: Random) -> Iterable[Example]:
        """Training examples from one prompt's judged candidates; pure, randomness from `rng`."""
        ...

    def loss(self, policy: LogProbs, references: Mapping[str, LogProbs], batch: Batch) -> Loss:
        """The loss of one batch; pure, on plain tensors; `references` has the plan's keys."""
        ...


@runtime_checkable
class Improves(Protocol):
    """A method whose exact update promises P(π_{t+1} ≻ π_t) ≥ ½ + η·KL(π_{t+1} ‖ π_t)
    (arXiv 2404.03715, monotonic improvement): this is its η, which multiplies the log-ratio."""

    @property
    def improvement_eta(self) -> float: ...


# --- scores -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class WinRate:
    """A win rate in percent with its uncertainty over prompts.

    `se` is the standard error of the mean (ddof 1), `ci95` a bootstrap interval over prompts;
    both None where fewer than two prompts were judged. Failed judgements are counted in
    `n_failed` and are in no other number. `by_construction` says why the value is not a
    measurement, where it is not one.
    """

    value: float | None
    se: float | None
    ci95: tuple[float, float] | None
    n: int
    n_wins: int
    n_losses: int
    n_draws: int
    n_failed: int
    failures: Mapping[str, int] = field(default_factory=dict)
    by_construction: str | None = None


@dataclass(frozen=True, slots=True)
class Judgement:
    """One benchmark instruction: the model's output against the baseline's.

    `p` is the probability that the model beats the baseline, None where the judge failed (`error`
    says why). Lengths in characters, None where they are not known.
    """

    instruction: str
    p: float | None
    error: str | None
    model_chars: int | None
    baseline_chars: int | None


LengthControlKind = Literal["LC", "length-adjusted"]


@dataclass(frozen=True, slots=True)
class LengthControl:
    """The win rate in percent at equal lengths, by a logistic model of the preferences.

    `LC` is AlpacaEval 2.0's (Dubois et al. 2024, arXiv:2404.04475): its instructions, its
    baseline, known difficulties. `length-adjusted` is the same without difficulty, for any other
    benchmark or opponent; the two are not comparable. The model is σ(θ·t + φ·g + ψ) for
    standardised length difference t and difficulty g; `phi` is None without difficulty; `c` is
    the strength of the data against the L1 penalty, `rule` says how it was chosen. `spread` is
    what AlpacaEval calls lc_standard_error: the spread of the predictions, not the estimate's
    error; that is in `ci95`, a bootstrap over instructions with refits (None below two rows).
    """

    kind: LengthControlKind
    value: float
    ci95: tuple[float, float] | None
    spread: float | None
    theta: float
    phi: float | None
    psi: float
    c: float
    rule: str
    n: int
    caveats: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Difference:
    """a − b in percentage points, paired over the same instructions.

    `ci95` is a paired bootstrap's interval and `p_value` two-sided, from its standard error; both
    None below two instructions.
    """

    value: float
    ci95: tuple[float, float] | None
    p_value: float | None


ControlName = Literal["null", "padded", "shortened"]


@dataclass(frozen=True, slots=True)
class Control:
    """An answer whose quality is known, judged as if it were the policy's.

    `name` is `null` (the same empty phrase to every prompt), `padded` (the policy's own output
    with filler that says nothing) or `shortened` (its beginning). `vs_own` is its win rate less
    the policy's own on the same prompts; None where either was not measured.
    """

    name: ControlName
    win_rate: WinRate
    vs_own: Difference | None
    avg_chars: float


@dataclass(frozen=True, slots=True)
class Controls:
    """The controls of one policy on a seeded sample of the benchmark's prompts; `own` is the
    policy's own win rate there."""

    judge: str
    opponent: str
    prompts: int
    own: WinRate
    controls: tuple[Control, ...]


@dataclass(frozen=True, slots=True)
class OrderBias:
    """How much the order of two answers decides, over `n` matches that were judged in both.

    `consistency` is the share (0..1) of matches in which both orders name the same winner,
    `first_slot_rate` the share of all judgements that the answer shown first wins (ties ½).
    """

    n: int
    consistency: float
    first_slot_rate: float


@dataclass(frozen=True, slots=True)
class Lengths:
    """Characters of the outputs, and the share (0..1) that hit the token limit."""

    mean: float
    sd: float
    median: float
    p95: float
    limit_share: float


@dataclass(frozen=True, slots=True)
class Result:
    """One policy's scores on one benchmark.

    benchmark (with version), decoding and judge together are a board's key. `opponent` names the
    fixed anchor of `win_rate`. `vs_initial` and `vs_previous` are against the run's own earlier
    policies by the same judge. `length_control` and `order_bias` are those of `win_rate`;
    `order_bias` is None where the judge was asked in one order only.
    """

    benchmark: str
    decoding: str
    judge: str
    opponent: str
    win_rate: WinRate
    vs_initial: WinRate
    vs_previous: WinRate
    lengths: Lengths
    length_control: LengthControl | None = None
    order_bias: OrderBias | None = None


@dataclass(frozen=True, slots=True)
class Overlap:
    """A training prompt that holds a benchmark's instruction, by the prompts' ids.

    `share` (0..1] of the instruction's words stand in the training prompt, in word n-grams.
    """

    train_id: str
    benchmark_id: str
    share: float
