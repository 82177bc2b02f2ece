"""A scripted HTTP side of the API for command tests: the real SDK, no network."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import httpx2
from anthropic import Anthropic

AT = "2026-11-21T10:00:00.000000Z"
SESSION = "sesn_1"


def event(identity: str, kind: str, **body: Any) -> dict[str, Any]:
    return {"id": identity, "type": kind, "processed_at": AT, **body}


def running(identity: str = "sevt_run") -> dict[str, Any]:
    return event(identity, "session.status_running")


def idle(identity: str, stop: str = "end_turn", **body: Any) -> dict[str, Any]:
    return event(identity, "session.status_idle", stop_reason={"type": stop, **body})


def message(identity: str, text: str) -> dict[str, Any]:
    return event(identity, "agent.message", content=[{"type": "text", "text": text}])


class Break(Exception):
    """Where a scripted stream is cut off."""


class ScriptedApi:
    """Answers event calls: each opened stream plays the next script, ``history`` answers listings.

    A script is a list of events; a callable in it runs when the stream gets there, and a Break cuts the line.
    """

    def __init__(self) -> None:
        self.scripts: list[list[Any]] = []
        self.history: list[dict[str, Any]] = []
        self.sent: list[dict[str, Any]] = []
        self.routes: dict[tuple[str, str], Callable[[httpx2.Request], Any]] = {}
        self.refuse_send: int | None = None

    def client(self) -> Anthropic:
        transport = httpx2.MockTransport(self._answer)
        return Anthropic(
            base_url="http://hecaton.test",
            api_key="k",
            max_retries=0,
            http_client=httpx2.Client(transport=transport, base_url="http://hecaton.test"),
        )

    def _answer(self, request: httpx2.Request) -> httpx2.Response:
        path = request.url.path
        if route := self.routes.get((request.method, path)):
            return httpx2.Response(200, json=route(request))
        if path.endswith("/events/stream"):
            if not self.scripts:
                raise httpx2.ConnectError("refused")
            return httpx2.Response(
                200, headers={"content-type": "text/event-stream"}, content=_frames(self.scripts.pop(0))
            )
        if path.endswith("/events") and request.method == "POST":
            return self._send(json.loads(request.content)["events"])
        if path.endswith("/events"):
            return httpx2.Response(200, json={"data": self.history, "next_page": None})
        raise AssertionError(f"unexpected request: {request.method} {path}")

    def _send(self, events: list[dict[str, Any]]) -> httpx2.Response:
        if self.refuse_send:
            error = {"type": "invalid_request_error", "message": "no"}
            return httpx2.Response(self.refuse_send, json={"type": "error", "error": error})
        first = len(self.sent)
        self.sent += events
        stored = [{**each, "id": f"sent_{first + place}", "processed_at": None} for place, each in enumerate(events)]
        return httpx2.Response(200, json={"data": stored})


def _frames(script: list[Any]) -> Iterator[bytes]:
    for item in script:
        if isinstance(item, Break):
            raise httpx2.ReadError("cut off")
        if callable(item):
            item()
            continue
        yield f"event: {item['type']}\ndata: {json.dumps(item)}\n\n".encode()
