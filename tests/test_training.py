"""Training: exact whatever the micro-batches, deterministic, and a whole model at its end."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch
from small_training import CPU, SETTINGS, demos, digest, labelled, pairs, prompt, rows, run
from transformers import PreTrainedModel

from harness.config import LoraConfig
from harness.engines.logprobs import all_logprobs, completion_logprobs
from harness.engines.packing import Row, tokens
from harness.errors import HarnessError
from harness.models.chat import ChatTokenizer
from harness.models.load import load_model
from harness.records import TrainStep, TrainSummary
from harness.training import train as train_module
from harness.training.batches import References, encode, schedule, share_of
from harness.training.optimise import optimise
from harness.training.references import measure, policy_logprobs
from harness.training.train import LAST_GOOD, encoded, train
from harness.types import (
    Batch,
    LogProbs,
    Loss,
)
from trainers.dno import DNO
from trainers.kto import KTO
from trainers.sft import SFT

pytestmark = pytest.mark.usefixtures("one_thread")


def test_micro_batches_change_nothing(start: Path, tmp_path: Path) -> None:
    """10 examples: steps of 8 and 2, in forward passes of 8, of a few, and of 1."""
    found = []
    for size in (2048, 150, 1):
        settings = replace(SETTINGS, micro_batch_tokens=size)
        found.append(run(start, tmp_path / f"{size}", pairs(10), settings=settings))
    whole, *others = found
    assert len(whole.steps) == 4
    assert len({step.loss for step in whole.steps}) == 4
    for other in others:
        assert other.tokens == whole.tokens
        for mine, its in zip(other.steps, whole.steps, strict=True):
            assert mine.loss == pytest.approx(its.loss, abs=1e-5)
            assert mine.grad_norm == pytest.approx(its.grad_norm, rel=1e-4)
            for name in ("logps_chosen", "logps_rejected", "margin"):
                assert mine.diagnostics[name] == pytest.approx(its.diagnostics[name], abs=1e-3)
    # Adam turns a gradient near 0 into a step of up to the learning rate, so rounding shows there.
    weights = [load_model(tmp_path / f"{size}", CPU).state_dict() for size in (2048, 150, 1)]
    for name, tensor in weights[0].items():
        torch.testing.assert_close(weights[1][name], tensor, atol=2e-4, rtol=1e-4)
        torch.testing.assert_close(weights[2][name], tensor, atol=2e-4, rtol=1e-4)


def test_mismatched_answers_are_other_prompts_and_fit_the_context(start: Path) -> None:
    """The next example of another prompt, round the end; with one prompt alone there is none."""
    chat = ChatTokenizer.load(start)
    data = encode(labelled(5), chat, 2048, mismatched=True)
    (side,) = data.sides
    for index, partner in enumerate((2, 2, 4, 4, 0)):
        found, mine, its = data.mismatched([index])[0], side[index], side[partner]
        assert found.ids[: found.prompt_length] == mine.ids[: mine.prompt_length]
        assert found.ids[found.prompt_length :] == its.ids[its.prompt_length :]
    context = max(len(row.ids) for row in data.rows)
    short = encode(labelled(5), chat, context, mismatched=True)
    assert max(len(row.ids) for row in short.mismatched(range(5))) <= context
    assert encode(labelled(2), chat, 2048, mismatched=True).mismatched(range(2)) == ()
    assert encode(labelled(5), chat, 2048).mismatched(range(5)) == ()


def test_kto_does_not_depend_on_the_micro_batches(start: Path, tmp_path: Path) -> None:
    """z is the whole step's, so steps of 8 and 2 are the same in passes of 8, a few and 1."""
    found = []
    for size in (2048, 150, 1):
        found.append(
            run(
                start,
                tmp_path / f"{size}",
                labelled(10),
                method=KTO(),
                references={"initial": start},
                settings=replace(SETTINGS, micro_batch_tokens=size),
                mismatched=True,
            )
        )
    whole, *others = found
    assert whole.steps[0].loss == pytest.approx(0.5, abs=1e-6)
    assert whole.steps[-1].diagnostics["kl"] > 0
    assert whole.after["loss"] < 0.5
    for other in others:
        for mine, its in zip(other.steps, whole.steps, strict=True):
            assert mine.loss == pytest.approx(its.loss, abs=1e-5)
            assert mine.diagnostics["kl"] == pytest.approx(its.diagnostics["kl"], abs=1e-3)
    alone = run(
        start,
        tmp_path / "alone",
        labelled(2),
        method=KTO(),
        references={"initial": start},
        mismatched=True,
    )
    assert alone.after["kl"] == 0
    assert math.isfinite(alone.after["loss"])


