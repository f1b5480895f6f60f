"""What a run says on the terminal of its iterations."""

from __future__ import annotations

from harness.records import IterationRecord, RunRecord
from harness.text import control_text, order_text, rate_text


def count_text(iterations: int) -> str:
    return f"{iterations} iteration" + ("s" if iterations > 1 else "")


def best_line(record: RunRecord) -> str:
    """Which iterate to keep, beside the last one."""
    best, last = record.best, record.iterations[-1]
    if best is None:
        return "best iterate: not chosen, since no validation judgement came back"

    def told(iteration: IterationRecord) -> str:
        won = iteration.validation
        return f"iteration {iteration.iteration} ({rate_text(won) if won else '50'})"

    beside = "which is also the last" if best is last else f"the last is {told(last)}"
    judge = record.provenance["train_judge"]
    return (
        f"best iterate by {judge} on validation prompts, win rate % against the start: "
        f"{told(best)}, {beside}"
    )


def scored_line(record: IterationRecord) -> str:
    result, control = record.result, record.result.length_control
    controlled = f" ({control.kind} {control_text(control)})" if control else ""
    order = f"; {order_text(result.order_bias)}" if result.order_bias else ""
    bound = record.drift.improvement_bound if record.drift else None
    most = "" if bound is None else f" (an exact update: at least {100 * bound:.1f})"
    left_out = record.training.left_out if record.training else 0
    without = f"; {left_out} examples left out, impossible under a reference" if left_out else ""
    return (
        f"iteration {record.iteration}: win rate % against {result.opponent} "
        f"{rate_text(result.win_rate)}{controlled}, the start {rate_text(result.vs_initial)}, "
        f"the previous {rate_text(result.vs_previous)}{most}; {result.lengths.mean:.0f} characters"
        f"{order}{without}{_learnt_from(record)}"
    )


def _learnt_from(record: IterationRecord) -> str:
    """A word where an iteration had no example of its own."""
    made = record.composition
    if made is None or made.trained:
        return ""
    if made.replayed:
        return f"; no new example: trained on {made.replayed} of earlier iterations"
    return "; no example: the policy stays as it was"
