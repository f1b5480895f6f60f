"""The policy as its own judge by the scores that it writes: `judge.self=additive`."""

from __future__ import annotations

import json
import re
import signal
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from conftest import Command, differing, rows, state

from harness.errors import HarnessError
from harness.judges.llm.additive import Additive
from harness.judges.policy import PolicyChat, self_judge
from harness.rubric import judge_prompt
from harness.types import Completion, Group, Message, Prompt, SampleSpec, ScoreJudge


@dataclass
class Policy:
    """Writes what `replies` says to an answer, vote after vote; knows how often it was asked."""

    replies: dict[str, list[tuple[str, str]]]
    asked: list[tuple[Prompt, SampleSpec]] = field(default_factory=list)

    def check_context(self, prompts: Sequence[Prompt], max_new_tokens: int) -> None:
        if any("endless" in prompt.messages[0].content for prompt in prompts):
            raise HarnessError("it does not fit")

    def sample(self, prompts: Sequence[Prompt], spec: SampleSpec) -> Iterator[Completion]:
        for prompt in sorted(prompts, key=lambda p: p.id):  # in whatever order they finish
            self.asked.append((prompt, spec))
            content = prompt.messages[0].content
            (answer,) = (a for a in self.replies if content == judge_prompt("Why?", a))
            seen = [p for p, _ in self.asked if p.messages[0].content == content]
            text, finish = self.replies[answer][len(seen) - 1]
            ids = (1,) * len(text.split())
            yield Completion(prompt.id, 0, text, ids, "length" if finish == "length" else "stop")

    def next_token_probs(
        self, prompts: Sequence[Prompt], continuation: str, candidates: Sequence[str]
    ) -> list[tuple[float, ...]]:
        raise NotImplementedError


def group(*answers: str) -> Group:
    pool = tuple(Completion("p", i, answer) for i, answer in enumerate(answers))
    return Group(Prompt("p", (Message("user", "Why?"),)), pool)


def judge_of(policy: Policy, batch: int = 64) -> ScoreJudge:
    digest, engine = "abcdef0123456789", "transformers"
    return self_judge("additive", lambda: policy, lambda: policy, digest, engine, 2, 5, batch)


REPLIES = {
    "good": [("Score: 4", "stop"), ("It is fine.\nScore: 5", "stop")],
    "prose": [("Score: 3", "stop"), ("I like it.", "stop")],
    "cut": [("Score: 3 and so on and", "length"), ("Score: 3", "stop")],
    "high": [("Score: 9", "stop"), ("Score: 1", "stop")],
}


@pytest.mark.parametrize("batch", [1, 3, 64])
def test_votes_are_averaged_and_failures_are_values(batch: int) -> None:
    policy = Policy(REPLIES)
    judge = judge_of(policy, batch)
    assert judge.identity == "additive-1(policy-abcdef012345, 2 votes)"
    assert judge.scale == (0, 5)
    assert policy.asked == []  # it is loaded when it is asked
    pools = [group("good", "prose", "endless"), group("cut", "high", "good")]
    scores = [score for found in judge.score(pools) for score in found]
    assert [(score.value, score.error) for score in scores] == [
        (4.5, None),
        (None, "unparsable"),
        (None, "too long"),
        (None, "truncated"),
        (None, "out of range"),
        (4.5, None),  # one text, one score, and it is asked once
    ]
    assert len(policy.asked) == 4 * 2
    assert {
        (spec.samples, spec.temperature, spec.top_p, spec.seed) for _, spec in policy.asked
    } == {(1, 1.0, 1.0, 5)}
    assert len({prompt.id for prompt, _ in policy.asked}) == len(policy.asked)
    assert scores[0].usage.completion_tokens == 2 + 5
    assert scores[-1].usage.completion_tokens == 0


def test_what_a_reply_hangs_on_is_the_question_alone() -> None:
    """The engine's streams follow from seed and prompt id, and the id from the question."""
    together, alone = Policy(REPLIES), Policy(REPLIES)
    list(judge_of(together).score([group("good", "prose")]))
    list(judge_of(alone, batch=1).score([group("prose")]))
    ids = {prompt.id for prompt, _ in together.asked}
    assert {prompt.id for prompt, _ in alone.asked} < ids
    assert isinstance(judge_of(alone), Additive)
    assert PolicyChat(lambda: alone, "policy", 0, 1).price is None


