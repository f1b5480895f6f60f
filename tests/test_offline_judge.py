"""The learned judge: fair to both sides, unmoved by hostile texts, and not taken in by controls."""

from __future__ import annotations

import math
import os
import subprocess
import sys
import time
from dataclasses import replace
from functools import cache
from importlib.resources import files
from pathlib import Path
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness import calibrations, registry
from harness.data.sources import load_prompts
from harness.judges.offline.judge import CHUNK, OfflineJudge, probabilities
from harness.judges.offline.model import ARTEFACT, key, packed, shipped, unpacked
from harness.scoring.controls import control_text
from harness.types import Completion, ControlName, Match, Message, PairJudge, Prompt

ARCHIVE = Path(__file__).parent.parent.parent / "shared" / "alpaca_eval"
quick = settings(max_examples=60, deadline=None)
TEXT = st.text(max_size=60) | st.sampled_from(
    ["", " ", "Sure! **Paris** is the capital.", "1. one\n2. two", "# A\n\n| a | b |\n|---|---|"]
)


def match(a: str, b: str, instruction: str = "Why?", gold: str | None = None) -> Match:
    prompt = Prompt("p", (Message("user", instruction),), gold)
    return Match("m", prompt, Completion("p", 0, a), Completion("p", 1, b))


def p_of(a: str, b: str, instruction: str = "Why?", gold: str | None = None) -> float:
    (verdict,) = OfflineJudge().compare([match(a, b, instruction, gold)])
    assert (verdict.match_id, verdict.error) == ("m", None)
    assert verdict.judge == OfflineJudge().identity
    assert verdict.p is not None
    return verdict.p


@quick
@given(TEXT, TEXT, TEXT, st.none() | TEXT)
def test_exactly_antisymmetric_and_fair_to_equals(
    a: str, b: str, instruction: str, gold: str | None
) -> None:
    there, back = p_of(a, b, instruction, gold), p_of(b, a, instruction, gold)
    assert 0 < there < 1
    assert there + back == 1
    assert p_of(a, f" {a}\n", instruction, gold) == 0.5


