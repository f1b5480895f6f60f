"""A policy's scores."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal


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
