"""Prompts with completions packed for one forward pass: no padding, nothing read twice.

Rows with the same prompt become a tree. The prompt comes once, then each different completion as a
branch whose tokens attend to the prompt and to their own branch only. Positions count from the
start of the prompt in every branch, so a row's results, and its gradients, are those that it has
alone, up to rounding.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Row:
    """One prompt with one completion, as the model reads them; lengths are in tokens."""

    ids: tuple[int, ...]
    prompt_length: int

    @property
    def prompt(self) -> tuple[int, ...]:
        return self.ids[: self.prompt_length]

    @property
    def completion(self) -> tuple[int, ...]:
        return self.ids[self.prompt_length :]

    @property
    def completion_length(self) -> int:
        return len(self.ids) - self.prompt_length


@dataclass(frozen=True, slots=True)
class Segment:
    """Tokens `start` to `end` of a pack, which attend causally to themselves and, where they are a
    branch, to all of `prefix_start` to `prefix_end`."""

    start: int
    end: int
    prefix_start: int = 0
    prefix_end: int = 0


@dataclass(frozen=True, slots=True)
class Pack:
    """What the model reads: `ids` and `positions` [1, tokens], cut into `segments` without gaps.

    Each token of a completion is scored by the hidden state of the token before it: `predicting`
    and `targets` [scored], branch after branch of `lengths` tokens. `branches` [rows] says which
    branch is a row's: equal rows share one.
    """

    ids: Tensor
    positions: Tensor
    segments: tuple[Segment, ...]
    predicting: Tensor
    targets: Tensor
    lengths: tuple[int, ...]
    branches: tuple[int, ...]


def pack(rows: Sequence[Row], device: torch.device) -> Pack:
    """Rows as trees, one after another. A prompt must have at least one token."""
    ids: list[int] = []
    positions: list[int] = []
    segments: list[Segment] = []
    predicting: list[int] = []
    targets: list[int] = []
    lengths: list[int] = []
    found: dict[Row, int] = {}
    for prompt, same in _by_prompt(rows).items():
        first, last = len(ids), len(ids) + len(prompt)
        ids += prompt
        positions += range(len(prompt))
        segments.append(Segment(first, last))
        for row in same:
            found[row] = len(lengths)
            start = len(ids)
            # Nothing follows the last token, so nobody needs to read it.
            read = row.completion[:-1]
            ids += read
            positions += range(len(prompt), len(prompt) + len(read))
            if read:
                segments.append(Segment(start, len(ids), first, last))
            predicting += [last - 1, *range(start, len(ids))][: row.completion_length]
            targets += row.completion
            lengths.append(row.completion_length)
    return Pack(
        ids=torch.tensor([ids], device=device),
        positions=torch.tensor([positions], device=device),
        segments=tuple(segments),
        predicting=torch.tensor(predicting, dtype=torch.long, device=device),
        targets=torch.tensor(targets, dtype=torch.long, device=device),
        lengths=tuple(lengths),
        branches=tuple(found[row] for row in rows),
    )


def tokens(rows: Sequence[Row]) -> int:
    """How many tokens a pack of `rows` has, less what goes unread at the branches' ends."""
    return sum(
        len(prompt) + sum(row.completion_length for row in same)
        for prompt, same in _by_prompt(rows).items()
    )


def batches(rows: Sequence[Row], most: int) -> Iterator[list[int]]:
    """Indices of `rows` in packs of at most `most` tokens (a row that is longer goes alone), those
    of one prompt next to each other.

    The longest come first, so that what does not fit into memory fails at once.
    """
    longest = {
        prompt: max(len(row.ids) for row in same) for prompt, same in _by_prompt(rows).items()
    }
    order = sorted(range(len(rows)), key=lambda i: (-longest[rows[i].prompt], rows[i].ids, i))
    part: list[int] = []
    size = 0
    for i in order:
        row = rows[i]
        before = rows[part[-1]] if part else None
        same = before is not None and before.prompt == row.prompt
        more = row.completion_length + (0 if same else row.prompt_length)
        if before is not None and before == row:
            more = 0
        if part and size + more > most:
            yield part
            part, size, more = [], 0, len(row.ids)
        part.append(i)
        size += more
    if part:
        yield part


def _by_prompt(rows: Sequence[Row]) -> dict[tuple[int, ...], dict[Row, None]]:
    """The different rows of each prompt, in the order in which they come."""
    found: dict[tuple[int, ...], dict[Row, None]] = {}
    for row in rows:
        found.setdefault(row.prompt, {})[row] = None
    return found
