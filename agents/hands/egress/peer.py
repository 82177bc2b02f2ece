"""One side of a proxied exchange: HTTP/1.1 by h11 over a stream, within the limits of its sandbox."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import h11

from agents.hands.egress.settings import EgressSettings

HEAD_BYTES = 64 * 1024
"""A longer head of a message is refused."""
_PIECE_BYTES = 64 * 1024

Event = h11.Request | h11.Response | h11.InformationalResponse | h11.Data | h11.EndOfMessage | h11.ConnectionClosed


class Refusal(Exception):
    """The proxy does not do what was asked; ``status`` and the text are its answer."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


class Spent(Exception):
    """The sandbox has used up what it may send and receive."""


class CutOff(Exception):
    """The other side ended in the middle of a message."""


@dataclass(slots=True)
class Allowance:
    """What the connections of one sandbox have moved."""

    most: int
    used: int = 0

    def take(self, count: int) -> None:
        """Count so many bytes. Raises Spent."""
        self.used += count
        if self.used > self.most:
            raise Spent


class Patience:
    """The time limit of one connection: something must move, and it must end some day."""

    def __init__(self, settings: EgressSettings) -> None:
        self._loop = asyncio.get_running_loop()
        self._idle = settings.idle_seconds
        self._end = self._loop.time() + settings.connection_seconds
        self.timeout = asyncio.timeout(min(self._idle, settings.connection_seconds))

    def moved(self) -> None:
        """Take note that something moved."""
        self.timeout.reschedule(min(self._loop.time() + self._idle, self._end))


class Stream:
    """A connection's bytes, counted."""

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        allowance: Allowance,
        patience: Patience,
    ) -> None:
        self.reader = reader
        self.writer = writer
        self._allowance = allowance
        self._patience = patience

    async def read(self) -> bytes:
        """Return what has come; empty at the end. Raises OSError, Spent."""
        data = await self.reader.read(_PIECE_BYTES)
        self._allowance.take(len(data))
        self._patience.moved()
        return data

    async def write(self, data: bytes) -> None:
        """Send *data* and wait until there is room for more. Raises OSError."""
        self.writer.write(data)
        await self.writer.drain()
        self._patience.moved()


class Peer:
    """Reads and writes events of HTTP/1.1 on a stream."""

    def __init__(self, role: type[h11.CLIENT] | type[h11.SERVER], stream: Stream) -> None:
        self.stream = stream
        self.http = h11.Connection(role, max_incomplete_event_size=HEAD_BYTES)

    async def next(self) -> Event:
        """Return the next event. Raises h11.RemoteProtocolError, OSError, Spent, CutOff."""
        while True:
            if self.http.they_are_waiting_for_100_continue:
                await self.send(h11.InformationalResponse(status_code=100, headers=[]))
            try:
                event = self.http.next_event()
            except h11.RemoteProtocolError as error:
                if self.http.our_role is h11.CLIENT:
                    raise CutOff from error
                raise
            if event is h11.PAUSED:
                raise CutOff
            if isinstance(event, Event):
                return event
            self.http.receive_data(await self.stream.read())

    async def send(self, event: Event) -> None:
        """Send one event. Raises h11.LocalProtocolError, OSError."""
        if data := self.http.send(event):
            await self.stream.write(data)

    async def answer(self, status: int, text: str) -> None:
        """Give an answer of the proxy's own; the connection ends with it. Raises OSError."""
        body = f"{text}\n".encode()
        reason = text.encode("ascii", errors="replace")[:200]
        headers = [("content-type", "text/plain; charset=utf-8"), ("content-length", str(len(body)))]
        headers += [("connection", "close"), ("proxy-connection", "close")]
        await self.send(h11.Response(status_code=status, headers=headers, reason=reason))
        await self.send(h11.Data(data=body))
        await self.send(h11.EndOfMessage())
