"""What a replica has read of a request before its application asked for it is bounded."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest
from ray.serve._private import replica
from ray.serve._private.direct_ingress_http_util import ASGIDIReceiveProxy

from actors.bounded_bodies import MESSAGES, BoundedReceive, bound_bodies

BODY = 100


class Client:
    """Sends a body in many pieces, and goes away."""

    def __init__(self) -> None:
        self.sent = 0

    async def receive(self) -> dict[str, Any]:
        await asyncio.sleep(0)
        self.sent += 1
        if self.sent > BODY:
            return {"type": "http.disconnect"}
        return {"type": "http.request", "body": b"%d" % self.sent, "more_body": self.sent < BODY}


async def read_slowly(receive: BoundedReceive, client: Client) -> list[bytes]:
    """Read a whole body; nobody may be far ahead of it."""
    found: list[bytes] = []
    while (message := await receive())["type"] == "http.request":
        found.append(message["body"])
        for _ in range(50):
            await asyncio.sleep(0)
        # Beside what is queued, one waits to be.
        assert client.sent <= len(found) + MESSAGES + 1
    return found


async def test_a_body_is_read_no_further_ahead_than_the_bound() -> None:
    client = Client()
    receive = BoundedReceive({"type": "http"}, client.receive, asyncio.get_running_loop())
    fetching = receive.fetch_until_disconnect_task()
    assert await read_slowly(receive, client) == [b"%d" % number for number in range(1, BODY + 1)]
    await fetching
    assert (await receive())["type"] == "http.disconnect"


async def test_it_is_also_when_the_application_has_a_loop_of_its_own() -> None:
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        client = Client()
        receive = BoundedReceive({"type": "http"}, client.receive, loop)
        fetching = receive.fetch_until_disconnect_task()
        reading = asyncio.wrap_future(asyncio.run_coroutine_threadsafe(read_slowly(receive, client), loop))
        assert len(await reading) == BODY
        await fetching
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


async def test_replicas_read_requests_so(monkeypatch: pytest.MonkeyPatch) -> None:
    # The name under which Serve's replica looks it up; where it is gone, this fails.
    monkeypatch.setattr(replica, "ASGIDIReceiveProxy", ASGIDIReceiveProxy)
    bound_bodies()
    assert vars(replica)["ASGIDIReceiveProxy"] is BoundedReceive
