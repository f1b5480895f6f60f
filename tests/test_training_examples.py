"""Examples as rows, and steps as forward passes."""

from __future__ import annotations

from pathlib import Path

import pytest
from small_training import CPU, completion, demos, pairs, prompt, run

from harness.engines.packing import tokens
from harness.errors import HarnessError
from harness.models.chat import ChatTokenizer
from harness.training.batches import encode, micro_batches, schedule
from harness.types import (
    Completion,
    Demo,
    Labelled,
)

pytestmark = pytest.mark.usefixtures("one_thread")


def test_sampled_ids_are_used_as_they_are(start: Path) -> None:
    sampled = Completion("p0", 0, "not what the ids say", token_ids=(9, 8, 7))
    (row,) = encode([Demo(prompt(0), sampled)], ChatTokenizer.load(start), 2048).rows
    assert row.ids[row.prompt_length :] == (9, 8, 7)


def test_batch_is_ordered_like_its_rows(start: Path) -> None:
    data = encode(pairs(3), ChatTokenizer.load(start), 2048)
    batch = data.batch([2, 1], CPU)
    assert batch.weights.tolist() == [1, 2]
    assert batch.values.tolist() == [0.75, 0.75, 0.25, 0.25]
    assert batch.desirable.tolist() == [True, True, False, False]
    assert data.select([2, 1]) == tuple(data.rows[i] for i in (2, 1, 5, 4))


def test_single_answers_have_one_row(start: Path) -> None:
    chat = ChatTokenizer.load(start)
    labelled = [Labelled(prompt(i), completion(i, 0), desirable=i == 1) for i in range(2)]
    batch = encode(labelled, chat, 2048).batch([0, 1], CPU)
    assert batch.desirable.tolist() == [False, True]
    assert batch.values.tolist() == [0, 0]
    assert encode(demos(2), chat, 2048).batch([0], CPU).desirable.tolist() == [True]


def test_unusable_examples_are_named(start: Path, tmp_path: Path) -> None:
    chat = ChatTokenizer.load(start)
    with pytest.raises(HarnessError, match="no examples"):
        run(start, tmp_path / "out", [])
    with pytest.raises(HarnessError, match=r"several kinds \(Demo, Pair\)"):
        run(start, tmp_path / "out", [*pairs(1), *demos(1)])
    with pytest.raises(HarnessError, match=r"'p0' with its policy completion has .* context of 5"):
        encode(pairs(1), chat, 5)
    assert not (tmp_path / "out").exists()


def test_steps_depend_on_the_seed_alone(start: Path) -> None:
    steps = schedule(10, 8, 2, seed=1)
    assert [len(step) for step in steps] == [8, 2, 8, 2]
    assert sorted(steps[0] + steps[1]) == sorted(steps[2] + steps[3]) == list(range(10))
    assert steps == schedule(10, 8, 2, seed=1) != schedule(10, 8, 2, seed=2)
    data = encode(pairs(10), ChatTokenizer.load(start), 2048)
    sizes = {i: tokens(data.select([i])) for i in steps[0]}
    parts = list(micro_batches(data, steps[0], 150))
    assert len(parts) > 1
    assert sorted(sum(parts, ())) == sorted(steps[0])
    assert all(sum(sizes[i] for i in part) <= 150 for part in parts)
    assert max(sizes, key=lambda i: sizes[i]) in parts[0]
    assert len(list(micro_batches(data, steps[0], 1))) == 8
