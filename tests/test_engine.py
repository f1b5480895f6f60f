"""The engine against the plainest possible one: no cache, no batch, no shortcuts."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import pytest
import torch
from plain_engine import GREEDY, PROMPTS, SPEC, by_key, next_probs, plainly
from transformers import MistralConfig, MistralForCausalLM

from harness.engines import transformers as engine_module
from harness.engines.kv import fill_slots
from harness.engines.transformers import TransformersEngine
from harness.errors import HarnessError
from harness.models import store, tiny
from harness.models.load import load_model
from harness.types import Completion, Message, Prompt, SampleSpec

REAL = store.home() / "models" / "smollm2-135m"


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Waking a second thread for a model this small costs more than it brings."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("tiny")
    tiny.build(made, lambda _line: None)
    return made


@pytest.fixture(scope="module")
def engine(folder: Path) -> TransformersEngine:
    return TransformersEngine.load(folder, device="cpu", batch_size=8)


@pytest.fixture(scope="module")
def plain(folder: Path) -> Any:
    """The same model with transformers' own attention."""
    return load_model(folder, torch.device("cpu"))


def other_size(engine: TransformersEngine, batch_size: int) -> TransformersEngine:
    return TransformersEngine(engine._loaded(), engine.chat, engine.context_length, batch_size)


# --- sampling ---------------------------------------------------------------------------------


@pytest.mark.parametrize("spec", [SPEC, GREEDY, replace(SPEC, top_p=1.0, temperature=1.3)])
def test_samples_are_those_of_the_plain_engine(
    engine: TransformersEngine, plain: Any, spec: SampleSpec
) -> None:
    found = by_key(engine.sample(PROMPTS, spec))
    for prompt in PROMPTS:
        for sample in range(spec.samples):
            completion = found.pop((prompt.id, sample))
            expected = plainly(plain, engine.chat, prompt, sample, spec)
            assert list(completion.token_ids) == expected
            stopped = expected[-1] == engine.chat.end_of_turn
            assert completion.finish_reason == ("stop" if stopped else "length")
            assert completion.text == engine.chat.decode(expected)
            assert "<|im_end|>" not in completion.text
            assert completion.source == "policy"
    assert not found


@pytest.mark.parametrize("batch_size", [1, 2, 5, 64])
def test_the_batch_size_changes_nothing(engine: TransformersEngine, batch_size: int) -> None:
    expected = by_key(engine.sample(PROMPTS, SPEC))
    assert by_key(other_size(engine, batch_size).sample(PROMPTS[::-1], SPEC)) == expected
    lengths = {len(c.token_ids) for c in expected.values()}
    assert len(lengths) > 5  # rows left their batches at many different times
    assert {c.finish_reason for c in expected.values()} == {"stop", "length"}


def test_finished_rows_leave_the_batch(engine: TransformersEngine) -> None:
    sizes: list[int] = []

    def look(_module: Any, _args: Any, kwargs: dict[str, Any]) -> None:
        sizes.append(kwargs["input_ids"].shape[0])

    hook = engine._loaded().register_forward_pre_hook(look, with_kwargs=True)
    try:
        found = list(other_size(engine, 64).sample(PROMPTS, SPEC))
    finally:
        hook.remove()
    lengths = [len(c.token_ids) for c in found]
    assert lengths == sorted(lengths)  # they come as they finish
    steps = [sum(length > step for length in lengths) for step in range(1, max(lengths))]
    assert sizes == [len(PROMPTS), *steps]  # each prompt was read once


def test_sliding_windows(engine: TransformersEngine, folder: Path) -> None:
    """Layers that transformers' cache treats in its own way: windows shorter than the prompts."""
    torch.manual_seed(5)
    config = MistralConfig(
        vocab_size=600, hidden_size=32, intermediate_size=64, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2, sliding_window=8, initializer_range=0.3,
        eos_token_id=2, pad_token_id=0, bos_token_id=1,
    )  # fmt: skip
    model = MistralForCausalLM(config).eval()
    found = by_key(TransformersEngine(model, engine.chat, 2048, 8).sample(PROMPTS, SPEC))
    model.set_attn_implementation("eager")
    for key in [("p2", 0), ("p4", 1), ("p4", 2)]:
        expected = plainly(model, engine.chat, PROMPTS[int(key[0][1])], key[1], SPEC)
        assert list(found[key].token_ids) == expected


def test_slots_are_filled_from_the_end() -> None:
    assert fill_slots([False, False, True, False, True, False]) == [0, 1, 5, 3]
    assert fill_slots([True, True, False]) == [2]
    assert fill_slots([True]) == []
    assert fill_slots([False, False]) == [0, 1]


# --- log-probabilities ------------------------------------------------------------------------


