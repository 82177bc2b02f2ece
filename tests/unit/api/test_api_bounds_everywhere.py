"""What holds for every operation: its body and its rate are bounded, and its answers tell browsers what not to do.

Bug class this catches: a route that is mounted past the edge, a body that is read past its bound, an answer that is not
written through the edge.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

import httpx
from api_fakes import Server, refusal
from sse import Frames
from test_api_scopes import operations

from agents.api.auth import OPEN_PATHS
from agents.api.routes import Operation

MOST = 1024
MakeServer = Callable[..., Awaitable[Server]]
CACHES = {"no-store", "no-cache, no-transform"}


async def asked(server: Server, operation: Operation, content: bytes | AsyncIterator[bytes] = b"") -> httpx.Response:
    """Ask for an operation, on objects that are not there, and look at what its answer tells browsers."""
    names = [part.partition("}")[0] for part in operation.path.split("{")[1:]]
    path = operation.path.format_map(dict.fromkeys(names, "absent"))
    answer = await server.client.request(operation.method, path, content=content)
    check_headers(answer.headers, operation.name)
    return answer


def check_headers(headers: Mapping[str, str], name: str) -> None:
    assert headers["request-id"], name
    assert headers["x-content-type-options"] == "nosniff", name
    assert headers["cache-control"] in CACHES, name
    assert headers["referrer-policy"] == "no-referrer", name
    assert headers["x-frame-options"] == "DENY", name
    assert "frame-ancestors 'none'" in headers["content-security-policy"], name


async def test_a_body_that_says_it_is_too_large_is_413_on_every_operation(make_server: MakeServer) -> None:
    server = await make_server(gateway={"max_body_bytes": MOST})
    every = operations(server)
    for operation in every:
        if operation.streams_in:
            continue  # has a bound of its own: test_api_files
        refusal(await asked(server, operation, b"x" * (MOST + 1)), 413, "request_too_large")
    assert len(every) > 80


async def test_no_operation_reads_more_of_a_body_than_it_may(make_server: MakeServer) -> None:
    """A body that does not say how long it is: refused as soon as it is too long, or not looked at."""
    server, refused = await make_server(gateway={"max_body_bytes": MOST}), set[str]()
    for operation in operations(server):
        taken = 0

        async def endless() -> AsyncIterator[bytes]:
            nonlocal taken
            while True:
                taken += 1
                yield b" " * 512

        answer = await asked(server, operation, endless())
        assert taken <= 3, operation.name
        if taken == 3:
            refusal(answer, 413, "request_too_large")
            refused.add(operation.name)
    assert {"createAgent", "createSession", "createMessage", "createApiKey"} <= refused


async def test_one_request_too_many_is_429_on_every_operation_but_the_open_ones(make_server: MakeServer) -> None:
    server = await make_server(gateway={"requests_per_minute": 1, "reads_per_minute": 1})
    every = operations(server)
    for method in ("GET", "POST", "DELETE"):
        await server.client.request(method, "/v1/agents")
    for operation in every:
        answer = await asked(server, operation)
        if operation.path in OPEN_PATHS:
            assert answer.status_code == 200, operation.name
            continue
        refusal(answer, 429, "rate_limit_error")
        assert int(answer.headers["retry-after"]) >= 1, operation.name
        assert answer.headers["anthropic-ratelimit-requests-remaining"] == "0", operation.name
    assert len(every) > 80


async def test_a_stream_and_a_fault_of_ours_tell_browsers_the_same(server: Server) -> None:
    session = await server.session()
    async with Frames(server, f"/v1/sessions/{session['id']}/events/stream") as frames:
        check_headers(frames.headers, "stream")

    async def fails(*given: object) -> None:
        raise RuntimeError("secret")

    server.host.archive = fails  # pyright: ignore[reportAttributeAccessIssue]
    answer = await server.client.post(f"/v1/sessions/{session['id']}/archive")
    refusal(answer, 500, "api_error")
    check_headers(answer.headers, "fault")
