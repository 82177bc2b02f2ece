"""Messages over one connection: pickled in batches, one batch per turn of the event loop.

A Ray actor call costs about half a millisecond of CPU on each side whatever it carries; a message here
costs some tens of microseconds (docs/adr/0007). What is queued while the loop is busy leaves as one
batch. Both ends belong to the platform and have met through Ray (see ``actors.link_server``), which is
what makes unpickling acceptable. Buffers are bounded: a peer that does not read is disconnected.
"""

from __future__ import annotations

import asyncio
import pickle
import struct
from collections.abc import AsyncIterator
from typing import Any

_LENGTH = struct.Struct("!I")
_MAX_BATCH_BYTES = 256 * 1024 * 1024
_MAX_UNSENT_BYTES = 64 * 1024 * 1024

Message = tuple[Any, ...]


class MessageStream:
    """One end of a connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._loop = asyncio.get_running_loop()
        self._waiting: list[Message] = []
        self.closed = False

    def send(self, message: Message) -> None:
        """Queue a message; it leaves at the end of this turn of the loop. Does nothing once closed."""
        if self.closed:
            return
        if not self._waiting:
            self._loop.call_soon(self._flush)
        self._waiting.append(message)

    def _flush(self) -> None:
        batch, self._waiting = self._waiting, []
        if self.closed or not batch:
            return
        data = pickle.dumps(batch, protocol=pickle.HIGHEST_PROTOCOL)
        self._writer.write(_LENGTH.pack(len(data)) + data)
        if self._writer.transport.get_write_buffer_size() > _MAX_UNSENT_BYTES:
            self.close()

    async def batches(self) -> AsyncIterator[list[Message]]:
        """Yield what the peer sent; ends when the connection does."""
        try:
            while True:
                (length,) = _LENGTH.unpack(await self._reader.readexactly(_LENGTH.size))
                if length > _MAX_BATCH_BYTES:
                    return
                yield pickle.loads(await self._reader.readexactly(length))  # noqa: S301 - see the module's text
        except (asyncio.IncompleteReadError, ConnectionError):
            return
        finally:
            self.close()

    def close(self) -> None:
        self.closed = True
        self._writer.close()