@pytest.fixture(scope="module")
def items(engine: TransformersEngine) -> list[tuple[Prompt, Completion]]:
    prompts = {p.id: p for p in PROMPTS}
    sampled = [(prompts[c.prompt_id], c) for c in engine.sample(PROMPTS, SPEC)]
    texts = ["Paris, which lies on the river.", "", "x<|im_end|>y"]
    return sampled + [(PROMPTS[i], Completion(f"p{i}", 9, t)) for i, t in enumerate(texts)]


def test_logprobs_are_those_of_a_plain_forward_pass(
    engine: TransformersEngine, plain: Any, items: list[tuple[Prompt, Completion]]
) -> None:
    results = engine.logprobs(items)
    for (prompt, completion), (total, count) in zip(items, results, strict=True):
        before = engine.chat.prompt_ids(prompt)
        after = engine.chat.completion_ids(completion)
        with torch.inference_mode():
            logits = plain(torch.tensor([before + after])).logits[0].double()
        logps = logits.log_softmax(-1)
        expected = sum(float(logps[len(before) + i - 1, token]) for i, token in enumerate(after))
        assert count == len(after)
        assert total == pytest.approx(expected, rel=1e-5)


def test_logprobs_do_not_depend_on_batching(
    engine: TransformersEngine,
    items: list[tuple[Prompt, Completion]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    expected = engine.logprobs(items)
    for tokens in (1, 100, 1000):
        monkeypatch.setattr(engine_module, "_TOKENS", tokens)
        found = engine.logprobs(items[::-1])[::-1]
        assert [n for _, n in found] == [n for _, n in expected]
        assert [x for x, _ in found] == pytest.approx([x for x, _ in expected], rel=1e-5)


def test_batches_stay_within_bounds(
    engine: TransformersEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine_module, "_TOKENS", 100)
    lengths = [Random(i).randint(5, 60) for i in range(50)]
    lengths.append(500)  # larger than the bound: alone
    batches = list(engine._batches(lengths))
    assert sorted(index for batch in batches for index in batch) == list(range(51))
    assert batches[0] == [50]
    for batch in batches[1:]:
        assert len(batch) <= 8
        assert len(batch) * max(lengths[index] for index in batch) <= 100


def test_next_token_probs(engine: TransformersEngine, plain: Any) -> None:
    digits = [str(digit) for digit in range(6)]
    found = engine.next_token_probs(PROMPTS, "Score: ", digits)
    opening = engine.chat.text_ids("Score: ")
    for prompt, probs in zip(PROMPTS, found, strict=True):
        exact = next_probs(plain, engine.chat.prompt_ids(prompt) + opening)
        expected = [exact[engine.chat.text_ids(digit)[0]] for digit in digits]
        assert probs == pytest.approx(expected, rel=1e-4)
        assert 0 < sum(probs) < 1
    with pytest.raises(HarnessError, match=r"not single distinct tokens .* after 'Score: '"):
        engine.next_token_probs(PROMPTS, "Score: ", ["1", "10"])
    with pytest.raises(HarnessError, match="not single distinct tokens"):
        engine.next_token_probs(PROMPTS, "", ["5", "5"])


def test_candidates_may_carry_their_space(engine: TransformersEngine, plain: Any) -> None:
    """' the' is one token here: the continuation's space then belongs to the candidate."""
    ids = engine.chat.text_ids("is the")
    assert ids[:-1] == engine.chat.text_ids("is")
    (found,) = engine.next_token_probs(PROMPTS[:1], "is ", ["the"])
    before = engine.chat.prompt_ids(PROMPTS[0]) + ids[:-1]
    assert found[0] == pytest.approx(next_probs(plain, before)[ids[-1]], rel=1e-4)


def test_too_long_for_the_context(engine: TransformersEngine) -> None:
    with pytest.raises(HarnessError, match="'p6' and its completion have"):
        engine.logprobs([(PROMPTS[6], Completion("p6", 0, "word " * 2048))])


def test_nothing_to_do(engine: TransformersEngine) -> None:
    assert engine.logprobs([]) == []
    assert engine.next_token_probs([], "Score: ", "01") == []


# --- the whole --------------------------------------------------------------------------------


def test_smollm2_knows_the_capital_of_france() -> None:
    if not REAL.is_dir():
        pytest.skip(f"no SmolLM2 in {REAL}: `harness models pull smollm2-135m` puts it there")
    engine = TransformersEngine.load(REAL, device="cpu", batch_size=4)
    question = Prompt("q", (Message("user", "What is the capital of France?"),))
    (answer,) = engine.sample([question], replace(GREEDY, max_new_tokens=16))
    assert answer.text == "The capital of France is Paris."
    assert answer.finish_reason == "stop"
    ((total, count),) = engine.logprobs([(question, answer)])
    assert count == len(answer.token_ids)
    assert math.exp(total / count) > 0.5
