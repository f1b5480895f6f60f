"""Examples as rows of tokens, and which of them make up a step."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from harness.engines.packing import Row, tokens
from harness.errors import HarnessError
from harness.types import Batch, Completion, Demo, Example, Labelled, LogProbs, Pair, Prompt

if TYPE_CHECKING:
    from harness.models.chat import ChatTokenizer


@dataclass(frozen=True, slots=True)
class Encoded:
    """All examples of one training, k rows an example (2 for pairs, 1 for the other kinds).

    Tensors are on the CPU: `weights` [n]; `values` and `desirable` [n, k]. `sides[j][i]` is row j
    of example i. `ids` names each example's prompt. `others[j][i]` is that row's prompt with
    another prompt's answer; empty where there is no other prompt, None where nobody asked.
    """

    ids: tuple[str, ...]
    sides: tuple[tuple[Row, ...], ...]
    weights: Tensor
    values: Tensor
    desirable: Tensor
    others: tuple[tuple[Row, ...], ...] | None = None

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def rows(self) -> tuple[Row, ...]:
        """[k · n] rows in the order of `LogProbs`: the first side of all examples first."""
        return tuple(row for side in self.sides for row in side)

    def length(self, indices: Sequence[int]) -> int:
        """Tokens of all rows of some examples, each with its prompt."""
        return sum(len(side[i].ids) for side in self.sides for i in indices)

    def select(self, indices: Sequence[int]) -> tuple[Row, ...]:
        """[k · len(indices)] rows of some examples, in the order of `LogProbs`."""
        return tuple(side[i] for side in self.sides for i in indices)

    def mismatched(self, indices: Sequence[int]) -> tuple[Row, ...]:
        """The same with other prompts' answers."""
        return tuple(side[i] for side in self.others or () for i in indices)

    def only(self, indices: Sequence[int]) -> Encoded:
        """Some of the examples, with the others' answers that they have."""
        chosen = list(indices)

        def pick(sides: tuple[tuple[Row, ...], ...]) -> tuple[tuple[Row, ...], ...]:
            return tuple(tuple(side[i] for i in chosen) for side in sides)

        return Encoded(
            tuple(self.ids[i] for i in chosen),
            pick(self.sides),
            self.weights[chosen],
            self.values[chosen],
            self.desirable[chosen],
            None if self.others is None else pick(self.others),
        )

    def batch(self, indices: Sequence[int], device: torch.device) -> Batch:
        """What a method's loss sees of some examples."""
        chosen = list(indices)
        return Batch(
            self.weights[chosen].to(device),
            self.values[chosen].T.flatten().to(device),
            self.desirable[chosen].T.flatten().to(device),
        )


@dataclass(frozen=True, slots=True)
class References:
    """Log-probs of all rows of an `Encoded` under each reference policy, computed once."""

    by_name: Mapping[str, LogProbs]

    def select(
        self, indices: Sequence[int], step: Sequence[int], examples: int, device: torch.device
    ) -> dict[str, LogProbs]:
        """Those of some of the `examples` examples, in the order of `LogProbs`; `mismatched` is
        that of the whole step that they belong to."""

        def pick(whole: Tensor, chosen: Sequence[int]) -> Tensor:
            return whole.view(-1, examples)[:, list(chosen)].flatten().to(device)

        return {
            name: LogProbs(
                pick(found.sums, indices),
                pick(found.lengths, indices),
                None if found.mismatched is None else pick(found.mismatched, step),
            )
            for name, found in self.by_name.items()
        }


def encode(
    examples: Sequence[Example], chat: ChatTokenizer, context: int, mismatched: bool = False
) -> Encoded:
    """Examples as token rows of at most `context` tokens, with `others` where `mismatched`.

    HarnessError where there are none, where their kinds are mixed (one loss cannot serve two), or
    where a row is too long: cutting it would train the model never to end such an answer.
    """
    if not examples:
        raise HarnessError(
            "there are no examples to train on; look at why prompts gave none, or use more prompts."
        )
    kinds = sorted({type(example).__name__ for example in examples})
    if len(kinds) > 1:
        raise HarnessError(
            f"examples of several kinds ({', '.join(kinds)}) cannot be trained on together; let "
            "the method's `examples` yield one kind an iteration."
        )
    parts = [parts_of(example) for example in examples]
    prompts: dict[Prompt, list[int]] = {}
    sides = tuple(
        tuple(
            _row(example.prompt, completions[side], chat, context, prompts)
            for example, (completions, _, _) in zip(examples, parts, strict=True)
        )
        for side in range(len(parts[0][0]))
    )
    ids = tuple(example.prompt.id for example in examples)
    return Encoded(
        ids=ids,
        sides=sides,
        weights=torch.tensor([example.weight for example in examples], dtype=torch.float32),
        values=torch.tensor([values for _, values, _ in parts], dtype=torch.float32),
        desirable=torch.tensor([desirable for _, _, desirable in parts], dtype=torch.bool),
        others=_others(ids, sides, context) if mismatched else None,
    )


