"""Self-rewarding language models: the policy judges its own samples."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import ClassVar

from harness.rubric import SCORE_PREFIX, judge_prompt
from harness.types import (
    Batch,
    Completion,
    Demo,
    Example,
    Group,
    Hyper,
    LogProbs,
    Loss,
    Message,
    Plan,
    Prompt,
)
from trainers import losses, rules


@dataclass(frozen=True)
class SelfRewarding:
    """Iteration 1 is the seed stage: SFT on instruction data (the gold answers) and on
    judge-format data. From iteration 2 on the policy scores N samples of its own on an additive
    0–5 rubric; best against worst is a pair, ties are dropped, and −log σ(β·d) is minimised
    against π_t. A run of one iteration is the seed stage alone.

    Departures: the paper's judge-format data are human rankings of several answers to one prompt,
    each with a written justification. There is one good answer here, so the worse ones are made
    from it (see `judge_demos`) and the target is the score alone. New prompts are taken from the
    data; the paper has the model write them. Both stages share one set of hyperparameters. The
    paper's policy writes its scores, three samples averaged: that is `--set judge.self=additive`.
    The default reads its digits instead, since a small model rarely writes a score.
    """

    beta: float = 0.1
    samples: int = 4
    # Judge-format demos a prompt, drawn from the (at most three) that its gold answer yields. The
    # paper has about one for two instruction demos; more would teach to score before to answer.
    judge_examples: int = 1

    name: ClassVar[str] = "self-rewarding"
    paper: ClassVar[str] = "Yuan et al. 2024, arXiv 2401.10020"
    defaults: ClassVar[Hyper] = Hyper(
        learning_rate=1e-6, lora_learning_rate=5e-5, epochs=1, batch_size=16
    )

    def plan(self, iteration: int, iterations: int) -> Plan:
        if iteration == 1:
            return Plan(samples=0, sampler="none", gold=True, judge="none", references=())
        return Plan(
            samples=self.samples,
            sampler="previous",
            gold=False,
            judge="score",
            judged_by="self",
            start="previous",
            references=("previous",),
        )

    def examples(self, group: Group, rng: Random) -> Sequence[Example]:
        """Pairs of a judged group; of an unjudged one (the seed stage) demos."""
        if group.scores is not None or group.preferences is not None:
            return rules.best_worst(group)
        gold = rules.gold_completion(group)
        if gold is None:
            return []
        judging = judge_demos(group.prompt, gold.text, rng)
        count = min(self.judge_examples, len(judging))
        return [Demo(group.prompt, gold), *rng.sample(judging, count)]

    def loss(self, policy: LogProbs, references: Mapping[str, LogProbs], batch: Batch) -> Loss:
        """SFT where there is no reference (the seed stage), else arXiv 2305.18290, Eq. 7."""
        if not references:
            return losses.mean(losses.sft(policy), batch.weights)
        return losses.mean(losses.dpo(policy, references["previous"], self.beta), batch.weights)


def judge_demos(prompt: Prompt, gold: str, rng: Random) -> list[Demo]:
    """Scores to imitate for answers whose order is known by how they were made.

    The gold answer earns 5. Its first quarter of words is on the subject and right as far as it
    goes, but unfinished: the rubric's second point and no more. Its words in random order say
    nothing: 0, although every word is on the subject, so that vocabulary alone earns no point (and
    the layout stays, so that it earns none either). A worse answer that comes out equal to the
    gold one (a very short one) is left out: one text must not have two scores.
    """
    scored = (("cut", _first_quarter(gold), 2), ("shuffled", _shuffled(gold, rng), 0))
    worse = [_judge_demo(prompt, *made) for made in scored if made[1] != gold.strip()]
    return [_judge_demo(prompt, "gold", gold, 5), *worse]


def _first_quarter(text: str) -> str:
    words = list(re.finditer(r"\S+", text))
    return text[: words[max(1, len(words) // 4) - 1].end()].strip() if words else ""


def _shuffled(text: str, rng: Random) -> str:
    words = text.split()
    order = iter(rng.sample(words, len(words)))
    return re.sub(r"\S+", lambda _: next(order), text).strip()


def _judge_demo(prompt: Prompt, kind: str, answer: str, score: int) -> Demo:
    asked = Prompt(
        id=f"{prompt.id}/judge-{kind}",
        messages=(Message("user", judge_prompt(prompt.instruction, answer)),),
        source=prompt.source,
    )
    reply = Completion(asked.id, sample=0, text=f"{SCORE_PREFIX}{score}", source="dataset")
    return Demo(asked, reply)