def test_what_a_reference_cannot_write_is_left_out(start: Path, tmp_path: Path) -> None:
    """−∞ under the reference is no log-ratio: the example is counted, the rest trains as if it
    had never been there."""
    data = encoded(start, pairs(4), mismatched=False)
    known = policy_logprobs(start, data, SETTINGS)

    def without(rows: list[int]) -> Mapping[str, LogProbs]:
        sums = known.sums.clone()
        sums[rows] = -math.inf
        return {"previous": LogProbs(sums, known.lengths)}

    def trained(references: Mapping[str, LogProbs], name: str) -> TrainSummary:
        return train(
            start=start, references=references, examples=pairs(4), method=DNO(),
            settings=SETTINGS, out=tmp_path / name, on_step=lambda _s, _t: None, say=pytest.fail,
        )  # fmt: skip

    found = trained(without([1, 6]), "out")  # of the pairs 1 and 2
    assert (found.examples, found.left_out) == (2, 2)
    expected = run(start, tmp_path / "rest", [pairs(4)[0], pairs(4)[3]])
    assert expected.left_out == 0
    assert [s.loss for s in found.steps] == pytest.approx([s.loss for s in expected.steps])
    with pytest.raises(HarnessError, match="no example has a finite log-prob"):
        trained(without([0, 1, 2, 3]), "none")


@pytest.mark.parametrize("lora", [None, LoraConfig(r=4, alpha=8)])
def test_same_inputs_same_bytes_and_not_a_word(
    start: Path, tmp_path: Path, lora: LoraConfig | None, capfd: pytest.CaptureFixture[str]
) -> None:
    settings = replace(SETTINGS, lora=lora, batch_size=4, micro_batch_tokens=150)
    first = run(start, tmp_path / "a", pairs(6), settings=settings)
    torch.rand(3)  # where the global stream stands must not matter
    second = run(start, tmp_path / "b", pairs(6), settings=settings)
    run(start, tmp_path / "c", pairs(6), settings=replace(settings, seed=1))
    assert first == second
    assert digest(tmp_path / "a") == digest(tmp_path / "b") != digest(tmp_path / "c")
    assert capfd.readouterr() == ("", "")


