"""A guarded client connects to the address that was checked, and to nothing else, whatever redirects say."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from ipaddress import ip_network

import httpx2
import pytest

from agents.net.client import guarded_client
from agents.net.guard import Guard, NetworkRefused

LOOPBACK = (ip_network("127.0.0.0/30"),)
Resolve = Callable[[str, int], Awaitable[Sequence[str]]]


@asynccontextmanager
async def server(answer: Callable[[str], str]) -> AsyncIterator[tuple[int, list[str]]]:
    """Serve on loopback; yields the port and the requests' heads."""
    heads: list[str] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        heads.append(head)
        writer.write(f"HTTP/1.1 {answer(head)}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode())
        await writer.drain()
        writer.close()

    listener = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with listener:
        yield listener.sockets[0].getsockname()[1], heads


def answering(*rounds: Sequence[str]) -> tuple[Resolve, list[str]]:
    """Return a resolver that gives the next addresses each time, and the names that it was asked for."""
    asked: list[str] = []

    async def resolve(host: str, port: int) -> Sequence[str]:
        asked.append(host)
        return rounds[min(len(asked), len(rounds)) - 1]

    return resolve, asked


async def refused(client: httpx2.AsyncClient, url: str) -> NetworkRefused:
    with pytest.raises(httpx2.ConnectError) as failure:
        await client.get(url)
    assert isinstance(failure.value.__cause__, NetworkRefused)
    return failure.value.__cause__


async def test_the_connection_goes_to_the_address_that_was_checked_under_the_name() -> None:
    resolve, asked = answering(["127.0.0.1"], ["169.254.169.254"])
    async with (
        server(lambda head: "204 No Content") as (port, heads),
        guarded_client(Guard(LOOPBACK, resolver=resolve)) as client,
    ):
        answer = await client.get(f"http://rebind.example.com:{port}/x")

    assert answer.status_code == 204
    assert asked == ["rebind.example.com"]  # a second look-up is what rebinding waits for
    assert f"Host: rebind.example.com:{port}" in heads[0]


async def test_a_name_that_turns_private_is_refused_at_the_next_connection() -> None:
    resolve, _ = answering(["127.0.0.1"], ["10.0.0.1"])
    async with (
        server(lambda head: "204 No Content") as (port, _heads),
        guarded_client(Guard(LOOPBACK, resolver=resolve)) as client,
    ):
        await client.get(f"http://rebind.example.com:{port}/")
        await refused(client, f"http://rebind.example.com:{port}/")


@pytest.mark.parametrize(
    "place",
    [
        "http://169.254.169.254/latest/meta-data/",
        "http://[::ffff:10.0.0.1]/",
        "http://2130706433/",
        "http://internal.example.com/",
        "http://user:secret@public.example.com/",
        "//127.0.0.9/",
    ],
)
async def test_a_redirect_into_the_network_is_refused(place: str) -> None:
    async def resolve(host: str, port: int) -> Sequence[str]:
        return ["10.0.0.1"] if host.startswith("internal") else ["127.0.0.1"]

    async with (
        server(lambda head: f"302 Found\r\nLocation: {place}") as (port, heads),
        guarded_client(Guard(LOOPBACK, resolver=resolve), follow_redirects=True) as client,
    ):
        await refused(client, f"http://public.example.com:{port}/")

    assert len(heads) == 1


async def test_a_redirect_to_another_scheme_is_not_followed() -> None:
    async with (
        server(lambda head: "302 Found\r\nLocation: file:///etc/passwd") as (port, _heads),
        guarded_client(Guard(LOOPBACK), follow_redirects=True) as client,
    ):
        with pytest.raises((httpx2.ConnectError, httpx2.UnsupportedProtocol, httpx2.RemoteProtocolError)):
            await client.get(f"http://127.0.0.1:{port}/")


async def test_without_the_operators_word_loopback_is_refused_before_a_connection() -> None:
    async with (
        server(lambda head: "204 No Content") as (port, heads),
        guarded_client(Guard()) as client,
    ):
        reason = await refused(client, f"http://127.0.0.1:{port}/")

    assert "--allow-private" in reason.message
    assert heads == []


async def test_the_environments_proxy_is_no_way_around(monkeypatch: pytest.MonkeyPatch) -> None:
    async with server(lambda head: "200 OK") as (port, heads):
        monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{port}")
        monkeypatch.setenv("ALL_PROXY", f"http://127.0.0.1:{port}")
        async with guarded_client(Guard(LOOPBACK)) as client:
            await refused(client, "http://10.0.0.1/")

    assert heads == []


async def test_the_next_address_is_tried_when_one_does_not_answer() -> None:
    resolve, _ = answering(["127.0.0.2", "127.0.0.1"])
    async with (
        server(lambda head: "204 No Content") as (port, _heads),
        guarded_client(Guard(LOOPBACK, resolver=resolve)) as client,
    ):
        assert (await client.get(f"http://example.com:{port}/")).status_code == 204


async def test_an_unknown_name_is_a_connect_error() -> None:
    async def unknown(host: str, port: int) -> Sequence[str]:
        raise OSError("Name or service not known")

    async with guarded_client(Guard(resolver=unknown)) as client:
        with pytest.raises(httpx2.ConnectError):
            await client.get("http://nowhere.example.com/")


async def test_a_look_up_that_hangs_is_a_connect_timeout() -> None:
    async def never(host: str, port: int) -> Sequence[str]:
        await asyncio.Event().wait()
        return []

    async with guarded_client(Guard(lookup_seconds=0.001, resolver=never)) as client:
        with pytest.raises(httpx2.ConnectTimeout):
            await client.get("http://slow.example.com/")
