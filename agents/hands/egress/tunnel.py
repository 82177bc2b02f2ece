"""Bytes passed through between a sandbox and a host, after a look at whom the first of them are meant for."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from agents.hands.egress.client_hello import MOST_BYTES, ClientHello, Greeting, read_hello
from agents.hands.egress.host_rules import is_named
from agents.hands.egress.peer import Refusal, Stream


async def greeting_for(host: str, stream: Stream, first: bytes) -> bytes:
    """Read a TLS greeting to its end and return it. Raises Refusal when it is none, or meant for another server.

    Behind one address there may be the servers of many; which of them answers, the greeting says.
    """
    data = first
    while (hello := read_hello(data)) is Greeting.UNFINISHED and len(data) < MOST_BYTES:
        piece = await stream.read()
        if not piece:
            return data
        data += piece
    if not isinstance(hello, ClientHello):
        raise Refusal(403, f"only TLS may go through a connection to {host}")
    if hello.server_name is not None and not is_named(hello.server_name, host):
        raise Refusal(403, f"a connection to {host} may not be used for another server")
    return data


async def pass_through(client: Stream, host: Stream, first: bytes) -> None:
    """Pass bytes in both directions until both have ended. Raises OSError, Spent."""
    if first:
        await host.write(first)
    ways = [asyncio.create_task(_pump(client, host)), asyncio.create_task(_pump(host, client))]
    try:
        await asyncio.gather(*ways)
    finally:
        for way in ways:
            way.cancel()
        await asyncio.wait(ways)


async def _pump(source: Stream, target: Stream) -> None:
    while data := await source.read():
        await target.write(data)
    with suppress(OSError):  # it may have gone altogether
        target.writer.write_eof()
