"""One request passed on to its host, and the answer passed back.

Both sides are parsed and written anew by h11, so that nothing that could be read in two ways (lengths, line ends, a
second request inside a body) reaches the host as it came. Headers that are between two neighbours end here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import h11

from agents.hands.egress.peer import CutOff, Peer, Refusal
from agents.hands.egress.placeholders import Substitution
from agents.hands.egress.replacer import Replacer

_BETWEEN_NEIGHBOURS = frozenset(
    b"connection keep-alive proxy-connection proxy-authenticate proxy-authorization te trailer transfer-encoding"
    b" upgrade expect host".split()
)
_LENGTH = b"content-length"
_CHUNKED = (b"transfer-encoding", b"chunked")
_BODY_BYTES = 8 * 1024 * 1024
"""A body in which something is replaced is sent with its length up to this size, and in chunks above it."""

Headers = list[tuple[bytes, bytes]]


@dataclass(frozen=True, slots=True)
class Wanted:
    """A request as the host gets it: ``authority`` names host and port, ``target`` begins with a slash."""

    method: bytes
    authority: str
    target: bytes
    headers: Headers


async def exchange(client: Peer, host: Peer, wanted: Wanted, secrets: Substitution | None) -> None:
    """Pass one request on and its answer back.

    Raises Refusal while nothing was answered, CutOff when the answer broke off; OSError, Spent, h11's errors.
    """
    sending = asyncio.create_task(_send(client, host, wanted, secrets))
    try:
        await _receive(client, host, secrets, sending)
    finally:
        await _ended(sending)


async def _send(client: Peer, host: Peer, wanted: Wanted, secrets: Substitution | None) -> None:
    headers = _end_to_end(wanted.headers)
    if secrets is not None:
        headers = [(name, secrets.header(value)) for name, value in headers if name != b"accept-encoding"]
        headers.append((b"accept-encoding", b"identity"))  # what is packed cannot be looked through
    body = secrets.body if secrets is not None else Replacer({})
    if any(name == _CHUNKED[0] for name, _ in wanted.headers):
        headers = [*_without_length(headers), _CHUNKED]
    first = b""
    if body and any(name == _LENGTH for name, _ in headers):
        first, ended = await _begin(client)
        first = body.whole(first) if ended else body.feed(first)
        headers = _without_length(headers)
        headers.append((_LENGTH, str(len(first)).encode()) if ended else _CHUNKED)
    head = [(b"host", wanted.authority.encode()), *headers, (b"connection", b"close")]
    await host.send(h11.Request(method=wanted.method, target=wanted.target, headers=head))
    if first:
        await host.send(h11.Data(data=first))
    while client.http.their_state is h11.SEND_BODY:
        event = await client.next()
        if isinstance(event, h11.Data) and (data := body.feed(bytes(event.data))):
            await host.send(h11.Data(data=data))
    if rest := body.finish():
        await host.send(h11.Data(data=rest))
    await host.send(h11.EndOfMessage())


async def _begin(client: Peer) -> tuple[bytes, bool]:
    """Return the body, or its beginning when it is long, and whether that is all."""
    data = bytearray()
    while client.http.their_state is h11.SEND_BODY and len(data) < _BODY_BYTES:
        event = await client.next()
        if isinstance(event, h11.Data):
            data += event.data
    return bytes(data), client.http.their_state is not h11.SEND_BODY


async def _receive(client: Peer, host: Peer, secrets: Substitution | None, sending: asyncio.Task[None]) -> None:
    response = await _response(host, sending)
    headers = _end_to_end(response.headers)
    mask = Replacer({})
    if secrets is not None:
        mask = secrets.mask()
        headers = [(name, mask.whole(value)) for name, value in headers]
        packed = [value for name, value in headers if name == b"content-encoding" and value.lower() != b"identity"]
        if packed:
            raise Refusal(502, "the host packed its answer although it was asked not to; it cannot be looked through")
        if mask:
            headers = _without_length(headers)
    reason = mask.whole(bytes(response.reason))
    await client.send(h11.Response(status_code=response.status_code, headers=headers, reason=reason))
    while not isinstance(event := await host.next(), h11.EndOfMessage):
        if isinstance(event, h11.ConnectionClosed):
            raise CutOff
        if isinstance(event, h11.Data) and (data := mask.feed(bytes(event.data))):
            await client.send(h11.Data(data=data))
    if rest := mask.finish():
        await client.send(h11.Data(data=rest))
    await client.send(h11.EndOfMessage())


async def _response(host: Peer, sending: asyncio.Task[None]) -> h11.Response:
    """Wait for the head of the answer, or for what keeps the request from being sent."""
    receiving = asyncio.create_task(_final_head(host, sending))
    try:
        await asyncio.wait({receiving, sending}, return_when=asyncio.FIRST_COMPLETED)
        if not receiving.done() and sending.exception() is not None:
            # A host that has had enough of the request may have answered all the same.
            with suppress(TimeoutError):
                async with asyncio.timeout(1.0):
                    await asyncio.wait({receiving})
            if not receiving.done():
                sending.result()
        return await receiving
    finally:
        await _ended(receiving)


async def _ended(task: asyncio.Task[Any]) -> None:
    """End *task*; what it failed with, if it did, is known by then or does not matter any more."""
    task.cancel()
    await asyncio.wait({task})
    if not task.cancelled():
        task.exception()


async def _final_head(host: Peer, sending: asyncio.Task[None]) -> h11.Response:
    while True:
        try:
            event = await host.next()
        except CutOff as error:
            raise Refusal(502, "what the host answered is not HTTP/1.1 as it should be") from error
        if isinstance(event, h11.Response):
            return event
        if isinstance(event, h11.ConnectionClosed):
            if sending.done() and (fault := sending.exception()) is not None:
                raise fault
            raise Refusal(502, "the host ended the connection without an answer")


def _end_to_end(headers: Iterable[tuple[bytes, bytes]]) -> Headers:
    """Return the headers that are for the other end."""
    given = list(headers)
    named = {
        word.strip().lower() for name, value in given if name.lower() == b"connection" for word in value.split(b",")
    }
    dropped = _BETWEEN_NEIGHBOURS | (named - {_LENGTH})
    return [(name.lower(), value) for name, value in given if name.lower() not in dropped]


def _without_length(headers: Headers) -> Headers:
    return [(name, value) for name, value in headers if name != _LENGTH]
