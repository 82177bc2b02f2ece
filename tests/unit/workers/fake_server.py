"""A server of one environment's queue behind the SDK's client: a transport that keeps items, logs and open streams.

Leases follow the rules of ``agents.workers.rules``; what goes wrong on the way is told beforehand with ``fail``.
"""

from __future__ import annotations

import asyncio
import re
from collections import defaultdict, deque
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import orjson
from anthropic import AsyncAnthropic

from agents.clock import ManualClock, rfc3339
from agents.errors import HecatonError, PermissionDenied
from agents.workers import rules
from agents.workers.credentials import digest_of, secret_of
from agents.workers.records import SessionStanding, WorkItem

ENV = "env_1"
SESSION = "sesn_1"
TTL = 60
Json = dict[str, Any]
Fault = int | str
"""A status, or the words of a broken connection."""


class FakeServer(httpx2.AsyncBaseTransport):
    """Everything that a worker asks of a server."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.items: list[WorkItem] = []
        self.log: dict[str, list[Json]] = defaultdict(list)
        self.asked: list[str] = []
        self.agents: dict[str, Json] = {}
        """What sessions show of their agents, where it is something."""
        self.resources: dict[str, list[Json]] = {}
        self.archives: dict[tuple[str, str], bytes] = {}
        """Archives of skills, by the skill's name and the version's id."""
        self.patience: dict[str, float] = {}
        """Seconds without a byte after which a request of a kind is given up."""
        self._streams: dict[str, list[asyncio.Queue[bytes | None]]] = defaultdict(list)
        self._faults: dict[str, deque[tuple[Fault, bool]]] = defaultdict(deque)
        self._tokens = 0

    def client(self, line: Line | None = None) -> AsyncAnthropic:
        http = httpx2.AsyncClient(transport=line or self)
        return AsyncAnthropic(base_url="http://server", api_key="key", max_retries=0, http_client=http)

    # -- what a test says ------------------------------------------------------------------------

    def queue(self, session_id: str = SESSION) -> WorkItem:
        """Queue an item of a session."""
        now = self.clock.now()
        item = WorkItem(f"work_{len(self.items)}", ENV, session_id, created_at=now, available_at=now)
        self.items.append(item)
        return item

    def fail(self, what: str, *faults: Fault, after: bool = False) -> None:
        """Have the next requests of a kind fail; those that fail *after* have been done, and their answers are lost."""
        self._faults[what].extend((fault, after) for fault in faults)

    def say(self, session_id: str, **event: Any) -> Json:
        """Add an event to a session's log and show it on its streams."""
        event.setdefault("id", f"sevt_{len(self.log[session_id])}")
        event.setdefault("processed_at", rfc3339(self.clock.now()))
        self.log[session_id].append(event)
        self._show(session_id, b"event: message\ndata: " + orjson.dumps(event) + b"\n\n")
        return event

    def call(self, call_id: str, command: str, session_id: str = SESSION, name: str = "bash") -> None:
        """Have the session's agent call a tool."""
        data = {"command": command} if name == "bash" else {"file_path": command}
        self.say(session_id, type="agent.tool_use", id=call_id, name=name, input=data, evaluated_permission="allow")

    def idle(self, session_id: str = SESSION, reason: str = "end_turn") -> None:
        self.say(session_id, type="session.status_idle", stop_reason={"type": reason, "event_ids": []})

    def break_streams(self, session_id: str = SESSION, error: str | None = None) -> None:
        """End a session's open streams, with an error event if it has words."""
        if error is not None:
            body = {"type": "error", "error": {"type": "overloaded_error", "message": error}}
            self._show(session_id, b"event: error\ndata: " + orjson.dumps(body) + b"\n\n")
        for stream in self._streams.pop(session_id, []):
            stream.put_nowait(None)

    def _show(self, session_id: str, frame: bytes) -> None:
        for stream in self._streams[session_id]:
            stream.put_nowait(frame)

    def results(self, session_id: str = SESSION) -> dict[str, str]:
        """Return the words of each result in a session's log, by call."""
        return {
            event["tool_use_id"]: "".join(block["text"] for block in event["content"])
            for event in self.log[session_id]
            if event["type"] == "user.tool_result"
        }

    def streaming(self, session_id: str = SESSION) -> bool:
        return bool(self._streams[session_id])

    def asked_for(self, what: str) -> int:
        return self.asked.count(what)

    # -- what a worker asks ----------------------------------------------------------------------

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        what, arguments = _kind(request)
        self.asked.append(what)
        self.patience[what] = request.extensions["timeout"]["read"]
        fault, after = self._faults[what].popleft() if self._faults[what] else (None, False)
        if fault is None or after:
            try:
                if what in ("session", "events", "stream", "send"):
                    self._check_token(request, *arguments)
                answer = getattr(self, f"_{what}")(request, *arguments)
            except HecatonError as error:
                answer = _answer(error.http_status, {"error": {"type": error.code, "message": error.message}})
            if fault is None:
                return answer
        if isinstance(fault, str):
            raise httpx2.ConnectError(fault)
        return _answer(fault, {"type": "error", "error": {"type": "api_error", "message": "told to fail"}})

    def _check_token(self, request: httpx2.Request, session_id: str) -> None:
        item = next(item for item in reversed(self.items) if item.session_id == session_id)
        if not rules.holds(item, _digest(request), self.clock.now()):
            raise PermissionDenied("the lease is lost")

    def _poll(self, request: httpx2.Request) -> httpx2.Response:
        now = self.clock.now()
        number = next((at for at, item in enumerate(self.items) if rules.claimable(item, now, 5)), None)
        if number is None:
            return _answer(200, None)
        self._tokens += 1
        token = f"token_{self._tokens}"
        self.items[number] = rules.claimed(self.items[number], now, digest_of(token))
        return _answer(200, self._wire(self.items[number]) | {"secret": secret_of(token)})

    def _ack(self, request: httpx2.Request, work_id: str) -> httpx2.Response:
        return self._store(rules.acknowledged(self._item(work_id), self.clock.now(), TTL))

    def _heartbeat(self, request: httpx2.Request, work_id: str) -> httpx2.Response:
        expected = request.url.params["expected_last_heartbeat"]
        item, beat = rules.beaten(
            self._item(work_id), self.clock.now(), expected=expected, ttl_seconds=TTL, digest=_digest(request)
        )
        self._store(item)
        return _answer(200, beat.wire())

    def _stop(self, request: httpx2.Request, work_id: str) -> httpx2.Response:
        item = self._item(work_id)
        asked = {event["id"] for event in self.log[item.session_id] if event["type"] == "agent.tool_use"}
        wanted = bool(asked - self.results(item.session_id).keys())
        over, successor = rules.stopped(
            item,
            self.clock.now(),
            SessionStanding(len(self.log[item.session_id]), wanted),
            force=True,
            by_worker=True,
            digest=_digest(request),
        )
        answer = self._store(over)
        if successor is not None:
            self.items.append(successor)
        return answer

    def _session(self, request: httpx2.Request, session_id: str) -> httpx2.Response:
        agent = {"skills": [], **self.agents.get(session_id, {})}
        return _answer(
            200, {"id": session_id, "type": "session", "agent": agent, "resources": self.resources.get(session_id, [])}
        )

    def _version(self, request: httpx2.Request, skill: str, version: str) -> httpx2.Response:
        """A skill's id is ``skill_`` and its name."""
        return _answer(200, {"id": f"{version}.1", "type": "skill_version", "name": skill.removeprefix("skill_")})

    def _archive(self, request: httpx2.Request, skill: str, version: str) -> httpx2.Response:
        archive = self.archives.get((skill.removeprefix("skill_"), version))
        return _answer(404, {}) if archive is None else httpx2.Response(200, content=archive)

    def _events(self, request: httpx2.Request, session_id: str) -> httpx2.Response:
        return _answer(200, {"data": self.log[session_id], "next_page": None})

    def _stream(self, request: httpx2.Request, session_id: str) -> httpx2.Response:
        frames: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._streams[session_id].append(frames)
        return httpx2.Response(200, headers={"content-type": "text/event-stream"}, stream=_Frames(frames))

    def _send(self, request: httpx2.Request, session_id: str) -> httpx2.Response:
        sent = [self.say(session_id, **event) for event in orjson.loads(request.content)["events"]]
        return _answer(200, {"data": sent})

    def _item(self, work_id: str) -> WorkItem:
        return next(item for item in self.items if item.id == work_id)

    def _store(self, item: WorkItem) -> httpx2.Response:
        self.items = [item if each.id == item.id else each for each in self.items]
        return _answer(200, self._wire(item))

    def _wire(self, item: WorkItem) -> Json:
        return {
            "id": item.id,
            "type": "work",
            "environment_id": ENV,
            "data": {"id": item.session_id, "type": "session"},
            "state": item.state.value,
            "created_at": rfc3339(item.created_at),
            "metadata": {},
        }


