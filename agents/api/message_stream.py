"""A message as it is made: server-sent events of the Messages API.

The status line waits for the first event, so that an early failure has a status that clients know how to retry; a
line that stays silent for long is opened before, for what lies between would cut it. What the model is ahead of the
client is held here up to a bound; then the model waits, and a client that takes nothing at all is given up.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress
from typing import Any

import orjson
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from agents.api.answers import envelope, error_answer
from agents.api.disconnects import disconnected
from agents.api.model_answer import ModelAnswer
from agents.api.model_failures import api_error
from agents.api.stream import SEND_SECONDS, STREAM_HEADERS, encode_frame
from agents.brains.port import BrainFailure
from agents.errors import HecatonError

_log = logging.getLogger(__name__)

SILENT_SECONDS = 30.0
"""Proxies usually cut a line that is silent for 60 seconds."""
HELD_BYTES = 256 * 1024
_PING = encode_frame("ping", b'{"type":"ping"}')


class MessageStream(Response):
    """The response that streams one answer."""

    def __init__(self, answer: ModelAnswer, *, keepalive_seconds: float, request_id: str) -> None:
        self._answer = answer
        self._keepalive_seconds = keepalive_seconds
        self._request_id = request_id
        self._held: list[bytes] = []
        self._bytes = 0
        self._ended = False
        self._failure: HecatonError | None = None
        self._news = asyncio.Event()
        self._room = asyncio.Event()
        self.background = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        reading = asyncio.create_task(self._read(self._answer.events()))
        writing = asyncio.create_task(self._write(scope, receive, send))
        leaving = asyncio.create_task(disconnected(receive))
        try:
            await asyncio.wait([writing, leaving], return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (reading, writing, leaving):
                task.cancel()
            await asyncio.gather(reading, writing, leaving, return_exceptions=True)
        if not writing.cancelled() and (fault := writing.exception()) is not None:
            if not isinstance(fault, OSError):
                raise fault
            # A send that timed out (TimeoutError is one) or failed: nobody reads any more.
            _log.info("the stream %s was given up: %r", self._request_id, fault)

    async def _read(self, events: AsyncGenerator[dict[str, Any], None]) -> None:
        """Hold what the brain says for the writer."""
        try:
            async with aclosing(events):
                async for event in events:
                    frame = encode_frame(event["type"], orjson.dumps(event))
                    self._held.append(frame)
                    self._bytes += len(frame)
                    self._news.set()
                    while self._bytes > HELD_BYTES:
                        self._room.clear()
                        await self._room.wait()
        except BrainFailure as failure:
            _log.warning("model request %s failed (%s): %s", self._request_id, failure.kind, failure.message)
            self._failure = api_error(failure)
        except Exception:
            # Part of the HTTP edge: nobody above hears of a task's errors once the answer has begun.
            _log.exception("model request %s failed", self._request_id)
            self._failure = HecatonError("an internal error occurred; the server's log has it under this request id")
        finally:
            self._ended = True
            self._news.set()

    async def _write(self, scope: Scope, receive: Receive, send: Send) -> None:
        heard = await self._heard_within(SILENT_SECONDS)
        if self._failure is not None and not self._held:
            await error_answer(self._failure, self._request_id)(scope, receive, send)
            return
        headers = [*STREAM_HEADERS, (b"x-hecaton-brain", self._answer.brain.encode("latin-1", "replace"))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        while True:
            chunk, ended = b"".join(self._held), self._ended
            self._held.clear()
            self._bytes = 0
            self._news.clear()
            self._room.set()
            await self._send(send, chunk if heard else _PING)
            if ended:
                break
            heard = await self._heard_within(self._keepalive_seconds)
        if self._failure is not None:
            await self._send(send, encode_frame("error", orjson.dumps(envelope(self._failure, self._request_id))))
        await self._send(send, b"", more=False)

    async def _heard_within(self, seconds: float) -> bool:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._news.wait()
        return self._news.is_set()

    async def _send(self, send: Send, chunk: bytes, *, more: bool = True) -> None:
        async with asyncio.timeout(SEND_SECONDS):
            await send({"type": "http.response.body", "body": chunk, "more_body": more})
