"""Messages over one connection: pickled in batches, one batch per turn of the event loop.

A Ray actor call costs about half a millisecond of CPU on each side whatever it carries; a message here
costs some tens of microseconds (docs/adr/0007). What is queued while the loop is busy leaves as one
batch. Both ends belong to the platform and have met through Ray (see ``actors.link_server``), which is
what makes unpickling acceptable. Buffers are bounded: a peer that does not read is disconnected.
"""

from __future__ import annotations

import asyncio
import logging
import pickle
import struct
from collections.abc import AsyncIterator, Sequence
from typing import Any

logger = logging.getLogger(__name__)

_LENGTH = struct.Struct("!I")
_MAX_BATCH_BYTES = 256 * 1024 * 1024
_MAX_UNSENT_BYTES = 256 * 1024 * 1024
# A burst of long conversations may be this large for a moment; from a peer that does not read it stays.
_MUCH_UNSENT_BYTES = 32 * 1024 * 1024
_READ_SECONDS = 5.0

Message = tuple[Any, ...]


class MessageStream:
    """One end of a connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._loop = asyncio.get_running_loop()
        self._waiting: list[Message] = []
        self._judging: asyncio.TimerHandle | None = None
        self.received = 0
        """How many batches have come: it grows while the peer lives."""
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
        if self._unsent() > _MAX_UNSENT_BYTES:
            self._give_up()
            return
        self._write(batch)
        if self._judging is None and self._unsent() > _MUCH_UNSENT_BYTES:
            self._judging = self._loop.call_later(_READ_SECONDS, self._judge)

    def _write(self, batch: Sequence[Message]) -> None:
        data = pickle.dumps(list(batch), protocol=pickle.HIGHEST_PROTOCOL)
        if len(data) <= _MAX_BATCH_BYTES:
            self._writer.write(_LENGTH.pack(len(data)) + data)
        elif len(batch) > 1:
            half = len(batch) // 2
            self._write(batch[:half])
            self._write(batch[half:])
        else:
            logger.error("a message of %d bytes is too large for a link", len(data))
            self.abort()

    def _unsent(self) -> int:
        return self._writer.transport.get_write_buffer_size()

    def _judge(self) -> None:
        self._judging = None
        if not self.closed and self._unsent() > _MUCH_UNSENT_BYTES:
            self._give_up()

    def _give_up(self) -> None:
        logger.warning("a link was cut: its peer left %d bytes unread", self._unsent())
        self.abort()

    async def read(self) -> list[Message]:
        """Return the next batch. Raises IncompleteReadError (the connection ended) or ConnectionError."""
        (length,) = _LENGTH.unpack(await self._reader.readexactly(_LENGTH.size))
        if length > _MAX_BATCH_BYTES:
            raise ConnectionError(f"a batch of {length} bytes")
        data = await self._reader.readexactly(length)
        self.received += 1
        return pickle.loads(data)  # noqa: S301 - see the module's text

    async def batches(self) -> AsyncIterator[list[Message]]:
        """Yield what the peer sent; ends when the connection does."""
        try:
            while True:
                yield await self.read()
        except (asyncio.IncompleteReadError, ConnectionError):
            return
        finally:
            self.close()

    def close(self) -> None:
        """Send what is queued, then end the connection."""
        if not self.closed:
            self._flush()
        self.closed = True
        self._writer.close()

    def abort(self) -> None:
        """End the connection at once: what the peer has not read is dropped."""
        self.closed = True
        self._writer.transport.abort()