def schedule(examples: int, batch_size: int, epochs: int, seed: int) -> list[tuple[int, ...]]:
    """The example indices of every optimiser step, shuffled anew each epoch.

    An epoch's last step has what is left over. Depends on nothing but the arguments.
    """
    random = Random(seed)
    steps = []
    for _ in range(epochs):
        order = list(range(examples))
        random.shuffle(order)
        steps += [tuple(order[i : i + batch_size]) for i in range(0, examples, batch_size)]
    return steps


def micro_batches(data: Encoded, step: Sequence[int], most: int) -> Iterator[tuple[int, ...]]:
    """A step's examples in forward passes of at most `most` tokens (an example that is longer goes
    alone); those of one prompt are next to each other, as they share its computation.

    The largest come first, so that what does not fit into memory fails at once.
    """
    sizes = {i: tokens(data.select([i])) for i in step}
    largest: dict[str, int] = {}
    for i in step:
        largest[data.ids[i]] = max(sizes[i], largest.get(data.ids[i], 0))
    order = sorted(step, key=lambda i: (-largest[data.ids[i]], data.ids[i], -sizes[i], i))
    part: list[int] = []
    for i in order:
        if part and tokens(data.select([*part, i])) > most:
            yield tuple(part)
            part = []
        part.append(i)
    if part:
        yield tuple(part)


def share_of(data: Encoded, step: Sequence[int], rank: int, count: int) -> list[int]:
    """The examples of a step that process `rank` of `count` takes: whole prompts, such that all
    have about as many tokens. Where there are fewer prompts than processes, some have none."""
    prompts: dict[str, list[int]] = {}
    for i in step:
        prompts.setdefault(data.ids[i], []).append(i)
    sizes = {name: tokens(data.select(indices)) for name, indices in prompts.items()}
    loads = [0] * count
    mine: list[int] = []
    for name in sorted(prompts, key=lambda name: (-sizes[name], name)):
        least = loads.index(min(loads))
        loads[least] += sizes[name]
        if least == rank:
            mine += prompts[name]
    return mine


def parts_of(
    example: Example,
) -> tuple[tuple[Completion, ...], tuple[float, ...], tuple[bool, ...]]:
    """An example's completions, their values, and whether each is desirable."""
    match example:
        case Pair():
            values = (example.chosen_value, example.rejected_value)
            return (example.chosen, example.rejected), values, (True, False)
        case Labelled():
            return (example.completion,), (0.0,), (example.desirable,)
        case Demo():
            return (example.completion,), (0.0,), (True,)


def _others(
    ids: Sequence[str], sides: Sequence[Sequence[Row]], context: int
) -> tuple[tuple[Row, ...], ...]:
    """Each prompt with the answer of the next example (round the end) that has another prompt.

    Decided over all examples, so that steps and forward passes have no say in it. What would be
    longer than the context is cut: nothing is trained on these rows.
    """
    if len(set(ids)) == 1:
        return ()
    count = len(ids)
    after = [
        next(j % count for j in range(i + 1, i + count) if ids[j % count] != ids[i])
        for i in range(count)
    ]

    def joined(mine: Row, its: Row) -> Row:
        prompt, answer = mine.ids[: mine.prompt_length], its.ids[its.prompt_length :]
        return Row((*prompt, *answer)[:context], mine.prompt_length)

    return tuple(tuple(joined(side[i], side[j]) for i, j in enumerate(after)) for side in sides)


def _row(
    prompt: Prompt,
    completion: Completion,
    chat: ChatTokenizer,
    context: int,
    prompts: dict[Prompt, list[int]],
) -> Row:
    """`prompts` remembers the ids of prompts met before: most have several completions."""
    if prompt not in prompts:
        prompts[prompt] = chat.prompt_ids(prompt)
    before = prompts[prompt]
    ids = (*before, *chat.completion_ids(completion))
    if len(ids) > context:
        raise HarnessError(
            f"prompt '{prompt.id}' with its {completion.source} completion has {len(ids)} tokens, "
            f"more than the model's context of {context}; shorten or drop it."
        )
    return Row(ids, len(before))
