"""The stub's ASGI application: Messages API on one side, remote control on the other.

    POST /v1/messages                      streaming or whole
    POST /v1/messages/count_tokens         one token for every byte of the body
    POST /_script    {"match", "answers"}  queue answers (schema: script.py)
    POST /_release   {"gate"}              open a gate; "*" opens all that are known
    POST /_reset                           forget scripts, gates and requests
    GET  /_requests  ?count= &closed= &timeout= &match=
                                           what it was shown; waits until so many requests came and so many
                                           of them were closed early by their reader (408 when they do not)
    GET  /_occupancy                       how busy it has been (occupancy.py)
    GET  /_health                          503 while it is made unwell
    GET  /web/*, /search                   a little web for the web tools (web.py)

It is plain ASGI with prebuilt bytes because benchmarks measure other things than this stub.
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict, deque
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import parse_qs

import orjson
from pydantic import ValidationError

from tests.stub_model.occupancy import Occupancy
from tests.stub_model.rules import place, rule_answer
from tests.stub_model.script import Answer, Point, Script, Text, error_body, frame, frames, whole_message
from tests.stub_model.web import web_reply

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

JSON = (b"content-type", b"application/json")
SSE = [(b"content-type", b"text/event-stream; charset=utf-8"), (b"cache-control", b"no-cache")]
DEFAULT = Answer(content=[Text(text="ok")])
RULE_CACHE = 4096


class Shown:
    """One request as the stub saw it."""

    __slots__ = ("at", "body", "closed_early", "headers", "peer")

    def __init__(self, scope: Scope, body: dict[str, Any]) -> None:
        self.headers = {name.decode(): value.decode("latin-1") for name, value in scope["headers"]}
        self.peer: str = "{}:{}".format(*scope["client"])
        self.body = body
        self.at = time.monotonic()
        self.closed_early = False

    def to_json(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.__slots__}


class StubModel:
    """The application and its state; *keep* bounds the requests it remembers (0: none, for benchmarks)."""

    def __init__(self, keep: int = 1000) -> None:
        self._keep = keep
        self._rule_bytes: dict[tuple[str, int, int, str], bytes | None] = {}
        self.served = 0
        self._occupancy = Occupancy()
        self.well = True
        self.checks = 0
        self.reset()

    def reset(self) -> None:
        """Forget scripts, gates and requests."""
        self._queues: dict[str, deque[Answer]] = {}
        self._gates: dict[str, asyncio.Event] = defaultdict(asyncio.Event)
        self._news = asyncio.Event()
        self.requests: deque[Shown] = deque(maxlen=self._keep)

    def script(self, *answers: Answer | dict[str, Any], match: str = "") -> None:
        """Queue answers for requests whose body contains *match*."""
        parsed = [Answer.model_validate(answer) for answer in answers]
        self._queues.setdefault(match, deque()).extend(parsed)

    def release(self, gate: str) -> None:
        """Open a gate, or all of them with ``*``."""
        for name in [*self._gates] if gate == "*" else [gate]:
            self._gates[name].set()

    async def seen(self, count: int = 0, *, closed: int = 0, match: str = "", timeout: float = 5.0) -> list[Shown]:
        """Wait until so many requests came, so many of them closed early; raises TimeoutError."""
        async with asyncio.timeout(timeout):
            while True:
                found = [shown for shown in self.requests if not match or match.encode() in orjson.dumps(shown.body)]
                if len(found) >= count and sum(shown.closed_early for shown in found) >= closed:
                    return found
                news = self._news
                await news.wait()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope["path"]
        if path == "/v1/messages" and scope["method"] == "POST":
            with self._occupancy.request():
                await self._messages(scope, receive, send)
        elif path == "/v1/messages/count_tokens" and scope["method"] == "POST":
            await _respond(send, 200, orjson.dumps({"input_tokens": len(await _read(receive))}))
        elif path.startswith("/_"):
            status, body = await self._control(scope, await _read(receive))
            await _respond(send, status, body)
        elif (page := web_reply(path, scope["query_string"].decode(), _host(scope))) is not None:
            await _read(receive)
            status, headers, body = page
            await send({"type": "http.response.start", "status": status, "headers": headers})
            await send({"type": "http.response.body", "body": body})
        else:
            await _read(receive)
            await _respond(send, 404, error_body("not_found_error", path))

    async def _control(self, scope: Scope, body: bytes) -> tuple[int, bytes]:
        query = {name: values[-1] for name, values in parse_qs(scope["query_string"].decode()).items()}
        match scope["method"], scope["path"]:
            case "POST", "/_script":
                try:
                    script = Script.model_validate_json(body)
                except ValidationError as error:
                    return 400, error_body("invalid_request_error", str(error))
                self.script(*script.answers, match=script.match)
            case "POST", "/_release":
                self.release(orjson.loads(body)["gate"])
            case "POST", "/_reset":
                self.reset()
            case "GET", "/_requests":
                return await self._shown(query)
            case "GET", "/_occupancy":
                return 200, orjson.dumps(self._occupancy.reading())
            case "GET", "/_health":
                self.checks += 1
                return 200 if self.well else 503, orjson.dumps({"served": self.served})
            case _:
                return 404, error_body("not_found_error", scope["path"])
        return 200, b"{}"

    async def _shown(self, query: dict[str, str]) -> tuple[int, bytes]:
        try:
            found = await self.seen(
                int(query.get("count", 0)),
                closed=int(query.get("closed", 0)),
                match=query.get("match", ""),
                timeout=float(query.get("timeout", 5)),
            )
        except TimeoutError:
            return 408, error_body("timeout_error", f"{len(self.requests)} requests were seen")
        return 200, orjson.dumps([shown.to_json() for shown in found])

    async def _messages(self, scope: Scope, receive: Receive, send: Send) -> None:
        raw = await _read(receive)
        self.served += 1
        try:
            body = orjson.loads(raw)
            answer, prepared = self._answer(body, raw)
        except (ValueError, KeyError, TypeError) as error:
            await _respond(send, 400, error_body("invalid_request_error", str(error)))
            return
        shown = self._remember(scope, body)
        if answer.delay and await _left_within(answer.delay, receive):
            self._closed(shown)
            return
        if answer.status is not None:
            headers = [(name.lower().encode(), value.encode()) for name, value in answer.headers.items()]
            await _respond(send, answer.status, error_body(answer.error_type, answer.message), headers)
        elif not body.get("stream"):
            await _respond(send, 200, whole_message(answer, body["model"], self.served))
        else:
            await send({"type": "http.response.start", "status": 200, "headers": SSE})
            if prepared is not None:
                await send({"type": "http.response.body", "body": prepared})
            else:
                pieces = frames(answer, body["model"], self.served)
                await self._stream(pieces, receive, send, shown)

    def _answer(self, body: dict[str, Any], raw: bytes) -> tuple[Answer, bytes | None]:
        """Choose the answer, with its bytes when a rule made it before."""
        for match in sorted(self._queues, key=len, reverse=True):
            if self._queues[match] and match.encode() in raw:
                return self._queues[match].popleft(), None
        messages = body["messages"]
        directive, answered = place(messages)
        answer = rule_answer(directive, answered) if directive else DEFAULT
        key = (directive, answered, len(messages), body["model"])
        if key not in self._rule_bytes:
            if len(self._rule_bytes) >= RULE_CACHE:
                self._rule_bytes.clear()
            pieces = frames(answer, body["model"], len(messages))
            single = pieces[0] if len(pieces) == 1 else None
            self._rule_bytes[key] = single if isinstance(single, bytes) else None
        return answer, self._rule_bytes[key]

    def _remember(self, scope: Scope, body: dict[str, Any]) -> Shown | None:
        if not self._keep:
            return None
        shown = Shown(scope, body)
        self.requests.append(shown)
        self._tell()
        return shown

    def _closed(self, shown: Shown | None) -> None:
        if shown is not None:
            shown.closed_early = True
            self._tell()

    def _tell(self) -> None:
        news, self._news = self._news, asyncio.Event()
        news.set()

    async def _stream(self, pieces: list[bytes | Point], receive: Receive, send: Send, shown: Shown | None) -> None:
        left, began = asyncio.create_task(_gone(receive)), time.monotonic()
        try:
            for piece in pieces:
                if isinstance(piece, bytes):
                    await send({"type": "http.response.body", "body": piece, "more_body": True})
                elif await self._pass(piece, left, send, began):
                    return
                if left.done():
                    break
            else:
                await send({"type": "http.response.body", "body": b""})
                return
            self._closed(shown)
        finally:
            left.cancel()

    async def _pass(self, point: Point, left: asyncio.Task[None], send: Send, began: float) -> bool:
        """Do what *point* says; True when the stream ends here (without a proper end when dropped)."""
        if point.at is not None:
            await asyncio.wait({left}, timeout=max(0.0, began + point.at - time.monotonic()))
        elif point.gate is not None or point.delay is not None:
            wait = self._gates[point.gate].wait() if point.gate is not None else asyncio.sleep(point.delay or 0)
            waiting = asyncio.ensure_future(wait)
            await asyncio.wait({waiting, left}, return_when=asyncio.FIRST_COMPLETED)
            waiting.cancel()
        elif point.error is not None:
            error = {"type": "error", "error": {"type": point.error, "message": "scripted stream error"}}
            await send({"type": "http.response.body", "body": frame(error)})
        elif point.sse is not None:
            await send({"type": "http.response.body", "body": point.sse.encode(), "more_body": True})
        return point.drop or point.error is not None


async def _left_within(seconds: float, receive: Receive) -> bool:
    try:
        async with asyncio.timeout(seconds):
            await _gone(receive)
    except TimeoutError:
        return False
    return True


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _host(scope: Scope) -> str:
    return next((value.decode() for name, value in scope["headers"] if name == b"host"), "")


async def _read(receive: Receive) -> bytes:
    message = await receive()
    body: bytes = message.get("body", b"")
    while message.get("more_body"):
        message = await receive()
        body += message.get("body", b"")
    return body


async def _respond(send: Send, status: int, body: bytes, headers: list[tuple[bytes, bytes]] | None = None) -> None:
    lengths = (b"content-length", str(len(body)).encode())
    await send({"type": "http.response.start", "status": status, "headers": [JSON, lengths, *(headers or [])]})
    await send({"type": "http.response.body", "body": body})
