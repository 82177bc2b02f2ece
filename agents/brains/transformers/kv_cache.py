"""The keys and values of requests that are decoded together.

A row is one request. Its columns end at the right edge; what stands left of them is padding, which the attention
mask hides. Rows join and leave between two steps, and nothing is computed again for it.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from transformers.cache_utils import Cache, DynamicLayer

ROOM = 256
"""Columns by which a layer grows: its content is copied once in so many steps, not in each."""


class Columns:
    """A tensor ``[rows, heads, columns, size]`` with room for more columns."""

    def __init__(self, like: Tensor) -> None:
        self._store = like.new_empty((like.shape[0], like.shape[1], 0, like.shape[3]))
        self._used = 0

    @property
    def tensor(self) -> Tensor:
        return self._store[:, :, : self._used]

    def append(self, states: Tensor) -> None:
        """Add columns."""
        begin, self._used = self._used, self._used + states.shape[2]
        if self._used > self._store.shape[2]:
            old = self._store[:, :, :begin]
            self._store = self._roomy(old.shape[0])
            self._store[:, :, :begin] = old
        self._store[:, :, begin : self._used] = states

    def join(self, other: Columns) -> None:
        """Add the rows of *other* below."""
        above, below = self.tensor, other.tensor
        self._used = max(above.shape[2], below.shape[2])
        self._store = self._roomy(above.shape[0] + below.shape[0])
        self._store[: above.shape[0], :, self._used - above.shape[2] : self._used] = above
        self._store[above.shape[0] :, :, self._used - below.shape[2] : self._used] = below

    def keep(self, rows: Tensor, first: int) -> None:
        """Drop the other rows, and the columns before *first*."""
        kept = self.tensor[rows, :, first:]
        self._used = kept.shape[2]
        self._store = self._roomy(kept.shape[0])
        self._store[:, :, : self._used] = kept

    def _roomy(self, rows: int) -> Tensor:
        """Zeros: a masked value still counts as zero times itself, and what is not a number would stay so."""
        return self._store.new_zeros((rows, self._store.shape[1], self._used + ROOM, self._store.shape[3]))


class GrowingLayer(DynamicLayer):
    """One layer's keys and values, as the models of transformers expect them."""

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        self.dtype, self.device = key_states.dtype, key_states.device
        self._columns = (Columns(key_states), Columns(value_states))
        self.is_initialized = True
        self._show()

    def update(self, key_states: Tensor, value_states: Tensor, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        """Append columns; returns all there are."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        for columns, states in zip(self._columns, (key_states, value_states), strict=True):
            columns.append(states)
        return self._show()

    def join(self, other: GrowingLayer) -> None:
        """Add the rows of *other* below."""
        for columns, others in zip(self._columns, other._columns, strict=True):
            columns.join(others)
        self._show()

    def keep(self, rows: Tensor, first: int) -> None:
        """Drop the other rows, and the columns before *first*."""
        for columns in self._columns:
            columns.keep(rows, first)
        self._show()

    def _show(self) -> tuple[Tensor, Tensor]:
        self.keys, self.values = (columns.tensor for columns in self._columns)
        return self.keys, self.values


class BatchCache(Cache):
    """The layers of a model, all of which remember every token (a sliding window is left to the mask)."""

    layers: list[GrowingLayer]

    def __init__(self) -> None:
        super().__init__(layer_class_to_replicate=GrowingLayer)

    def join(self, other: BatchCache) -> None:
        """Add the rows of *other* below."""
        for layer, others in zip(self.layers, other.layers, strict=True):
            layer.join(others)

    def keep(self, rows: list[int], first: int) -> None:
        """Drop the other rows, and the columns before *first*."""
        for layer in self.layers:
            layer.keep(torch.tensor(rows, device=layer.device), first)
