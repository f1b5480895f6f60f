"""A KV cache of rows that come and go: each has a slot, and all write at one common place.

Every row's latest token stands at the same place of the cache, whenever the row came, and its first
one so many places before as it has tokens. So nothing moves from token to token, a row that comes
writes its prompt just before that place, and what lies before a row's first token is masked.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers.cache_utils import Cache, DynamicLayer


@dataclass
class Window:
    """What the layers share: the first `rows` slots are in use, at the places `first` to `end`."""

    rows: int
    first: int
    end: int


class RoomyLayer(DynamicLayer):  # type: ignore[no-untyped-call]  # of its subclass hook
    """A full-attention layer with room for all its rows' tokens from the start.

    transformers' own layer copies everything at each token. Here `keys` and `values` are views
    [rows, heads, tokens, dim] into buffers [slots, heads, room, dim] that have the final size.
    """

    def __init__(self, like: DynamicLayer, slots: int, room: int, window: Window):
        super().__init__()  # type: ignore[no-untyped-call]
        assert like.keys is not None
        assert like.values is not None
        # Zeros, since what is masked is multiplied by nought, which a stray NaN would survive.
        self._buffers = [
            states.new_zeros(slots, states.shape[1], room, states.shape[-1])
            for states in (like.keys, like.values)
        ]
        self._window = window
        self.dtype, self.device = like.keys.dtype, like.keys.device
        self.is_initialized = True

    def update(
        self, key_states: Tensor, value_states: Tensor, *_: Any, **__: Any
    ) -> tuple[Tensor, Tensor]:
        """Put new tokens' states [rows, heads, new, dim] after the window's end; returns all."""
        at = self._window
        end = at.end + key_states.shape[-2]
        for buffer, states in zip(self._buffers, (key_states, value_states), strict=True):
            buffer[: at.rows, :, at.end : end] = states
        self.keys, self.values = (b[: at.rows, :, at.first : end] for b in self._buffers)
        return self.keys, self.values

    def get_seq_length(self) -> int:
        return self._window.end - self._window.first

    def join(self, prefilled: DynamicLayer, rows: Tensor) -> None:
        """The next slots get `prefilled`'s rows `rows`, up to the window's end."""
        at = self._window
        slots = slice(at.rows, at.rows + len(rows))
        for buffer, states in zip(self._buffers, (prefilled.keys, prefilled.values), strict=True):
            assert states is not None
            first = at.end - states.shape[-2]
            buffer[slots, :, first : at.end] = states.index_select(0, rows)

    def keep(self, slots: list[int]) -> None:
        """Row i becomes the old row slots[i]; a row only ever moves down to a dropped one's slot.

        So moving is in place, and costs as much as the rows that moved.
        """
        at = self._window
        for new, old in enumerate(slots):
            if new != old:
                for buffer in self._buffers:
                    buffer[new, :, at.first : at.end] = buffer[old, :, at.first : at.end]

    def move_to_front(self) -> None:
        """What is in the window goes to the buffers' beginning."""
        at = self._window
        for buffer in self._buffers:
            states = buffer[: at.rows, :, at.first : at.end].clone()
            buffer[: at.rows, :, : at.end - at.first] = states


class Slots:
    """The cache of a decoding, with the rows of a first prefill: row i has its row rows[i].

    `count` rows can be there at a time, and `room` tokens from the first of any to the latest.
    Layers of other kinds (sliding windows, linear attention) keep transformers' own class; then
    nobody can come as long as anyone is there (`can_join`).
    """

    def __init__(self, prefilled: Cache, rows: Tensor, count: int, room: int):
        self.cache = prefilled
        self._room = room
        self.window = Window(0, 0, prefilled.get_seq_length())
        self.can_join = all(type(layer) is DynamicLayer for layer in prefilled.layers)
        for index, layer in enumerate(prefilled.layers):
            if type(layer) is DynamicLayer:
                prefilled.layers[index] = roomy = RoomyLayer(layer, count, room, self.window)
                roomy.join(layer, rows)
            else:
                layer.reorder_cache(rows)  # type: ignore[arg-type]  # any integer tensor
        self.window.rows = len(rows)

    def join(self, prefilled: Cache, rows: Tensor) -> None:
        """Further rows, of prompts that are no longer than the window."""
        for mine, its in zip(self._roomy(), prefilled.layers, strict=True):
            assert isinstance(its, DynamicLayer)
            mine.join(its, rows)
        self.window.rows += len(rows)

    def keep(self, slots: list[int], longest: int) -> None:
        """Row i becomes the old row slots[i], as `fill_slots` has them; the longest row that stays
        has so many tokens."""
        for layer in self.cache.layers:
            if isinstance(layer, RoomyLayer):
                layer.keep(slots)
            else:
                layer.reorder_cache(torch.tensor(slots, dtype=torch.long))  # type: ignore[arg-type]
        self.window.rows = len(slots)
        if self.can_join:
            self.window.first = self.window.end - longest

    def make_room(self) -> None:
        """To be called before a token is added."""
        at = self.window
        if at.end == self._room:
            for layer in self._roomy():
                layer.move_to_front()
            at.first, at.end = 0, at.end - at.first

    def _roomy(self) -> list[RoomyLayer]:
        return [layer for layer in self.cache.layers if isinstance(layer, RoomyLayer)]


def fill_slots(finished: list[bool]) -> list[int]:
    """Old slots of the rows that go on, such that as few as possible change their slot.

    The last rows move into the slots of the finished ones: [F, F, T, F, T, F] gives [0, 1, 5, 3].
    """
    live = [slot for slot, done in enumerate(finished) if not done]
    count = len(live)
    movers = iter([slot for slot in live if slot >= count])
    return [next(movers) if finished[slot] else slot for slot in range(count)]
