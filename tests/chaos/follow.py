"""Following a session: each committed event once and in order, by one of three ways that clients know.

``poll`` lists again and again; ``stream`` opens a stream, lists, and drops what it has seen (what the SDK's
documentation tells); ``resume`` is a raw client that reconnects with ``Last-Event-ID``; it
lists only until it has seen an event.
Whatever a stream shows is kept as it came, for the checks.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Any

import anthropic
import httpx2
import orjson

from tests.chaos.api import KEY, Api, Gone
from tests.chaos.record import Connection, Json, Visit

MODES = ("poll", "stream", "resume")
_POLL_SECONDS = 0.5
_PAUSE_SECONDS = 0.3
_SILENCE_SECONDS = 40.0
"""The server keeps a stream alive every 15 s; one that is silent for longer is dead."""
_PREVIEWS = frozenset({"event_start", "event_delta"})
_BROKEN = (anthropic.APIError, httpx2.HTTPError, TimeoutError, orjson.JSONDecodeError)


class Follower:
    """The committed events of one session, each once, however often the connection breaks."""

    def __init__(self, api: Api, visit: Visit) -> None:
        self._api = api
        self._visit = visit
        self._seen: set[str] = set()
        self._last: str | None = None

    def events(self) -> AsyncGenerator[Json, None]:
        match self._visit.mode:
            case "poll":
                return self._poll()
            case "stream":
                return self._stream()
            case _:
                return self._resume()

    def _fresh(self, event: Json) -> bool:
        if not event.get("processed_at") or event["id"] in self._seen:
            return False
        self._seen.add(event["id"])
        self._last = event["id"]
        return True

    async def _listed(self) -> list[Json]:
        log = await self._api.log(self._visit.session_id)
        ids = [event["id"] for event in log if event.get("processed_at")]
        if not self._visit.listings or self._visit.listings[-1] != ids:
            self._visit.listings.append(ids)
        return log

    async def _poll(self) -> AsyncGenerator[Json, None]:
        while True:
            for event in await self._listed():
                if self._fresh(event):
                    yield event
            await asyncio.sleep(_POLL_SECONDS)

    async def _stream(self) -> AsyncGenerator[Json, None]:
        while True:
            connection = self._connection()
            try:
                opened = await self._open_sdk()
                async with opened as stream:
                    for event in await self._listed():
                        if self._fresh(event):
                            yield event
                    async with aclosing(self._kept(connection, _sdk_events(stream))) as kept:
                        async for event in kept:
                            if self._fresh(event):
                                yield event
            except _BROKEN as broken:
                connection.end = f"{type(broken).__name__}: {broken}"[:200]
            await self._pause()

    async def _open_sdk(self) -> Any:
        events = self._api.client.beta.sessions.events
        # Every other stream asks for previews; the SDK's timeout bounds the silence between two parts.
        asked: Any = {"event_deltas": ["agent.message"]} if self._visit.number % 2 else {}
        timeout = httpx2.Timeout(_SILENCE_SECONDS, connect=5.0)
        return await self._api.get(
            "open stream",
            self._visit.session_id,
            lambda: events.stream(self._visit.session_id, timeout=timeout, **asked),
        )

    async def _resume(self) -> AsyncGenerator[Json, None]:
        path = f"{str(self._api.client.base_url).rstrip('/')}/v1/sessions/{self._visit.session_id}/events/stream"
        timeout = httpx2.Timeout(_SILENCE_SECONDS, connect=5.0)
        async with httpx2.AsyncClient(headers={"x-api-key": KEY}, timeout=timeout, trust_env=False) as http:
            while True:
                connection = self._connection()
                connection.after = self._last
                headers = {"last-event-id": self._last} if self._last else {}
                try:
                    async with http.stream("GET", path, headers=headers) as response:
                        if response.status_code == 200:
                            # Without a place to go on from, what was missed is in the history.
                            for event in [] if self._last else await self._listed():
                                if self._fresh(event):
                                    yield event
                            async with aclosing(self._kept(connection, _raw_events(response))) as kept:
                                async for event in kept:
                                    if self._fresh(event):
                                        yield event
                        else:
                            # A raw client has no retries of the SDK's; it must only be told to come again.
                            connection.end = f"status {response.status_code}"
                except _BROKEN as broken:
                    connection.end = f"{type(broken).__name__}: {broken}"[:200]
                await self._pause()

    def _connection(self) -> Connection:
        made = Connection(self._visit.mode, time.time())
        self._visit.connections.append(made)
        return made

    async def _pause(self) -> None:
        if time.monotonic() > self._api.end:
            raise Gone("the stream could not be followed to the end")
        await asyncio.sleep(_PAUSE_SECONDS)

    async def _kept(self, connection: Connection, frames: AsyncIterator[Json]) -> AsyncGenerator[Json, None]:
        """Keep what a stream shows; yields its events without previews."""
        async for frame in frames:
            if frame["type"] not in _PREVIEWS:
                connection.events.append(frame)
                yield frame
            elif frame["type"] == "event_delta":
                text = frame["delta"]["content"]["text"]
                connection.previews[frame["event_id"]] = connection.previews.get(frame["event_id"], "") + text
        connection.end = "ended by the server"


async def _sdk_events(stream: Any) -> AsyncGenerator[Json, None]:
    async for event in stream:
        yield event.to_dict(mode="json")


async def _raw_events(response: httpx2.Response) -> AsyncGenerator[Json, None]:
    name = data = ""
    async for line in _lines(response):
        field, _, value = line.partition(":")
        if not line and data:
            if name != "error":
                yield orjson.loads(data)
            name = data = ""
        elif field == "event":
            name = value.strip()
        elif field == "data":
            data += value.strip()


async def _lines(response: httpx2.Response) -> AsyncGenerator[str, None]:
    held = b""
    async for chunk in response.aiter_bytes():
        *lines, held = (held + chunk).split(b"\n")
        for line in lines:
            yield line.decode()
