"""A KV cache that does not move: rows are written in place, and dropped by filling their slots."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from transformers.cache_utils import Cache, DynamicLayer


class RoomyLayer(DynamicLayer):  # type: ignore[no-untyped-call]  # of its subclass hook
    """A full-attention layer with room for all the tokens of a decoding from the start.

    transformers' own layer copies everything at each token. Here `keys` and `values` are views
    [rows, heads, tokens, dim] into buffers that have the final size.
    """

    def __init__(self, prefilled: DynamicLayer, rows: Tensor, room: int):
        """Row i starts as `prefilled`'s row rows[i]; `room` is how many tokens may follow."""
        super().__init__()  # type: ignore[no-untyped-call]
        keys, values = prefilled.keys, prefilled.values
        assert keys is not None
        assert values is not None
        self._key_buffer = _with_room(keys, rows, room)
        self._value_buffer = _with_room(values, rows, room)
        self._tokens = keys.shape[-2]
        self.dtype, self.device = keys.dtype, keys.device
        self.is_initialized = True
        self._look(len(rows))

    def update(
        self, key_states: Tensor, value_states: Tensor, *_: Any, **__: Any
    ) -> tuple[Tensor, Tensor]:
        """Append new tokens' states [rows, heads, new, dim]; returns all of them."""
        assert self.keys is not None
        rows, new = self.keys.shape[0], key_states.shape[-2]
        end = self._tokens + new
        self._key_buffer[:rows, :, self._tokens : end] = key_states
        self._value_buffer[:rows, :, self._tokens : end] = value_states
        self._tokens = end
        return self._look(rows)

    def keep(self, slots: list[int]) -> None:
        """Row i becomes the old row slots[i]; a row only ever moves down to a dropped one's slot.

        So moving is in place, and costs as much as the rows that moved.
        """
        for new, old in enumerate(slots):
            if new != old:
                for buffer in (self._key_buffer, self._value_buffer):
                    buffer[new, :, : self._tokens] = buffer[old, :, : self._tokens]
        self._look(len(slots))

    def _look(self, rows: int) -> tuple[Tensor, Tensor]:
        self.keys = self._key_buffer[:rows, :, : self._tokens]
        self.values = self._value_buffer[:rows, :, : self._tokens]
        return self.keys, self.values


def _with_room(states: Tensor, rows: Tensor, room: int) -> Tensor:
    _, heads, tokens, dim = states.shape
    buffer = states.new_empty(len(rows), heads, tokens + room, dim)
    buffer[:, :, :tokens] = states.index_select(0, rows)
    return buffer


def give_room(cache: Cache, rows: Tensor, room: int) -> None:
    """After the prefill: row i of the cache becomes a copy of row rows[i], with room for more.

    Layers of other kinds (sliding windows, linear attention) keep transformers' own class.
    """
    for index, layer in enumerate(cache.layers):
        if type(layer) is DynamicLayer:
            cache.layers[index] = RoomyLayer(layer, rows, room)
        else:
            layer.reorder_cache(rows)  # type: ignore[arg-type]  # any integer tensor


def keep_rows(cache: Cache, slots: list[int]) -> None:
    """Row i becomes the old row slots[i], as `fill_slots` has them."""
    for layer in cache.layers:
        if isinstance(layer, RoomyLayer):
            layer.keep(slots)
        else:
            layer.reorder_cache(torch.tensor(slots, dtype=torch.long))  # type: ignore[arg-type]


def fill_slots(finished: list[bool]) -> list[int]:
    """Old slots of the rows that go on, such that as few as possible change their slot.

    The last rows move into the slots of the finished ones: [F, F, T, F, T, F] gives [0, 1, 5, 3].
    """
    live = [slot for slot, done in enumerate(finished) if not done]
    count = len(live)
    movers = iter([slot for slot in live if slot >= count])
    return [next(movers) if finished[slot] else slot for slot in range(count)]
