"""A client whose stream is cut off goes on behind what it has seen, and counts that it had to."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast

import orjson
import pytest

from agents.experiments.running import driving
from agents.experiments.running.driving import Driver, Stretch
from agents.experiments.running.platform_api import PlatformApi
from agents.experiments.running.raw_http import Refused
from agents.experiments.work.arrivals import Arrival

RUNNING = b"event: session.status_running\nid: sevt_1\ndata: {}\n\n"
IDLE = b"event: session.status_idle\nid: sevt_2\ndata: {}\n\n"
ERROR = b"event: error\ndata: {}\n\n"


class Stream:
    """Shows its pieces one after the other; then the connection is lost."""

    complete = False

    def __init__(self, *pieces: bytes) -> None:
        self._pieces = list(pieces)
        self.body = bytearray(b": open\n\n")

    async def change(self) -> None:
        if not self._pieces:
            raise Refused("the connection was closed")
        self.body += self._pieces.pop(0)


class Platform:
    """Answers as a platform does, with these streams."""

    def __init__(self, *streams: Stream) -> None:
        self._streams = list(streams)
        self.asked: list[str] = []

    async def ask(self, method: str, path: str, body: bytes = b"") -> tuple[bytes, int]:
        self.asked.append(f"{method} {path}")
        return orjson.dumps({"id": "sesn_1"}), 0

    async def get(self, path: str) -> Any:
        self.asked.append(f"GET {path}")
        return {"data": [{"id": "sevt_0"}]}

    @asynccontextmanager
    async def stream(self, path: str) -> AsyncIterator[tuple[Stream, int]]:
        self.asked.append(path.rpartition("stream?event_deltas%5B%5D=agent.message")[2] or "opened")
        yield self._streams.pop(0), 0


@pytest.mark.parametrize(
    ("first", "resumed"),
    [
        pytest.param(Stream(RUNNING), ["&after=sevt_1"], id="lost"),
        pytest.param(Stream(RUNNING + ERROR), ["&after=sevt_1"], id="given up by the server"),
        pytest.param(Stream(), ["GET /v1/sessions/sesn_1/events?limit=1", "&after=sevt_0"], id="lost at once"),
    ],
)
async def test_a_stream_that_is_cut_off_is_opened_again_behind_what_it_showed(
    first: Stream, resumed: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(driving, "_REOPEN_SECONDS", 0.0)
    platform = Platform(first, Stream(IDLE))
    driver = Driver(cast(PlatformApi, platform), {"support": {}}, lambda arrival: "hi", Stretch(0.0, 0.0, 20.0))
    await driver.open_loop(iter([Arrival(0, 0.0, "support")]))
    (played,) = driver.played
    assert (played.fault, played.retries) == ("", 1)
    assert played.ended is not None
    sent = "POST /v1/sessions/sesn_1/events"
    assert platform.asked == ["POST /v1/sessions", "opened", sent, *resumed]