class Line(httpx2.AsyncBaseTransport):
    """One worker's way to the server."""

    def __init__(self, server: FakeServer) -> None:
        self._server = server
        self.cut = False

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        if self.cut:
            raise httpx2.ConnectError("cut")
        return await self._server.handle_async_request(request)


class _Frames(httpx2.AsyncByteStream):
    def __init__(self, frames: asyncio.Queue[bytes | None]) -> None:
        self._frames = frames

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield b": open\n\n"
        while (frame := await self._frames.get()) is not None:
            yield frame


_KINDS = {
    "poll": ("GET", r"/v1/environments/env_1/work/poll"),
    "ack": ("POST", r"/v1/environments/env_1/work/(\w+)/ack"),
    "heartbeat": ("POST", r"/v1/environments/env_1/work/(\w+)/heartbeat"),
    "stop": ("POST", r"/v1/environments/env_1/work/(\w+)/stop"),
    "session": ("GET", r"/v1/sessions/(\w+)"),
    "version": ("GET", r"/v1/skills/([^/]+)/versions/([^/]+)"),
    "archive": ("GET", r"/v1/skills/([^/]+)/versions/([^/]+)/content"),
    "events": ("GET", r"/v1/sessions/(\w+)/events"),
    "stream": ("GET", r"/v1/sessions/(\w+)/events/stream"),
    "send": ("POST", r"/v1/sessions/(\w+)/events"),
}


def _kind(request: httpx2.Request) -> tuple[str, tuple[str, ...]]:
    for what, (method, pattern) in _KINDS.items():
        if request.method == method and (match := re.fullmatch(pattern, request.url.path)) is not None:
            return what, match.groups()
    raise AssertionError(f"a worker asks for no {request.method} {request.url.path}")


def _digest(request: httpx2.Request) -> str:
    credential = request.headers.get("x-api-key") or request.headers["authorization"].removeprefix("Bearer ")
    return digest_of(credential)


def _answer(status: int, body: Any) -> httpx2.Response:
    return httpx2.Response(status, headers={"content-type": "application/json"}, content=orjson.dumps(body))
