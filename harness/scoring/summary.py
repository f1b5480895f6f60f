"""All that is said of one model's judgements: raw, discrete and length-controlled win rate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from harness.scoring import alpaca
from harness.scoring.length_control import C, length_control
from harness.scoring.winrate import rate
from harness.types import Judgement, LengthControl, WinRate

EQUAL = (
    "all preferences are equal, so resampling them shows no uncertainty: the interval is too narrow"
)


@dataclass(frozen=True, slots=True)
class Summary:
    """One model against one baseline by one judge.

    `n_missing` of AlpacaEval's 805 instructions were not given (None for other instructions).
    `length_control` is None where there is nothing to fit; `caveats` say what the numbers leave
    out.
    """

    n_missing: int | None
    win_rate: WinRate
    discrete_win_rate: float | None
    avg_length: float | None
    length_control: LengthControl | None
    is_alpaca: bool
    caveats: tuple[str, ...]


def summarise(
    judgements: Sequence[Judgement], seed: int, *, baseline: str | None = None, c: float = C
) -> Summary:
    """Scores of judgements.

    They are AlpacaEval's where most instructions are its own and the baseline is GPT-4-Turbo, by
    name (`baseline` None: taken to be so). Then instructions that are not its own count in the raw
    win rate but not in LC.
    """
    named = alpaca.known([j.instruction for j in judgements])
    foreign = [j for j, ours in zip(judgements, named, strict=True) if not ours]
    same_baseline = baseline is None or baseline in alpaca.BASELINES
    mostly = 2 * len(foreign) < len(judgements)
    is_alpaca = mostly and same_baseline
    win_rate = rate([(j.instruction, j.p, j.error) for j in judgements], seed)
    lengths = [j.model_chars for j in judgements if j.model_chars is not None]
    controlled = length_control(judgements, seed, is_alpaca=is_alpaca, c=c)
    n, wins, draws = win_rate.n, win_rate.n_wins, win_rate.n_draws
    return Summary(
        n_missing=len(alpaca.difficulty()) - sum(named) if is_alpaca else None,
        win_rate=win_rate,
        discrete_win_rate=100 * (wins + draws / 2) / n if n else None,
        avg_length=float(np.mean(lengths)) if lengths else None,
        length_control=controlled,
        is_alpaca=is_alpaca,
        caveats=tuple(_caveats(judgements, foreign, win_rate, controlled, is_alpaca)),
    )


def _caveats(
    judgements: Sequence[Judgement],
    foreign: Sequence[Judgement],
    win_rate: WinRate,
    controlled: LengthControl | None,
    is_alpaca: bool,
) -> list[str]:
    said = []
    values = {j.p for j in judgements if j.p is not None}
    unmeasured = sum(
        j.p is not None and (j.model_chars is None or j.baseline_chars is None) for j in judgements
    )
    if win_rate.n_failed:
        said.append(f"{win_rate.n_failed} of {len(judgements)} judgements failed and count nowhere")
    if is_alpaca and foreign:
        said.append(
            f"{len(foreign)} of {len(judgements)} instructions are not AlpacaEval's (the first: "
            f"{foreign[0].instruction[:60]!r}): they count in the raw win rate, not in LC"
        )
    if is_alpaca and len(judgements) - len(foreign) < len(alpaca.difficulty()):
        missing = len(alpaca.difficulty()) - len(judgements) + len(foreign)
        said.append(f"{missing} of AlpacaEval's 805 instructions are missing")
    if unmeasured:
        said.append(f"{unmeasured} rows have no lengths and are left out of length control")
    if win_rate.n == 1:
        said.append("one judged instruction has no interval")
    elif len(values) == 1:
        said.append(EQUAL)
    return [*said, *(controlled.caveats if controlled else ())]
