"""The context of a model request as a chain of immutable chunks, so that only what is new has to travel.

A chunk is the opening (system prompt and tools) or one message. Its key is a hash over the key of the chunk before it
and over its own canonical bytes, so one key stands for everything up to its chunk. Keys follow from content alone:
whoever changes the beginning of a conversation (a compaction, other tools) changes every key after it, and nobody has
to be told. Canonical is JSON in the order in which the fields are: a prompt is made of just these bytes.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

Key = bytes
Block = dict[str, Any]

_ROOT = bytes(hashlib.sha256().digest_size)
_MOST_KEYS = 16_384
"""Keys remembered of what one replica was sent: some 2 MB, and the newest chunks of thousands of conversations."""


def chunk_key(before: Key | None, content: bytes) -> Key:
    """Return the key of the chunk with these canonical bytes, *before* being the key of the one before it."""
    return hashlib.sha256((before or _ROOT) + content).digest()


@dataclass(frozen=True, slots=True)
class Carried:
    """What travels of a context: the chunks that come after one which the reader has already."""

    after: Key | None
    """Key of the newest chunk that the reader is believed to have; None when everything travels."""
    chunks: tuple[bytes, ...]
    """Canonical bytes of the others."""

    @property
    def bytes(self) -> int:
        """How much travels."""
        return sum(map(len, self.chunks))


@dataclass(frozen=True, slots=True)
class Context:
    """The chunks of one request. It lives as long as the request is being sent."""

    keys: tuple[Key, ...]
    """Of the opening, then of each message."""
    values: Sequence[Any]
    fresh: Mapping[int, bytes]
    """Canonical bytes of the chunks that had no key yet, by place; those of older ones are made again when needed."""

    def carried(self, held: int) -> Carried:
        """Return what has to travel to a reader that has the first *held* chunks."""
        places = range(held, len(self.keys))
        chunks = tuple(self.fresh.get(place) or orjson.dumps(self.values[place]) for place in places)
        return Carried(self.keys[held - 1] if held else None, chunks)


class ChunkChain:
    """The keys of one conversation, which its session keeps from one request to the next.

    Tools and messages are known again by identity, so they must never be changed in place.
    """

    def __init__(self) -> None:
        self._tools: Sequence[Block] = ()
        self._messages: Sequence[Block] = ()
        self._system: str | None = None
        self._keys: list[Key] = []

    def follow(self, system: str | None, tools: Sequence[Block], messages: Sequence[Block]) -> Context | None:
        """Return the chunks of a request; None when it cannot be written as JSON, and so must travel as it is."""
        values = [{"system": system, "tools": tools}, *messages]
        fresh: dict[int, bytes] = {}
        same = self._same(system, tools, messages)
        keys = self._keys[:same]
        try:
            for place in range(same, len(values)):
                content = fresh[place] = orjson.dumps(values[place])
                keys.append(chunk_key(keys[-1] if keys else None, content))
        except orjson.JSONEncodeError:
            return None
        self._system, self._tools, self._messages, self._keys = system, tools, messages, keys
        return Context(tuple(keys), values, fresh)

    def _same(self, system: str | None, tools: Sequence[Block], messages: Sequence[Block]) -> int:
        """How many of the first chunks are those of the last request."""
        if not self._keys or system != self._system or tools is not self._tools:
            return 0
        same = 1
        for kept, message in zip(self._messages, messages, strict=False):
            if kept is not message:
                break
            same += 1
        return same


class SentChunks:
    """Which chunks one reader was sent, as far as its asker remembers: it may have dropped them since."""

    def __init__(self, most: int = _MOST_KEYS) -> None:
        self._most = most
        # In the order of their use: those that were not used for longest are forgotten first.
        self._keys: OrderedDict[Key, None] = OrderedDict()

    def held(self, keys: Sequence[Key]) -> int:
        """Return how many of the first chunks of a context the reader should have."""
        return next((place for place in range(len(keys), 0, -1) if keys[place - 1] in self._keys), 0)

    def add(self, keys: Iterable[Key]) -> None:
        """Take note that the reader has these."""
        for key in keys:
            self._keys[key] = None
            self._keys.move_to_end(key)
        while len(self._keys) > self._most:
            self._keys.popitem(last=False)