# --- whole runs -------------------------------------------------------------------------------

WRITER = """
import os, signal
from dataclasses import replace
from harness.engines.transformers import TransformersEngine as E

# A random model writes no scores. Here it writes one for what it sampled, three times in four.
sampled = E.sample
def sample(self, prompts, spec):
    asked = {p.id for p in prompts if "Reply with one line only" in p.messages[-1].content}
    for completion in sampled(self, prompts, spec):
        if completion.prompt_id in asked:
            written = sum(completion.token_ids)
            text = f"Score: {written % 6}" if written % 8 else "Well."
            completion = replace(completion, text=text, finish_reason="stop")
            left[0] -= 1
            if not left[0]:
                os.kill(os.getpid(), signal.SIGKILL)
        yield completion
left = [AFTER]
E.sample = sample
"""
ADDITIVE = ("--judge", "longer", "--set", "judge.self=additive", "--set", "judging.votes=2",
            "--set", "sampling.batch_size=8", "--set", "train.max_examples=8")  # fmt: skip


def run(command: Command, out: Path, kill_after: int, *more: object) -> None:
    prelude = WRITER.replace("AFTER", str(kill_after))
    done = command.run(out, *ADDITIVE, *more, method="self-rewarding", prelude=prelude)
    assert done.code == (-signal.SIGKILL if kill_after else 0), done.err


@pytest.fixture(scope="module")
def undisturbed(command: Command, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("self") / "run"
    run(command, out, 0)
    return out


def test_a_policy_that_writes_its_scores_trains_on_them(
    command: Command, undisturbed: Path, tmp_path: Path
) -> None:
    verdicts = rows(undisturbed / "iter-2" / "verdicts.jsonl")
    assert len(verdicts) == 6 * 3
    failed = Counter(row["error"] for row in verdicts if row["error"])
    assert set(failed) == {"unparsable"}
    assert {row["value"] * 2 for row in verdicts if not row["error"]} <= set(range(11))
    told = json.loads((undisturbed / "iter-2" / "composition.json").read_text("utf-8"))
    assert re.fullmatch(r"additive-1\(policy-[0-9a-f]{12}, 2 votes\)", told["judge"])
    assert told["judge_failures"] == dict(failed)
    assert told["pairs"]["student>student"] > 0
    values = {
        (f"{e['prompt']['id']}/{e[side]['sample']}", e[f"{side}_value"])
        for row in rows(undisturbed / "iter-2" / "examples.jsonl")
        for e in [row["example"]]
        for side in ("chosen", "rejected")
    }
    assert values <= {(row["id"], row["value"]) for row in verdicts if not row["error"]}
    manifest = json.loads((undisturbed / "iter-2" / "verdicts.manifest.json").read_text("utf-8"))
    assert manifest["usage"]["completion_tokens"] > 0
    # what a policy could not say it will not say the next time either
    before = state(undisturbed)
    run(command, undisturbed, 0)
    assert state(undisturbed) == before
    plan = command.plan(tmp_path / "new", *ADDITIVE, method="self-rewarding")
    (stage,) = (s for s in plan["stages"] if s["stage"] == "verdicts")
    assert (stage["judgements"], stage["completions"], stage["calls"]) == (18, 36, 0)


def test_killed_while_it_judges_it_goes_on(
    command: Command, undisturbed: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    for kill_after in (5, 12):
        run(command, out, kill_after)
    run(command, out, 0)
    assert differing(out, undisturbed) == []


def test_a_policy_that_cannot_write_a_score_is_told_so(command: Command, tmp_path: Path) -> None:
    done = command.run(tmp_path / "run", *ADDITIVE, method="self-rewarding")
    assert "gave no example from 6 prompts (6 judgement failed)" in done.sentence()
    assert "with another judge.self, or with a stronger model" in done.sentence()
    wrong = command.run(tmp_path / "x", "--set", "judge.self=words", method="self-rewarding")
    assert "Setting 'judge.self': Input should be 'digits' or 'additive'" in wrong.sentence()
