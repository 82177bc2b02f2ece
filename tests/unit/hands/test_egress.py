"""The way out of a real sandbox: what an environment's networking lets through, and how."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from agents.net.guard import Guard
from tests.unit.hands.conftest import Hands
from tests.unit.hands.egress_site import UNRESTRICTED, Site, ask, host_with, limited, names


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    site = Site()
    await site.start()
    yield site
    await site.stop()


@pytest.fixture
async def hands(place: Path) -> AsyncIterator[Hands]:
    hands = await host_with(place)
    yield hands
    await hands.host.stop()


async def test_an_allowed_host_is_reached_and_others_are_refused_by_name(hands: Hands, site: Site) -> None:
    hands.environment = limited("good.test")
    assert await hands.out(f"curl -s http://good.test:{site.port}/a?b=c") == "hello"
    head = site.requests[0].decode()
    assert head.startswith(f"GET /a?b=c HTTP/1.1\r\nhost: good.test:{site.port}\r\n")
    assert "proxy" not in head.lower()
    refused = await hands.out(f"curl -sw '%{{http_code}}' http://other.test:{site.port}/")
    assert refused == "other.test is not among the hosts that this environment's networking allows\n403"
    stats = hands.host.stats()
    assert (stats.egress_allowed, stats.egress_refused, len(site.requests)) == (1, 1, 1)
    assert stats.egress_bytes > 100


async def test_a_wildcard_is_for_what_is_below_it(hands: Hands, site: Site) -> None:
    hands.environment = limited("*.good.test", f"port.test:{site.port}", "far.test:1")
    urls = ["a.good.test", "a.b.good.test", "GOOD.test", "xgood.test", "port.test", "far.test"]
    out = await hands.out(
        "\n".join(f"curl -so /dev/null -w '%{{http_code}} ' http://{name}:{site.port}/" for name in urls)
    )
    assert out.split() == ["200", "200", "403", "403", "200", "403"]


async def test_networking_that_changes_holds_at_once_and_the_shell_stays(hands: Hands, site: Site) -> None:
    command = f"curl -s http://good.test:{site.port}/"
    refused = await hands.out(f"kept=1; {command}")
    assert refused == "good.test cannot be reached: this environment has no network"
    assert site.connections == 0
    hands.environment = UNRESTRICTED
    assert await hands.out(f"{command}; echo $kept") == "hello1"
    hands.environment = limited()
    assert "no network" in await hands.out(command)


async def test_unrestricted_reaches_public_hosts_and_no_private_ones(place: Path, site: Site) -> None:
    hands = await host_with(place, guard=Guard(resolver=names))
    hands.environment = UNRESTRICTED
    try:
        asked = (
            "good.test",
            "127.0.0.1",
            "localhost",
            "169.254.169.254",
            "[::1]",
            "private.test",
            "0.0.0.0",
            "10.0.0.1",
        )
        out = await hands.out("\n".join(f"curl -sg --noproxy '' http://{host}:{site.port}/" for host in asked))
        assert out.count("is in a network that this server does not connect to") == len(asked), out
        assert site.connections == 0
        assert hands.host.stats().egress_refused == len(asked)
    finally:
        await hands.host.stop()


async def test_package_managers_and_mcp_servers_are_reached_where_that_is_allowed(place: Path, site: Site) -> None:
    hands = await host_with(place, registries=["index.test"])
    command = f"curl -s -w '%{{http_code}} ' -o /dev/null http://index.test:{site.port}/ -o /dev/null http://tools.test:{site.port}/"
    codes: list[str] = []
    try:
        for networking in ({}, {"allow_package_managers": True}, {"allow_mcp_servers": True}):
            hands.environment = limited("x.test", **networking)
            hands.mcp_urls = (f"http://tools.test:{site.port}/mcp", "hand://crm")
            codes.append(await hands.out(command))
    finally:
        await hands.host.stop()
    assert [code.split() for code in codes] == [["403", "403"], ["200", "403"], ["403", "200"]]


async def test_bodies_go_up_and_down_in_pieces(hands: Hands, site: Site) -> None:
    hands.environment = limited("good.test")
    site.answer, site.echoes = b"HTTP/1.1 200 OK\r\n\r\n", True
    url = f"http://good.test:{site.port}/"
    out = await hands.out(
        f"head -c 300000 /dev/zero | tr '\\0' x > f; curl -s -H 'Expect: 100-continue' --data-binary @f {url} | wc -c;"
        f"curl -s -H 'Transfer-Encoding: chunked' --data-binary @f {url} | tr -cd x | wc -c"
    )
    sizes = [int(word) for word in out.split()]
    assert sizes[0] > 300_000 and sizes[1] >= 300_000
    assert b"expect" not in site.requests[0].lower()


async def test_an_answer_that_breaks_off_is_not_taken_for_a_whole_one(hands: Hands, site: Site) -> None:
    hands.environment = limited("good.test")
    site.answer = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhello"
    out = await hands.out(f"curl -s http://good.test:{site.port}/; echo $?")
    assert out.splitlines()[-1].removeprefix("hello") != "0"
    site.answer = b"nonsense\r\n\r\n"
    assert "502" in await hands.out(f"curl -sw '%{{http_code}}' http://good.test:{site.port}/")
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    assert "502" in await hands.out(f"curl -sw '%{{http_code}}' http://good.test:{port}/")


async def test_a_sandbox_has_so_many_connections_and_bytes(place: Path, site: Site) -> None:
    hands = await host_with(place, max_connections=2, max_bytes=4096)
    hands.environment = limited("good.test")
    try:
        out = await hands.python("""
import socket
held = [socket.create_connection(("127.0.0.1", 3128)) for _ in range(2)]
with socket.create_connection(("127.0.0.1", 3128)) as third:
    print(third.recv(100).split(b"\\r\\n")[0].decode())
""")
        assert out == "HTTP/1.1 503 Too many connections"
        site.answer = b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n" + b"x" * 100_000
        assert int(await hands.out(f"curl -s http://good.test:{site.port}/ | wc -c")) < 4096
    finally:
        await hands.host.stop()


async def test_an_idle_connection_is_ended(place: Path) -> None:
    hands = await host_with(place, idle_seconds=0.05)
    try:
        assert await ask(hands, "GET http://good.test/ HT") in ([""], ["<ConnectionResetError>"])
    finally:
        await hands.host.stop()


async def test_the_way_out_is_there_again_after_the_sandbox_was_put_away(hands: Hands, site: Site) -> None:
    hands.environment = limited("good.test")
    command = f"curl -s http://good.test:{site.port}/"
    assert await hands.out(command) == "hello"
    await hands.host.release("sesn_a", destroy=False)
    assert (await hands.out(command)).endswith("hello")
