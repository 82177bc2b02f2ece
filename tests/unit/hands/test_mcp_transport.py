"""What the MCP client's transport makes of requests that fail, and where it puts credentials (law 8)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

import httpx2
import orjson
import pytest
from pydantic import SecretStr

from agents.hands.servers.mcp_transport import McpTransport, Trouble, trouble_of

URL = "https://crm.example.com/mcp"
BODY = b'{"jsonrpc":"2.0","id":1,"method":"tools/call"}'


def client(answer: Callable[[httpx2.Request], httpx2.Response], *, max_bytes: int = 1000) -> httpx2.AsyncClient:
    transport = McpTransport(httpx2.MockTransport(answer), URL, max_bytes=max_bytes)
    transport.credentials = {"Authorization": SecretStr("Bearer s3cret")}
    return httpx2.AsyncClient(transport=transport)


async def post(answer: Callable[[httpx2.Request], httpx2.Response], **headers: str) -> tuple[Trouble, float | None]:
    async with client(answer) as http:
        response = await http.post(URL, content=BODY, headers=headers)
    told = trouble_of(orjson.loads(response.content)["error"]["data"])
    assert told is not None and response.status_code >= 400
    return told


@pytest.mark.parametrize(
    ("status", "trouble"),
    [(400, "rejected"), (401, "refused"), (403, "refused"), (404, "rejected"), (429, "busy"), (500, "lost"),
     (503, "busy"), (504, "lost")],
)  # fmt: skip
async def test_a_status_becomes_what_is_known_of_the_request(status: int, trouble: str) -> None:
    assert (await post(lambda _: httpx2.Response(status)))[0].value == trouble


async def test_a_server_that_forgot_the_connection_has_not_run_the_request() -> None:
    assert (await post(lambda _: httpx2.Response(404), **{"mcp-session-id": "1"}))[0] is Trouble.FORGOTTEN


async def test_how_long_to_wait_is_passed_on() -> None:
    assert await post(lambda _: httpx2.Response(429, headers={"retry-after": "7"})) == (Trouble.BUSY, 7.0)
    assert await post(lambda _: httpx2.Response(429, headers={"retry-after": "tomorrow"})) == (Trouble.BUSY, None)


@pytest.mark.parametrize(
    ("error", "trouble"),
    [(httpx2.ConnectError, "unreachable"), (httpx2.ConnectTimeout, "unreachable"), (httpx2.ReadError, "lost"),
     (httpx2.RemoteProtocolError, "lost"), (httpx2.WriteError, "lost")],
)  # fmt: skip
async def test_only_what_was_never_sent_is_called_unreachable(error: type[httpx2.TransportError], trouble: str) -> None:
    def broken(request: httpx2.Request) -> httpx2.Response:
        raise error("broken", request=request)

    assert (await post(broken))[0].value == trouble


async def test_a_compressed_answer_is_not_unpacked() -> None:
    def packed(request: httpx2.Request) -> httpx2.Response:
        assert request.headers["accept-encoding"] == "identity"
        return httpx2.Response(200, headers={"content-encoding": "gzip"}, stream=httpx2.ByteStream(b"bomb"))

    assert (await post(packed))[0] is Trouble.LOST


async def test_a_servers_own_error_is_left_alone() -> None:
    said = {"jsonrpc": "2.0", "id": 1, "error": {"code": -32602, "message": "no", "data": {"hecaton": ["lost", 1]}}}
    async with client(lambda _: httpx2.Response(400, json=said)) as http:
        response = await http.post(URL, content=BODY)
    assert response.json() == said and trouble_of(said["error"]["data"]) is None  # type: ignore[index]


async def test_a_get_fails_as_it_does() -> None:
    def broken(request: httpx2.Request) -> httpx2.Response:
        raise httpx2.ReadError("broken", request=request)

    async with client(broken) as http:
        with pytest.raises(httpx2.ReadError):
            await http.get(URL)
    async with client(lambda _: httpx2.Response(405)) as http:
        assert (await http.get(URL)).status_code == 405


async def test_an_answer_ends_at_its_bound_or_where_it_breaks_off_in_the_way_that_the_sdk_survives() -> None:
    class Breaking(httpx2.AsyncByteStream):
        async def __aiter__(self) -> AsyncIterator[bytes]:
            yield b"half"
            raise httpx2.ReadError("broken")

    for stream in (httpx2.ByteStream(b"x" * 1001), Breaking()):
        async with client(lambda _, stream=stream: httpx2.Response(200, stream=stream)) as http:
            with pytest.raises(httpx2.StreamError):
                await http.post(URL, content=BODY)


@pytest.mark.parametrize(
    ("url", "shown"),
    [(URL, True), ("https://crm.example.com/messages", True), ("https://crm.example.com:444/mcp", False),
     ("http://crm.example.com/mcp", False), ("https://evil.example.com/mcp", False)],
)  # fmt: skip
async def test_credentials_go_to_the_servers_own_origin_and_nowhere_else(url: str, shown: bool) -> None:
    seen: list[str | None] = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        seen.append(request.headers.get("authorization"))
        return httpx2.Response(200)

    async with client(answer) as http:
        await http.get(url)
    assert seen == ["Bearer s3cret" if shown else None]
