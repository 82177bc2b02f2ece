"""What every answer tells browsers and caches."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest
from api_fakes import Server

from agents.api.secure_headers import SecureHeaders

HSTS = "strict-transport-security"


@pytest.mark.parametrize("path", ["/v1/agents", "/v1/nothing", "/-/healthz", "/metrics", "/openapi.json"])
async def test_no_answer_is_guessed_at_stored_or_framed(server: Server, path: str) -> None:
    headers = (await server.client.get(path)).headers
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["cache-control"] == "no-store"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["x-frame-options"] == "DENY" and "frame-ancestors 'none'" in headers["content-security-policy"]
    assert HSTS not in headers


async def test_tls_for_ever_is_said_only_where_it_is_set(make_server: Callable[..., Awaitable[Server]]) -> None:
    server = await make_server(gateway={"hsts_seconds": 3600})
    assert (await server.client.get("/v1/agents")).headers[HSTS] == "max-age=3600; includeSubDomains"


def test_what_an_answer_says_itself_stands() -> None:
    own = [(b"Cache-Control", b"no-cache"), (b"content-security-policy", b"default-src 'self'")]
    beside = SecureHeaders(hsts_seconds=0).beside(own)
    assert beside[:2] == own
    names = [name.lower() for name, _ in beside]
    assert len(names) == len(set(names))