HOSTILE = {
    "megabytes": "all work and no play " * 150_000,
    "one word": "a" * 2_000_000,
    "NUL": "\0" * 5000,
    "surrogates": "\ud800\udfff" * 3000,
    "emoji": "👩‍👩‍👧‍👦🏳️‍🌈" * 3000,
    "right to left": "\u202eשלום עולם. " * 2000,
    "combining": "a" + "\u0301" * 20_000,
    "spaces": " \t" * 50_000 + "x",
    "lines": "\n" * 100_000 + "x",
    "stars": "*" * 50_000,
    "unclosed": "**a" * 20_000 + "```" * 999 + "|" * 20_000,
    "numbers": "1,1." * 20_000,
    "names": "a A" * 20_000,
    "counts": "5 a b " * 20_000,
    "apostrophes": "a'" * 30_000,
    "infinity": "9" * 5000,
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_texts_are_judged_like_any_other(name: str) -> None:
    text, start = HOSTILE[name], time.process_time()
    there = p_of(text, "Because.", text, text[: len(text) // 2])
    assert there + p_of("Because.", text, text, text[: len(text) // 2]) == 1
    assert p_of(text, text, text) == 0.5
    # an accident of regular expressions takes minutes
    assert time.process_time() - start < 10


def test_a_verdict_hangs_on_nothing_but_its_match() -> None:
    """Neither on the matches beside it, nor on the process."""
    prompts = load_prompts("mini", "eval")[:12]
    texts = [p.gold or "" for p in prompts]
    matches = [
        Match(f"{p.id}/{i}", p, Completion(p.id, 0, p.gold or ""), Completion(p.id, 1, other))
        for p in prompts
        for i, other in enumerate(texts)
    ]
    assert len(matches) > 2 * CHUNK
    judge = OfflineJudge()
    verdicts = list(judge.compare(matches))
    assert [v.match_id for v in verdicts] == [m.id for m in matches]
    shuffled = Random(0).sample(matches, len(matches))
    assert {v.match_id: v.p for v in judge.compare(shuffled)} == {v.match_id: v.p for v in verdicts}
    code = (
        "from harness.judges.offline.judge import OfflineJudge\n"
        "from harness.types import *\n"
        f"a, b = {texts[0]!r}, {texts[1]!r}\n"
        f"p = Prompt('p', (Message('user', {prompts[0].instruction!r}),))\n"
        "m = Match('m', p, Completion('p', 0, a), Completion('p', 1, b))\n"
        "print(repr(next(OfflineJudge().compare([m])).p))"
    )
    told = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONHASHSEED": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert float(told.stdout) == p_of(texts[0], texts[1], prompts[0].instruction)


def test_what_it_learned_of_a_reference_counts_for_that_reference_alone() -> None:
    model, _ = shipped()
    asked, gold = "Name a fruit.", "An apple is a fruit.\n"
    taught = replace(model, met=np.array([key(asked, gold)]), weak=np.array([1.5], np.float32))

    def gained(a: str, b: str, instruction: str = asked, reference: str | None = gold) -> float:
        """How much more likely a wins by the judge that was taught, in log-odds."""
        matches = [match(a, b, instruction, reference)]
        untaught, p = (probabilities(one, matches)[0] for one in (model, taught))
        return math.log(p / (1 - p)) - math.log(untaught / (1 - untaught))

    assert gained("Plum.", gold) == pytest.approx(1.5, abs=1e-6)
    assert gained(gold, "Plum.") == pytest.approx(-1.5, abs=1e-6)
    assert gained("Plum.", "A plum, say.") == pytest.approx(0, abs=1e-6)
    assert gained("Plum.", "A pear.", reference="A pear.") == 0
    assert gained("Plum.", gold, instruction="Name a fruit!") == 0
    assert gained("Plum.", gold, reference=None) == 0


def spoilt(kind: str, text: str) -> str:
    if kind == "repeated":
        return f"{text}\n\n{text}"
    if kind == "repeated ending":
        return "\n\n".join([text, *[text.split("\n\n")[-1]] * 2])
    if kind == "empty":
        return ""
    names: dict[str, ControlName] = {"null": "null", "padded": "padded", "shortened": "shortened"}
    return control_text(names[kind], text)


@pytest.mark.parametrize(
    "kind", ["null", "empty", "padded", "shortened", "repeated", "repeated ending"]
)
def test_controls_lose_to_the_answers_that_they_were_made_from(kind: str) -> None:
    prompts = [*load_prompts("mini", "eval"), *load_prompts("mini", "train")]
    for gold_known in (True, False):
        matches = []
        for p in prompts:
            prompt = Prompt(p.id, p.messages, p.gold if gold_known else None)
            own = p.gold or ""
            matches.append(
                Match(
                    p.id, prompt, Completion(p.id, 0, own), Completion(p.id, 1, spoilt(kind, own))
                )
            )
        wins = [v.p is not None and v.p > 0.5 for v in OfflineJudge().compare(matches)]
        assert sum(wins) >= 0.95 * len(wins)


def test_an_answer_to_the_question_beats_one_to_another() -> None:
    prompts = load_prompts("mini", "eval")
    wins = [
        p_of(p.gold or "", other.gold or "", p.instruction) > 0.5
        for p, other in zip(prompts, [*prompts[1:], prompts[0]], strict=True)
    ]
    assert sum(wins) >= 0.9 * len(wins)


def test_the_artefact_is_small_plain_and_named_by_its_digest() -> None:
    data = (files("harness.judges.offline") / ARTEFACT).read_bytes()
    assert len(data) <= 10_000_000
    assert b"numpy.dtype" not in data
    # unpacked() refuses pickles; equal models pack to equal bytes
    assert packed(unpacked(data)) == data
    assert OfflineJudge().identity == f"offline-1 ({shipped()[1]})"


def test_its_calibration_is_of_the_artefact_that_comes_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HARNESS_HOME", str(tmp_path))
    known = calibrations.find(OfflineJudge().identity)
    assert known is not None
    assert "cross-validated" in known.note
    assert known.within_auc is not None
    assert known.within_auc.value < 0.95  # of models that it learned from it would be higher


def test_it_is_registered() -> None:
    judge = registry.make_judge("offline")
    assert isinstance(judge, PairJudge)
    assert not judge.reference_based


@cache
def archive() -> tuple[np.ndarray, np.ndarray]:
    """(p, whether GPT-4-Turbo preferred the model) of 12 models on 60 instructions. The judge was
    trained on these models: this is no measure of it, but it notices a broken artefact."""
    import pandas as pd

    if not (ARCHIVE / "outputs.parquet").exists():
        pytest.skip(f"AlpacaEval's archive is not at {ARCHIVE}")
    annotations = pd.read_parquet(ARCHIVE / "annotations.parquet")
    models = sorted(set(annotations.model) - {"NullModel"})[::3]
    wanted = annotations[annotations.model.isin(models) & (annotations.idx < 60)]
    rows = wanted.merge(pd.read_parquet(ARCHIVE / "outputs.parquet"), on=["model", "idx"])
    rows = rows.merge(pd.read_parquet(ARCHIVE / "instructions.parquet"), on="idx")
    matches = [
        match(r.output or "", b := r.gpt4_1106_preview_output, r.instruction, b)
        for r in rows.itertuples()
    ]
    p = np.array([v.p for v in OfflineJudge().compare(matches)])
    return p, (rows.preference > 1.5).to_numpy()


def test_it_agrees_with_the_judge_that_it_learned_from() -> None:
    p, won = archive()
    concordant = (p[won][:, None] > p[~won]).mean()
    assert concordant > 0.9
    assert abs(p.mean() - won.mean()) < 0.1
