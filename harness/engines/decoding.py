"""Completions token by token, in a batch that rows join and leave as they come and finish."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby

import torch
from torch import Tensor
from transformers import DynamicCache, PreTrainedModel

from harness.engines.draws import draw, uniforms
from harness.engines.kv import Slots, fill_slots
from harness.types import Prompt, SampleSpec

_SLACK = 64
"""Tokens of room beyond a row's most, so that the cache is moved to its front this seldom."""


@dataclass(slots=True)
class Row:
    """A completion in the making; `tokens` grows to its end token or to the limit."""

    prompt: Prompt
    prompt_ids: list[int]
    sample: int
    tokens: list[int] = field(default_factory=list)
    stopped: bool = False
    uniforms: list[float] = field(default_factory=list)

    @property
    def length(self) -> int:
        return len(self.prompt_ids) + len(self.tokens)


def pad_left(
    rows: Sequence[Sequence[int]], pad: int, device: torch.device
) -> tuple[Tensor, Tensor]:
    """[rows, longest] ids and the boolean mask of the real ones, which stand at the right end."""
    width = max(map(len, rows))
    ids = torch.full((len(rows), width), pad)
    mask = torch.zeros(len(rows), width, dtype=torch.bool)
    for row, tokens in enumerate(rows):
        ids[row, width - len(tokens) :] = torch.tensor(tokens)
        mask[row, width - len(tokens) :] = True
    return ids.to(device), mask.to(device)


def positions(mask: Tensor) -> Tensor:
    """[rows, width] positions that count real tokens only, from 0."""
    return (mask.long().cumsum(-1) - 1).clamp(min=0)


class Decoding:
    """Decodes rows, at most `size` at a time; finished ones leave at once, and others take their
    places.

    A prompt with several samples is read once, so they come together. New ones come when a quarter
    of the places is free: reading a few prompts costs a pass over the weights, and a batch that is
    three quarters full is hardly less efficient than a full one.
    """

    def __init__(
        self, model: PreTrainedModel, rows: Sequence[Row], spec: SampleSpec,
        stop_ids: frozenset[int], pad: int, size: int,
    ):  # fmt: skip
        self.live: list[Row] = []
        self._model = model
        self._spec = spec
        self._stop_ids = stop_ids
        self._pad = pad
        self._size = size
        # A prompt that comes later fits before the place where the others are: it is no longer.
        ordered = sorted(rows, key=lambda row: (-len(row.prompt_ids), row.prompt_ids))
        self._waiting = deque(
            same[start : start + size]
            for _, group in groupby(ordered, key=lambda row: row.prompt_ids)
            for same in [list(group)]
            for start in range(0, len(same), size)
        )
        self._slots: Slots
        self._logits: Tensor

    def finished(self) -> Iterator[Row]:
        """All rows, as they finish."""
        while self._waiting or self.live:
            self._admit()
            yield from self._step()

    @torch.inference_mode()
    def _admit(self) -> None:
        """Let the next prompts' rows in, if it is time."""
        if self.live and (not self._slots.can_join or len(self.live) > self._size * 3 // 4):
            return
        new: list[Row] = []
        while self._waiting and len(self.live) + len(new) + len(self._waiting[0]) <= self._size:
            new += self._waiting.popleft()
        if not new:
            return
        spec, device = self._spec, self._model.device
        for row in new:
            stream = uniforms(spec.seed, row.prompt.id, row.sample, spec.max_new_tokens)
            row.uniforms = stream.tolist()
        distinct = {ids: index for index, ids in enumerate(dict.fromkeys(map(_ids, new)))}
        ids, mask = pad_left(list(distinct), self._pad, device)
        cache = DynamicCache(config=self._model.config)
        logits = self._model(
            input_ids=ids, attention_mask=mask, position_ids=positions(mask),
            past_key_values=cache, use_cache=True, logits_to_keep=1,
        ).logits[:, -1]  # fmt: skip
        source = torch.tensor([distinct[_ids(row)] for row in new], device=device)
        if self.live:
            self._slots.join(cache, source)
            self._logits = torch.cat([self._logits, logits[source]])
        else:
            waiting = sum(map(len, self._waiting))
            count = min(self._size, len(new) + waiting)
            room = mask.shape[1] + spec.max_new_tokens + (_SLACK if waiting else 0)
            self._slots = Slots(cache, source, count, room)
            self._logits = logits[source]
        self.live += new

    @torch.inference_mode()
    def _step(self) -> list[Row]:
        """Add one token to each live row; returns the rows that this finished."""
        spec = self._spec
        stream = torch.tensor(
            [row.uniforms[len(row.tokens)] for row in self.live], dtype=torch.float64
        )
        chosen = draw(
            self._logits, stream.to(self._logits.device), spec.temperature, spec.top_p
        ).tolist()
        finished = []
        for row, token in zip(self.live, chosen, strict=True):
            row.tokens.append(token)
            row.stopped = token in self._stop_ids
            finished.append(row.stopped or len(row.tokens) == spec.max_new_tokens)
        out = [row for row, done in zip(self.live, finished, strict=True) if done]
        if out:
            slots = fill_slots(finished)
            self.live = [self.live[slot] for slot in slots]
            # Less the new token, which the cache does not have yet.
            self._slots.keep(slots, max((row.length - 1 for row in self.live), default=0))
        if self.live:
            self._forward()
        return out

    def _forward(self) -> None:
        """Read each live row's last token."""
        device = self._model.device
        self._slots.make_room()
        window = self._slots.window
        lengths = torch.tensor([row.length for row in self.live], device=device)
        width = window.end + 1 - window.first
        self._logits = self._model(
            input_ids=torch.tensor([row.tokens[-1:] for row in self.live], device=device),
            attention_mask=torch.arange(width, 0, -1, device=device) <= lengths[:, None],
            position_ids=lengths[:, None] - 1,
            past_key_values=self._slots.cache,
            use_cache=True,
            logits_to_keep=1,
        ).logits[:, -1]
        window.end += 1


def _ids(row: Row) -> tuple[int, ...]:
    return tuple(row.prompt_ids)
