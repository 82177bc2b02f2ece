"""How the context of a model request gets to a brain replica: as the chunks that the replica lacks, or whole.

The asker remembers for each replica what it was sent (``agents.brains.chunks``). A replica that has not kept all of it
answers "send all" and is asked again with everything: a miss costs one message more, and is never an error. Requests
that no session makes (a client's own, a count of tokens) travel whole.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import asdict, dataclass, replace
from typing import Any

from actors.link_client import LinkClient
from agents.brains.assembly import TokenUsage
from agents.brains.chunk_cache import ChunkCache
from agents.brains.chunks import Carried, Context, SentChunks
from agents.brains.port import BrainRequest
from agents.errors import InvalidRequest

CACHE = "chunk_cache"
"""Kind of the message in which a replica says what it keeps."""
WHOLE = "think"
BY_REFERENCE = "think_by_reference"
"""A stream of its own: whoever does not know it must not think about a request without its context."""

Batch = list[dict[str, Any]]

SEND_ALL: Batch = [{"type": "hecaton_send_all"}]
"""What a replica says instead of an answer when it lacks chunks that did not travel."""


@dataclass(slots=True)
class ContextFigures:
    """What the contexts of one brain's requests took, since their asker has started."""

    contexts_sent: int = 0
    """Requests whose context went as chunks."""
    contexts_resent: int = 0
    """Those that had to go again, whole."""
    chunk_hits: int = 0
    """Chunks that did not travel, because the replica had them."""
    chunk_misses: int = 0
    """Chunks that travelled."""
    chunk_bytes_sent: int = 0
    prompt_tokens: int = 0
    """Tokens that the brain was shown, by its own count; those of every answer."""
    prompt_tokens_cached: int = 0
    """Those of them that it had not to read again (its prompt or prefix cache)."""

    def count(self, context: Context, carried: Carried) -> None:
        """Count a context that travels."""
        self.contexts_sent += 1
        self.chunk_misses += len(carried.chunks)
        self.chunk_hits += len(context.keys) - len(carried.chunks)
        self.chunk_bytes_sent += carried.bytes

    def count_tokens(self, usage: TokenUsage) -> None:
        """Count what an answer used."""
        created = usage.cache_creation_5m + usage.cache_creation_1h
        self.prompt_tokens += usage.input_tokens + created + usage.cache_read_input_tokens
        self.prompt_tokens_cached += usage.cache_read_input_tokens

    def as_dict(self) -> dict[str, int]:
        return asdict(self)


class BrainReplica:
    """One replica, as its asker sees it: the link to it, and what it was sent."""

    def __init__(self, link: LinkClient, figures: ContextFigures) -> None:
        self.link = link
        self.cache: dict[str, int] = {}
        """What the replica said last of the chunks that it keeps."""
        self._sent = SentChunks()
        self._figures = figures

    def held(self, context: Context | None) -> int:
        """How many of the first chunks of a context the replica should have."""
        return 0 if context is None else self._sent.held(context.keys)

    async def think(
        self, request: BrainRequest, context: Context | None, *, timeout: float
    ) -> AsyncGenerator[Batch, None]:
        """Yield the answer's events in batches; *context* None sends the request whole. Raises as LinkClient.stream."""
        if context is None:
            async with aclosing(self.link.stream(WHOLE, replace(request, chain=None), timeout=timeout)) as batches:
                async for batch in batches:
                    yield batch
            return
        bare = replace(request, system=None, tools=[], messages=[], chain=None)
        for held in (self.held(context), 0):
            lacking = False
            carried = self._carried(context, held)
            async with aclosing(self.link.stream(BY_REFERENCE, bare, carried, timeout=timeout)) as batches:
                async for batch in batches:
                    if batch == SEND_ALL:
                        lacking = True
                    else:
                        yield batch
            if not lacking:
                return
            self._figures.contexts_resent += 1

    def _carried(self, context: Context, held: int) -> Carried:
        carried = context.carried(held)
        self._figures.count(context, carried)
        # The opening is shared by sessions; of the rest only the newest chunks are built upon.
        self._sent.add((context.keys[0], *context.keys[max(held - 1, 0) :]))
        return carried


class RequestReader:
    """The replica's end."""

    def __init__(self, cache_bytes: int) -> None:
        self._cache = ChunkCache(cache_bytes)

    def read(self, method: str, args: Sequence[Any]) -> BrainRequest | None:
        """Return the request with its context; None when the asker has to send it all. Raises InvalidRequest."""
        if method == WHOLE:
            (request,) = args
            return request
        if method == BY_REFERENCE:
            request, carried = args
            return self._cache.restored(request, carried)
        raise InvalidRequest(f"no such stream: {method}")

    def figures(self) -> dict[str, int]:
        """Drop what is not used any more; return what is kept, to be told to the callers."""
        self._cache.drop_unused()
        return {"chunks_kept": len(self._cache), "chunk_bytes_kept": self._cache.bytes}
