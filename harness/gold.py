"""`harness gold`: a teacher's answers to prompts that have none."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from harness import codec
from harness.access import Access
from harness.client.account import CALLS
from harness.client.replies import FailureError, Reply
from harness.config import GoldConfig
from harness.data.sources import clean, load_prompts
from harness.engines.openai import OpenAIEngine
from harness.errors import HarnessError
from harness.progress import Reporter
from harness.types import Prompt, SampleSpec

RULE = "gold-1"


@dataclass(frozen=True, slots=True)
class Golds:
    """What was written: `asked` of `prompts` wanted an answer, `failed` counts by reason those that
    are still without one."""

    out: Path
    prompts: int
    asked: int
    failed: Mapping[str, int]


def write_golds(config: GoldConfig, out: Path, replace: bool, reporter: Reporter) -> Golds:
    """Ask the teacher about each prompt without gold (with `replace`, about all), and write all
    prompts, in order, as a file that --data takes; the ledger of calls stands beside it.

    A failure leaves its prompt without gold, with the reason in the field `error`. What was
    answered is in the cache, so the same command goes on, and asks for failures again. Raises
    HarnessError before anything is asked, and BudgetSpentError; OUT is then as it was.
    """
    _check_out(config, out)
    access = Access.by(config.judging)
    teacher = OpenAIEngine(access.chat(config.teacher))
    access.check_keys()
    prompts = load_prompts(config.data, "train", reporter.say)
    wanted = [prompt for prompt in prompts if replace or prompt.gold is None]
    if not wanted:
        raise HarnessError(
            f"All {len(prompts)} prompts of {config.data} have a gold answer; add --replace to ask "
            "the teacher all the same."
        )
    spec = SampleSpec(1, config.temperature, config.top_p, config.max_new_tokens, config.seed)
    said: dict[str, str | None] = {}
    errors: dict[str, str] = {}
    with access.kept_in(out.with_name(f"{out.stem}.{CALLS}"), reporter.say, "teacher"):
        most = teacher.forecast(wanted, spec)
        access.say_forecast(most.calls, most.usd, reporter.say, "asking the teacher")
        with reporter.track("asking the teacher", len(wanted)) as advance:
            for prompt, _, answer in teacher.answers(wanted, spec, RULE, _whole):
                said[prompt.id] = answer.value[0] if answer.value else None
                if answer.error:
                    errors[prompt.id] = answer.error
                advance(1)
    rows = [_row(p, said.get(p.id, p.gold), errors.get(p.id)) for p in prompts]
    codec.write_atomic(out, "".join(map(codec.line, rows)))
    return Golds(out, len(prompts), len(wanted), Counter(errors.values()))


def as_dict(golds: Golds) -> dict[str, codec.Json]:
    return {**asdict(golds), "out": str(golds.out), "failed": dict(golds.failed)}


def sentence(golds: Golds) -> str:
    """What a user reads at the end."""
    lacking = sum(golds.failed.values())
    told = f"{golds.asked - lacking:,} of {golds.asked:,} prompts answered → {golds.out}"
    if not lacking:
        return told
    reasons = ", ".join(f"{reason} {count:,}" for reason, count in sorted(golds.failed.items()))
    return f"{told}; without gold ({reasons}): the same command asks for them again"


def _check_out(config: GoldConfig, out: Path) -> None:
    if out.suffix != ".jsonl":
        raise HarnessError(f"--out {out}: prompts are written as JSONL; name it with .jsonl.")
    if out.exists() and Path(config.data).exists() and out.samefile(config.data):
        raise HarnessError(f"--out {out} is the file of the prompts itself; name another.")


def _whole(reply: Reply) -> list[str]:
    """A gold answer ends, and says something."""
    text = reply.whole()
    if not text.strip():
        raise FailureError("empty answer")
    return [clean(text)]


def _row(prompt: Prompt, gold: str | None, error: str | None) -> dict[str, codec.Json]:
    """As `harness.data.sources` reads it; `error` is for people."""
    row = {
        "id": prompt.id,
        "messages": [asdict(message) for message in prompt.messages],
        "gold": gold,
        "rejected": prompt.rejected,
        "error": error,
    }
    return {name: value for name, value in row.items() if value is not None}