def test_loss_starts_at_ln_2_and_falls(start: Path, tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []

    def on_step(step: TrainStep, total: int) -> None:
        seen.append((step.step, total))

    examples = [replace(pair, weight=1.0) for pair in pairs(12)]
    settings = replace(SETTINGS, epochs=4, warmup=0.3)
    summary = run(start, tmp_path / "out", examples, settings=settings, on_step=on_step)
    assert seen == [(number, 8) for number in range(1, 9)]
    first, last = summary.steps[0], summary.steps[-1]
    assert first.loss == pytest.approx(math.log(2), abs=1e-6)
    assert first.diagnostics["margin"] == pytest.approx(0, abs=1e-5)
    assert last.loss < summary.steps[2].loss < math.log(2)
    assert summary.after["loss"] < math.log(2)
    assert summary.after["accuracy"] > 0.9
    assert [step.epoch for step in summary.steps] == [i / 2 for i in range(1, 9)]
    rates = [step.learning_rate / SETTINGS.learning_rate for step in summary.steps]
    assert rates == pytest.approx([0, 1 / 2, 1, 5 / 6, 4 / 6, 3 / 6, 2 / 6, 1 / 6])
    data = encode(examples, ChatTokenizer.load(start), 2048)
    assert summary.tokens == 4 * sum(len(row.ids) for row in data.rows)


def test_sft_lowers_the_loss(start: Path, tmp_path: Path) -> None:
    settings = replace(SETTINGS, epochs=4)
    summary = run(start, tmp_path / "out", demos(8), method=SFT(), references={}, settings=settings)
    assert summary.after["loss"] < summary.steps[0].loss - 0.1
    assert summary.examples == 8


def test_out_is_a_whole_model_folder(start: Path, tmp_path: Path) -> None:
    summary = run(start, tmp_path / "new" / "out", pairs(4))
    names = {file.name for file in (tmp_path / "new" / "out").iterdir()}
    assert {"config.json", "model.safetensors", "tokenizer.json"} <= names
    assert sorted(p.name for p in (tmp_path / "new").iterdir()) == ["out"]
    trained = load_model(tmp_path / "new" / "out", CPU)
    assert trained.config.use_cache is True
    chat = ChatTokenizer.load(tmp_path / "new" / "out")
    assert chat.prompt_ids(prompt(0)) == ChatTokenizer.load(start).prompt_ids(prompt(0))
    found = all_logprobs(trained, encode(pairs(4), chat, 2048).rows, 2048)
    assert summary.after["logps_chosen"] == pytest.approx(float(found.chosen.mean()), abs=1e-3)


def test_each_reference_is_measured_under_its_own_model(start: Path, tmp_path: Path) -> None:
    """The second iteration starts from the first's policy, against either of the two."""
    previous = tmp_path / "previous"
    run(start, previous, pairs(8))
    by_initial = run(previous, tmp_path / "a", pairs(8), references={"previous": start})
    by_previous = run(previous, tmp_path / "b", pairs(8), references={"previous": previous})
    assert by_previous.steps[0].diagnostics["margin"] == pytest.approx(0, abs=1e-5)
    assert by_initial.steps[0].diagnostics["margin"] > 0.01


def test_lora_trains_adapters_alone_and_merges_them(
    model: PreTrainedModel, start: Path, tmp_path: Path
) -> None:
    settings = replace(SETTINGS, lora=LoraConfig(r=4, alpha=8), epochs=3)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    data = encode(pairs(8), ChatTokenizer.load(start), 2048)
    references = References({"previous": measure(model, data, 2048)})
    adapted = train_module._attach(model, LoraConfig(r=4, alpha=8), settings.seed)
    optimise(model, data, references, DNO(), settings, lambda _step, _total: None, pytest.fail)
    names = [name for name, weight in model.named_parameters() if weight.requires_grad]
    assert len(names) == 2 * 2 * 7
    assert all("lora_" in name for name in names)
    for name, tensor in model.state_dict().items():
        if "lora_" not in name:
            assert torch.equal(tensor, before[name.replace(".base_layer", "")])
    by_adapter = all_logprobs(model, data.rows, 2048)
    by_merged = all_logprobs(adapted.merge_and_unload(), data.rows, 2048)
    torch.testing.assert_close(by_merged.sums, by_adapter.sums, atol=1e-3, rtol=0)

    summary = run(start, tmp_path / "out", pairs(8), settings=settings)
    assert not list((tmp_path / "out").glob("adapter*"))
    saved = load_model(tmp_path / "out", CPU)
    assert set(saved.state_dict()) == set(before)
    torch.testing.assert_close(
        all_logprobs(saved, data.rows, 2048).sums, by_merged.sums, atol=1e-3, rtol=0
    )
    assert summary.after["loss"] < summary.steps[0].loss


@dataclass(frozen=True)
class Broken(DNO):
    """A DNO whose loss, or its gradient, is not a number from the given call on."""

    healthy: int = 0
    gradient: bool = False

    def loss(self, policy: LogProbs, references: Mapping[str, LogProbs], batch: Batch) -> Loss:
        loss = super().loss(policy, references, batch)
        calls.append(1)
        if len(calls) <= self.healthy:
            return loss
        if self.gradient:  # of √0 at 0
            return loss._replace(mean=loss.mean + (policy.sums - policy.sums).square().sum().sqrt())
        return loss._replace(mean=loss.mean * math.nan)


calls: list[int] = []


@pytest.mark.parametrize("lora", [None, LoraConfig(r=4, alpha=8)])
@pytest.mark.parametrize("gradient", [False, True])
def test_what_is_no_number_ends_training_with_the_weights_before_it(
    start: Path, tmp_path: Path, gradient: bool, lora: LoraConfig | None
) -> None:
    settings = replace(SETTINGS, batch_size=2, epochs=1, learning_rate=1e-2, lora=lora)
    for folder, healthy in ((tmp_path / "a", 1), (tmp_path / "b", 0)):
        calls.clear()
        method = Broken(healthy=healthy, gradient=gradient)
        what = "the gradient's norm" if gradient else "the loss"
        message = f"{what} of step {healthy + 1} of 2 is nan, on the prompts 'p[0-3]', 'p[0-3]'"
        with pytest.raises(HarnessError, match=message) as caught:
            run(start, folder / "out", pairs(4), method=method, settings=settings)
        assert not (folder / "out").exists()
        assert (folder / LAST_GOOD).exists() == (healthy == 1)
    assert LAST_GOOD not in str(caught.value)
    # One step of two examples, and a rate that was to fall to nought over two.
    data = encode(pairs(4), ChatTokenizer.load(start), 2048)
    good = load_model(tmp_path / "a" / LAST_GOOD, CPU)
    before = all_logprobs(load_model(start, CPU), data.rows, 2048).sums
    after = all_logprobs(good, data.rows, 2048).sums
    first, *_ = schedule(4, 2, 1, settings.seed)
    assert torch.isfinite(after).all()
    moved = (after - before).view(2, 4)[:, list(first)]
    assert (moved[0] > moved[1]).all()


def test_a_loss_that_is_no_number_after_the_last_step(start: Path, tmp_path: Path) -> None:
    calls.clear()
    settings = replace(SETTINGS, batch_size=2, epochs=1)
    with pytest.raises(HarnessError, match="all examples is nan"):
        run(start, tmp_path / "out", pairs(4), method=Broken(healthy=2), settings=settings)
    assert not (tmp_path / "out").exists()


def test_out_of_memory_halves_the_forward_passes_aloud(
    start: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = run(start, tmp_path / "expected", pairs(8))
    said: list[str] = []
    seen: list[int] = []

    def scarce(model: PreTrainedModel, rows: tuple[Row, ...]) -> LogProbs:
        seen.append(tokens(rows))
        if tokens(rows) > 200:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return completion_logprobs(model, rows)

    monkeypatch.setattr("harness.training.optimise.completion_logprobs", scarce)
    found = run(start, tmp_path / "found", pairs(8), say=said.append)
    assert [n for n in seen if n > 200] == seen[: len(said)]
    assert [int(line.split()[-3]) for line in said] == [1024, 512, 256, 128]
    assert [s.loss for s in found.steps] == pytest.approx([s.loss for s in expected.steps])
    monkeypatch.setattr(
        "harness.training.optimise.completion_logprobs",
        lambda *_: scarce(model=None, rows=rows(start, 8)),
    )
    with pytest.raises(HarnessError, match=r"out of memory .*; lower train\.micro_batch_tokens"):
        run(start, tmp_path / "never", pairs(8), say=said.append)


def test_checkpointing_changes_memory_alone(start: Path, tmp_path: Path) -> None:
    for lora in (None, LoraConfig(r=4, alpha=8)):
        plain = replace(SETTINGS, lora=lora)
        found = [
            run(
                start,
                tmp_path / f"{lora}{on}",
                pairs(8),
                settings=replace(plain, gradient_checkpointing=on),
            )
            for on in (False, True)
        ]
        assert [s.loss for s in found[0].steps] == pytest.approx(
            [s.loss for s in found[1].steps], abs=1e-6
        )
        assert digest(tmp_path / f"{lora}False") == digest(tmp_path / f"{lora}True")


def test_processes_share_a_step_by_prompts(start: Path) -> None:
    data = encode(labelled(10), ChatTokenizer.load(start), 2048)
    step = (0, 1, 2, 5, 6, 7, 8, 9)
    shares = [share_of(data, step, rank, 3) for rank in range(3)]
    assert sorted(i for share in shares for i in share) == list(step)
    owners = {data.ids[i]: rank for rank, share in enumerate(shares) for i in share}
    assert all(owners[data.ids[i]] == rank for rank, share in enumerate(shares) for i in share)
    loads = [tokens(data.select(share)) for share in shares]
    assert max(loads) - min(loads) <= max(tokens(data.select([i])) for i in step) * 2
    assert [share_of(data, (3,), rank, 2) for rank in range(2)] == [[3], []]
