"""A platform in memory behind the real SDK: sessions whose turns are scripted, and requests that fail on demand."""

from __future__ import annotations

import asyncio
import json
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import httpx2
from anthropic import AsyncAnthropic

Json = dict[str, Any]
AT = "2026-11-22T10:00:00.000000Z"
END_TURN: Json = {"type": "end_turn"}
_URL = "http://hecaton.test"


def answer(text: str = "done") -> list[Json]:
    return [
        {"type": "agent.message", "content": [{"type": "text", "text": text}]},
        {"type": "span.model_request_end", "is_error": False},
        {"type": "session.status_idle", "stop_reason": END_TURN},
    ]


def failure(stop: str, message: str = "no luck") -> list[Json]:
    return [
        {"type": "session.error", "error": {"type": "model_overloaded_error", "message": message}},
        {"type": "session.status_idle", "stop_reason": {"type": stop}},
    ]


@dataclass
class FakeSession:
    """One session: its body, its log, and who watches."""

    id: str
    body: Json
    log: list[Json] = field(default_factory=list)
    watchers: list[asyncio.Queue[Json | None]] = field(default_factory=list)
    keys: set[str] = field(default_factory=set)

    def emit(self, *events: Json) -> None:
        for event in events:
            known = {"id": f"{self.id}_{len(self.log)}", "processed_at": AT, **event}
            self.log.append(known)
            for watcher in self.watchers:
                watcher.put_nowait(known)

    def cut(self) -> None:
        """End every stream in mid-turn."""
        for watcher in self.watchers:
            watcher.put_nowait(None)


class FakePlatform:
    """*turn* says what follows a message of its text in a session; faults are used up one by one."""

    def __init__(self, turn: Callable[[FakeSession, str], Sequence[Json]] = lambda session, text: answer(text)) -> None:
        self.turn = turn
        self.sessions: dict[str, FakeSession] = {}
        self.faults: dict[tuple[str, str], list[str | int]] = defaultdict(list)
        """By method and the path's last word: ``lost`` before or ``unanswered`` after it was done, or a status."""
        self.asked: list[tuple[str, str]] = []
        self._numbers = count(1)

    def client(self) -> AsyncAnthropic:
        transport = httpx2.AsyncClient(transport=httpx2.MockTransport(self._answer), base_url=_URL)
        return AsyncAnthropic(base_url=_URL, api_key="k", max_retries=0, http_client=transport)

    def of_row(self, line: int) -> list[FakeSession]:
        """The sessions that were made for a row."""
        return [each for each in self.sessions.values() if each.body["metadata"]["batch_row"] == str(line)]

    def messages(self) -> list[str]:
        """The texts of all messages that were taken in."""
        return [
            each["content"][0]["text"]
            for s in self.sessions.values()
            for each in s.log
            if each["type"] == "user.message"
        ]

    async def _answer(self, request: httpx2.Request) -> httpx2.Response:
        word = request.url.path.rstrip("/").rpartition("/")[2]
        asked = request.method, word if word in ("sessions", "events", "stream") else "session"
        self.asked.append(asked)
        fault = self.faults[asked].pop(0) if self.faults[asked] else None
        if fault == "lost":
            raise httpx2.ConnectError("refused")
        if isinstance(fault, int):
            error = {"type": "some_error", "message": f"status {fault}"}
            return httpx2.Response(fault, json={"type": "error", "error": error})
        done = self._do(request, asked)
        if fault == "unanswered":
            raise httpx2.ReadError("cut off")
        return done

    def _do(self, request: httpx2.Request, asked: tuple[str, str]) -> httpx2.Response:
        parts = request.url.path.split("/")
        if asked == ("POST", "sessions"):
            made = FakeSession(f"sesn_{next(self._numbers)}", json.loads(request.content))
            self.sessions[made.id] = made
            return httpx2.Response(200, json=self._wire(made))
        if asked == ("GET", "sessions"):
            return httpx2.Response(
                200, json={"data": [self._wire(s) for s in self.sessions.values()], "next_page": None}
            )
        session = self.sessions.get(parts[3])
        if session is None:
            error = {"type": "not_found_error", "message": "no such session"}
            return httpx2.Response(404, json={"type": "error", "error": error})
        if asked == ("GET", "session"):
            return httpx2.Response(200, json=self._wire(session), headers={"hecaton-list-cost-micro-usd": "1234"})
        if asked == ("GET", "stream"):
            return self._stream(session)
        if asked == ("GET", "events"):
            return httpx2.Response(200, json={"data": session.log, "next_page": None})
        return self._send(session, request)

    def _send(self, session: FakeSession, request: httpx2.Request) -> httpx2.Response:
        events, key = json.loads(request.content)["events"], request.headers["idempotency-key"]
        if key not in session.keys:
            session.keys.add(key)
            for event in events:
                session.emit(event)
                if event["type"] == "user.message":
                    session.emit({"type": "session.status_running"}, *self.turn(session, event["content"][0]["text"]))
                elif event["type"] != "user.define_outcome":
                    session.emit(*self.turn(session, event["type"]))
        return httpx2.Response(200, json={"data": []})

    def _stream(self, session: FakeSession) -> httpx2.Response:
        watcher = asyncio.Queue[Json | None]()
        session.watchers.append(watcher)

        async def frames() -> AsyncIterator[bytes]:
            while (event := await watcher.get()) is not None:
                yield f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode()

        return httpx2.Response(200, headers={"content-type": "text/event-stream"}, content=frames())

    def _wire(self, session: FakeSession) -> Json:
        usage = {"input_tokens": 10, "output_tokens": 2, "list_cost": {"amount": "0", "currency": "USD"}}
        return {
            "id": session.id,
            "metadata": session.body["metadata"],
            "usage": usage,
            "stats": {"active_seconds": 0.5},
        }
