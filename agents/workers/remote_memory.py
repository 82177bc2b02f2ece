"""The memory stores of sessions elsewhere, for the sandbox hosts of a worker.

Only the token of an item opens them, those of its session alone, and not the environment's key. So they can be had
while the session is served here; what a host cannot keep then, it keeps when the session is here again.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from anthropic import APIStatusError, omit

from agents.errors import (
    HecatonError,
    InvalidRequest,
    MemoryPathConflict,
    MemoryPreconditionFailed,
    NotFound,
    Unavailable,
)
from agents.memory import rules
from agents.memory.records import Change, Memories, MemoryEdit, MemoryListing, MemoryRecord, Text
from agents.workers.transience import PASSING, words

if TYPE_CHECKING:
    from anthropic import AsyncAnthropic
    from anthropic.types.beta.memory_stores import BetaManagedAgentsMemory
    from anthropic.types.beta.memory_stores.beta_managed_agents_memory_view import BetaManagedAgentsMemoryView

logger = logging.getLogger(__name__)

_PAGE, _FULL_PAGE = 100, 20
"""The API's most, without contents and with them."""
_BY_STATUS: dict[int, type[HecatonError]] = {400: InvalidRequest, 404: NotFound, 413: InvalidRequest}
_BY_TYPE: dict[str, type[HecatonError]] = {each.code: each for each in (MemoryPathConflict, MemoryPreconditionFailed)}


class RemoteStores:
    """Opens the stores of the sessions that a worker serves (``OpenMemory``)."""

    def __init__(self) -> None:
        self._clients: dict[str, AsyncAnthropic | None] = {}

    def serve(self, sandbox: str, client: AsyncAnthropic) -> None:
        """Open the stores of a session from now on with *client*, which has its token."""
        self._clients[sandbox] = client

    def deleted(self, sandbox: str) -> None:
        """Take note that a session was deleted: nobody can keep anything for it any more."""
        self._clients[sandbox] = None

    def leave(self, sandbox: str) -> None:
        """Open a session's stores no more."""
        self._clients.pop(sandbox, None)

    async def open(self, session_id: str) -> Memories:
        """Raises Unavailable while the session is not served here, NotFound when it was deleted."""
        if session_id not in self._clients:
            raise Unavailable("its session is served by nobody here just now")
        client = self._clients[session_id]
        if client is None:
            raise NotFound("its session was deleted")
        return RemoteMemory(client)


class RemoteMemory:
    """The Memories of one session, for one pass: it remembers what it has listed.

    Whose a change is the server knows by the token.
    """

    def __init__(self, client: AsyncAnthropic) -> None:
        self._reading = client.beta.memory_stores.memories
        # What was sent and not answered is for the next pass to find out: a repeat would be a conflict with itself.
        self._writing = client.with_options(max_retries=0).beta.memory_stores.memories
        self._listed: list[MemoryRecord] = []
        self._full: AsyncGenerator[MemoryRecord] | None = None
        self._full_at: str | None = None
        """The path that the listing with contents has come to."""

    async def memories(self, store_id: str, query: MemoryListing) -> Sequence[MemoryRecord]:
        """See Memories.memories. With contents it gives what comes next in the server's own order, or nothing."""
        async with _as_here():
            if query.with_content:
                return await self._next_contents(store_id, query)
            if query.after is None:
                listed = [each async for each in self._list(store_id, "basic")]
                self._listed = sorted(listed, key=lambda each: each.path)
            found = [each for each in self._listed if query.after is None or each.path > query.after]
            return found[: query.limit + 1]

    async def memory(self, store_id: str, memory_id: str) -> MemoryRecord:
        """See Memories.memory."""
        async with _as_here():
            return _record(await self._reading.retrieve(memory_id, memory_store_id=store_id, view="full"))

    async def create_memory(self, memory: MemoryRecord, change: Change) -> None:
        """See Memories.create_memory."""
        del change
        async with _as_here():
            await self._writing.create(memory.store_id, path=memory.path, content=memory.text.content)

    async def change_memory(self, store_id: str, memory_id: str, edit: MemoryEdit, change: Change) -> MemoryRecord:
        """See Memories.change_memory."""
        del change
        expected, path = edit.expected_sha256, edit.path
        content = edit.text.content if edit.text is not None else None
        async with _as_here():
            changed = await self._writing.update(
                memory_id,
                memory_store_id=store_id,
                content=omit if content is None else content,
                path=omit if path is None else path,
                precondition=omit if expected is None else {"type": "content_sha256", "content_sha256": expected},
            )
            return _record(changed)

    async def delete_memory(
        self, store_id: str, memory_id: str, change: Change, *, expected_sha256: str | None = None
    ) -> None:
        """See Memories.delete_memory."""
        del change
        expected = omit if expected_sha256 is None else expected_sha256
        async with _as_here():
            await self._writing.delete(memory_id, memory_store_id=store_id, expected_content_sha256=expected)

    async def _next_contents(self, store_id: str, query: MemoryListing) -> list[MemoryRecord]:
        if query.after is None:
            self._full, self._full_at = self._list(store_id, "full"), None
        if self._full is None or query.after != self._full_at:
            return []
        found: list[MemoryRecord] = []
        async for each in self._full:
            found.append(each)
            if len(found) == query.limit:
                break
        self._full_at = found[-1].path if found else None
        return found

    async def _list(self, store_id: str, view: BetaManagedAgentsMemoryView) -> AsyncGenerator[MemoryRecord]:
        limit, count = _PAGE if view == "basic" else _FULL_PAGE, 0
        async for item in self._reading.list(store_id, view=view, limit=limit):
            count += 1
            if count > rules.MAX_MEMORIES:
                raise Unavailable(f"memory store {store_id} has more memories than a store may have")
            if item.type != "memory":
                continue
            try:
                rules.checked_path(item.path)
            except InvalidRequest as error:
                logger.warning("a memory of %s is left out: %s", store_id, error.message)
                continue
            yield _record(item)


def _record(memory: BetaManagedAgentsMemory) -> MemoryRecord:
    return MemoryRecord(
        memory.id,
        memory.memory_store_id,
        memory.memory_version_id,
        memory.path,
        Text(memory.content, memory.content_sha256, memory.content_size_bytes),
        memory.created_at,
        memory.updated_at,
    )


@asynccontextmanager
async def _as_here() -> AsyncGenerator[None]:
    """Raise what the platform's own stores would raise."""
    try:
        yield
    except PASSING as error:
        raise _translated(error) from error


def _translated(error: Exception) -> HecatonError:
    if not isinstance(error, APIStatusError):
        return Unavailable(words(error))
    kind = _BY_TYPE.get(error.type or "") or _BY_STATUS.get(error.status_code, Unavailable)
    return kind(error.api_message or words(error), error_code=error.error_code)
