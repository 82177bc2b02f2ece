"""HTTP clients that connect only where the guard lets them (httpx2: what the mcp and anthropic SDKs use)."""

from __future__ import annotations

import ssl
import time
from collections.abc import Iterable
from functools import lru_cache
from typing import Any, cast

import httpcore2
import httpx2

from agents.net.guard import Guard, NetworkRefused

_DEFAULT_TIMEOUT = httpx2.Timeout(30.0, connect=10.0)
_SocketOption = tuple[int, int, int] | tuple[int, int, bytes | bytearray] | tuple[int, int, None, int]


class GuardedBackend(httpcore2.AsyncNetworkBackend):
    """Opens connections to addresses that the guard has checked. TLS still goes by the name: it is made above."""

    def __init__(self, guard: Guard) -> None:
        self._guard = guard
        self._sockets = cast("httpcore2.AsyncNetworkBackend", httpcore2.AnyIOBackend())

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[_SocketOption] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        """Connect to the first address of *host* that answers, within *timeout* seconds for all of them.

        Raises NetworkRefused, httpcore2.ConnectError or httpcore2.ConnectTimeout.
        """
        ends = None if timeout is None else time.monotonic() + timeout
        try:
            addresses = await self._guard.addresses(host, port)
        except TimeoutError as error:
            raise httpcore2.ConnectTimeout(f"the name {host} was not resolved in time") from error
        except OSError as error:
            raise httpcore2.ConnectError(f"the name {host} was not resolved: {error}") from error
        for left in range(len(addresses), 0, -1):
            share = None if ends is None else max(ends - time.monotonic(), 0.001) / left
            try:
                return await self._sockets.connect_tcp(
                    addresses[-left], port, share, local_address=local_address, socket_options=socket_options
                )
            except (httpcore2.ConnectError, httpcore2.ConnectTimeout):
                if left == 1:
                    raise
        raise httpcore2.ConnectError(f"{host} has no address")

    async def connect_unix_socket(
        self, path: str, timeout: float | None = None, socket_options: Iterable[_SocketOption] | None = None
    ) -> httpcore2.AsyncNetworkStream:
        """Refuse: no URL leads to a socket of this machine."""
        raise NetworkRefused("unix sockets are not connected to")

    async def sleep(self, seconds: float) -> None:
        """Wait between two tries."""
        await self._sockets.sleep(seconds)


class GuardedTransport(httpx2.AsyncHTTPTransport):
    """A transport whose every request, so every redirect too, passes the guard; proxies of the environment do not
    count, for what they connect to nobody could check."""

    def __init__(
        self, guard: Guard, *, limits: httpx2.Limits | None = None, verify: ssl.SSLContext | None = None
    ) -> None:
        limits = limits or httpx2.Limits(max_connections=100, max_keepalive_connections=20, keepalive_expiry=5.0)
        context = verify or trusted_authorities()
        super().__init__(verify=context, trust_env=False, limits=limits)
        self._guard = guard
        self._pool = httpcore2.AsyncConnectionPool(
            ssl_context=context,
            max_connections=limits.max_connections,
            max_keepalive_connections=limits.max_keepalive_connections,
            keepalive_expiry=limits.keepalive_expiry,
            network_backend=GuardedBackend(guard),
        )

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send one request. Raises httpx2.ConnectError, caused by NetworkRefused, where it may not go."""
        try:
            self._guard.check_url(str(request.url))
            return await super().handle_async_request(request)
        except NetworkRefused as refused:
            raise httpx2.ConnectError(refused.message, request=request) from refused


def guarded_client(
    guard: Guard,
    *,
    headers: dict[str, str] | None = None,
    timeout: httpx2.Timeout | None = None,
    auth: httpx2.Auth | None = None,
    limits: httpx2.Limits | None = None,
    follow_redirects: bool = False,
    max_redirects: int = 5,
    verify: ssl.SSLContext | None = None,
    **options: Any,
) -> httpx2.AsyncClient:
    """Return a client that connects to no place that *guard* refuses, whatever redirects say.

    The caller closes it. *timeout* bounds single operations (30 s, 10 s to connect), not a whole answer: who reads
    one bounds it, and its size, too. A refusal is httpx2.ConnectError with NetworkRefused as its cause.
    """
    return httpx2.AsyncClient(
        transport=GuardedTransport(guard, limits=limits, verify=verify),
        headers=headers,
        timeout=timeout or _DEFAULT_TIMEOUT,
        auth=auth,
        follow_redirects=follow_redirects,
        max_redirects=max_redirects,
        trust_env=False,
        **options,
    )


@lru_cache(maxsize=1)
def trusted_authorities() -> ssl.SSLContext:
    """Return whom TLS connections trust: certifi's list, or what ``SSL_CERT_FILE`` or ``SSL_CERT_DIR`` names.

    Reading it takes 20 ms and more: once per process, not per client.
    """
    return httpx2.create_ssl_context()
