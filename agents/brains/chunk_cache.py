"""What a brain replica keeps of the conversations that it has read: parsed chunks, found again by their keys.

Nothing depends on it (law 7): a chunk that is not here, because the replica is new or had no room for it, is asked
for. Its memory is bounded, and so is how long a chunk stays unused; chunks that were not used for longest go first, and
of one conversation the newest before the oldest, so that what is left is still a beginning.
"""

from __future__ import annotations

import sys
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, cast

import orjson

from agents.brains.chunks import Carried, Key, chunk_key
from agents.brains.port import BrainRequest

_ENTRY_BYTES = 300
"""A chunk's own record, its key and its place in the table, as ``tracemalloc`` counts them."""

_IDLE_SECONDS = 300.0
"""As long as vendors keep a prompt by default: most sessions that were silent for longer do not come back."""


@dataclass(slots=True)
class _Chunk:
    before: Key | None
    content: dict[str, Any]
    size: int
    """Bytes of memory."""
    used: float = 0.0
    """When it was used last."""


class ChunkCache:
    """The chunks that one replica keeps, for all its callers."""

    def __init__(self, max_bytes: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._max_bytes = max_bytes
        self._clock = clock
        self._chunks: OrderedDict[Key, _Chunk] = OrderedDict()
        self.bytes = 0
        """Memory that the chunks take."""

    def __len__(self) -> int:
        return len(self._chunks)

    def restored(self, request: BrainRequest, carried: Carried) -> BrainRequest | None:
        """Return *request* with its context; None when chunks that did not travel are not here any more."""
        found = self._found(carried.after)
        if found is None:
            return None
        key = carried.after
        for content in carried.chunks:
            before, key = key, chunk_key(key, content)
            found.append((key, self._chunks.get(key) or _parsed(before, content)))
        self._keep(found)
        opening, *messages = (chunk.content for _, chunk in found)
        return replace(request, system=opening["system"], tools=opening["tools"], messages=messages)

    def _found(self, key: Key | None) -> list[tuple[Key, _Chunk]] | None:
        """The chunks up to that with *key*, oldest first; None when one is missing."""
        found: list[tuple[Key, _Chunk]] = []
        while key is not None:
            chunk = self._chunks.get(key)
            if chunk is None:
                return None
            found.append((key, chunk))
            key = chunk.before
        found.reverse()
        return found

    def drop_unused(self) -> None:
        """Drop what was not used for a while; to be called now and then."""
        oldest = self._clock() - _IDLE_SECONDS
        while self._chunks and next(iter(self._chunks.values())).used < oldest:
            self._drop_first()

    def _drop_first(self) -> None:
        _, dropped = self._chunks.popitem(last=False)
        self.bytes -= dropped.size

    def _keep(self, used: list[tuple[Key, _Chunk]]) -> None:
        now = self._clock()
        for key, chunk in reversed(used):
            if key not in self._chunks:
                self._chunks[key] = chunk
                self.bytes += chunk.size
            self._chunks.move_to_end(key)
            chunk.used = now
        while self.bytes > self._max_bytes:
            self._drop_first()


def _parsed(before: Key | None, content: bytes) -> _Chunk:
    value = orjson.loads(content)
    return _Chunk(before, value, _ENTRY_BYTES + _memory(value))


def _memory(value: Any) -> int:
    """Bytes of a parsed JSON value, but for the names of fields, which the parser shares."""
    size, open_values = 0, [value]
    while open_values:
        one = open_values.pop()
        size += sys.getsizeof(one)
        if isinstance(one, dict):
            open_values.extend(cast("dict[str, Any]", one).values())
        elif isinstance(one, list):
            open_values.extend(cast("list[Any]", one))
    return size
