"""One batch of completions, token by token."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor
from transformers import DynamicCache, PreTrainedModel

from harness.engines.draws import draw, uniforms
from harness.engines.kv import fill_slots, give_room, keep_rows
from harness.types import Prompt, SampleSpec


@dataclass(slots=True)
class Row:
    """A completion in the making; `tokens` grows to its end token or to the limit."""

    prompt: Prompt
    prompt_ids: list[int]
    sample: int
    tokens: list[int] = field(default_factory=list)
    stopped: bool = False


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
    """Decodes `rows` together; finished rows leave the batch at once.

    A prompt with several samples is read once. `step` is to be called while `live` is not empty.
    """

    @torch.inference_mode()
    def __init__(
        self, model: PreTrainedModel, rows: Sequence[Row], spec: SampleSpec,
        stop_ids: frozenset[int], pad: int,
    ):  # fmt: skip
        self.live = list(rows)
        self._model = model
        self._spec = spec
        self._stop_ids = stop_ids
        device = model.device
        limit = spec.max_new_tokens
        self._uniforms = torch.stack(
            [uniforms(spec.seed, row.prompt.id, row.sample, limit) for row in rows]
        ).to(device)
        distinct = {tuple(row.prompt_ids): 0 for row in rows}
        distinct = {ids: index for index, ids in enumerate(distinct)}
        ids, mask = pad_left(list(distinct), pad, device)
        self._cache = DynamicCache(config=model.config)
        logits = model(
            input_ids=ids, attention_mask=mask, position_ids=positions(mask),
            past_key_values=self._cache, use_cache=True, logits_to_keep=1,
        ).logits[:, -1]  # fmt: skip
        source = torch.tensor([distinct[tuple(row.prompt_ids)] for row in rows], device=device)
        give_room(self._cache, source, limit)
        self._logits = logits[source]
        self._width = mask.shape[1]
        # Everything that will be generated is real; only the prompts differ in length.
        self._mask = torch.cat([mask[source], mask.new_ones(len(rows), limit)], dim=1)
        self._next_position = mask.sum(1)[source]
        self._done = 0

    @torch.inference_mode()
    def step(self) -> list[Row]:
        """Add one token to each live row; returns the rows that this finished."""
        spec = self._spec
        chosen = draw(self._logits, self._uniforms[:, self._done], spec.temperature, spec.top_p)
        self._done += 1
        finished = []
        for row, token in zip(self.live, chosen.tolist(), strict=True):
            row.tokens.append(token)
            row.stopped = token in self._stop_ids
            finished.append(row.stopped or self._done == spec.max_new_tokens)
        out = [row for row, done in zip(self.live, finished, strict=True) if done]
        if out:
            chosen = self._drop(finished, chosen)
        if self.live:
            self._forward(chosen)
        return out

    def _drop(self, finished: list[bool], chosen: Tensor) -> Tensor:
        slots = fill_slots(finished)
        keep_rows(self._cache, slots)
        self.live = [self.live[slot] for slot in slots]
        self._uniforms = self._uniforms[slots]
        self._mask = self._mask[slots]
        self._next_position = self._next_position[slots]
        return chosen[slots]

    def _forward(self, chosen: Tensor) -> None:
        self._width += 1
        self._logits = self._model(
            input_ids=chosen[:, None],
            attention_mask=self._mask[:, : self._width],
            position_ids=self._next_position[:, None],
            past_key_values=self._cache,
            use_cache=True,
            logits_to_keep=1,
        ).logits[:, -1]
        self._next_position = self._next_position + 1
