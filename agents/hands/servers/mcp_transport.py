"""HTTP as the MCP client's SDK can live with: what goes wrong with one request is that request's own error.

The SDK ends a whole connection, with every call on it, when one request can not be sent; and of an HTTP status it
keeps only that there was an error. Here a failed POST is answered with a JSON-RPC error instead, which says what is
known of the request: could it have been run? Credentials are put on here, on nothing but requests to the server's own
origin (law 8), and answers are bounded.
"""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Callable, Mapping
from enum import StrEnum
from typing import Any

import httpx2
import orjson
from pydantic import SecretStr

_MARK = f"hecaton-{secrets.token_hex(8)}"
"""Tells the errors that are made here from those of a server, which could not know this key."""
_SESSION_HEADER = "mcp-session-id"
_CODE = -32_099
_NOT_SENT = (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout, httpx2.UnsupportedProtocol)


class Trouble(StrEnum):
    """What became of a request that has no answer."""

    UNREACHABLE = "unreachable"
    """It was not sent."""
    REFUSED = "refused"
    """The server wants other credentials, and has not run it."""
    BUSY = "busy"
    """The server takes no more requests just now, and has not run it."""
    FORGOTTEN = "forgotten"
    """The server does not know this connection any more, and has not run it."""
    REJECTED = "rejected"
    """The server takes no such request, and has not run it."""
    LOST = "lost"
    """It was sent, and nobody knows whether it was run."""


def trouble_of(data: Any) -> tuple[Trouble, float | None] | None:
    """Read the data of a JSON-RPC error: what was noted here and how many seconds to wait, None for a server's own."""
    if not isinstance(data, dict) or _MARK not in data:
        return None
    kind, retry_after = data[_MARK]  # pyright: ignore[reportUnknownVariableType]
    return Trouble(kind), retry_after  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType]


class _BoundedStream(httpx2.AsyncByteStream):
    """An answer of at most so many bytes; what breaks it off is told in the one way that the SDK takes for no fault."""

    def __init__(self, inner: httpx2.AsyncByteStream, most: int | None, on_end: Callable[[], None]) -> None:
        self._inner = inner
        self._most = most
        self._on_end = on_end

    async def __aiter__(self) -> AsyncIterator[bytes]:
        size = 0
        try:
            async for part in self._inner:
                size += len(part)
                if self._most is not None and size > self._most:
                    raise httpx2.StreamError(f"the answer is larger than {self._most} bytes")
                yield part
        except httpx2.TransportError as error:
            raise httpx2.StreamError(f"the connection was lost ({type(error).__name__})") from error
        finally:
            self._on_end()

    async def aclose(self) -> None:
        await self._inner.aclose()


class McpTransport(httpx2.AsyncBaseTransport):
    """The way to one MCP server, on top of a guarded transport."""

    def __init__(self, inner: httpx2.AsyncBaseTransport, url: str, *, max_bytes: int) -> None:
        self._inner = inner
        self._origin = _origin(httpx2.URL(url))
        self._max_bytes = max_bytes
        self.credentials: Mapping[str, SecretStr] = {}
        """Headers that authenticate; may be exchanged at any time."""
        self.last_status: int | None = None
        """HTTP status of the last answer; None when there was none."""
        self.last_trouble: tuple[Trouble, str] | None = None
        """What became of the last request, if it has failed."""
        self.on_broken: Callable[[], None] = lambda: None
        """Called when an event stream that everything depends on has ended, or one of its requests has failed."""

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send one request; a POST always comes to an answer."""
        if _origin(request.url) == self._origin:
            request.headers["accept-encoding"] = "identity"
            for name, value in self.credentials.items():
                request.headers[name] = value.get_secret_value()
        self.last_status = None
        try:
            response = await self._inner.handle_async_request(request)
        except httpx2.TransportError as error:
            trouble = Trouble.UNREACHABLE if isinstance(error, _NOT_SENT) else Trouble.LOST
            words = str(error) or type(error).__name__
            return self._failed(request, trouble, words, error)
        self.last_status = response.status_code
        if response.headers.get("content-encoding", "identity") != "identity":
            # It was not asked for, and what little bytes unpack to nobody can bound.
            await response.aclose()
            return self._failed(request, Trouble.LOST, "its answer is compressed", None)
        stream = response.stream
        assert isinstance(stream, httpx2.AsyncByteStream)
        # The stream of server's own messages goes on for as long as the connection; each message has a bound there.
        most = None if request.method == "GET" else self._max_bytes
        on_end = self.on_broken if request.method == "GET" else _nothing
        response.stream = _BoundedStream(stream, most, on_end)
        if response.status_code < 400:
            self.last_trouble = None
            return response
        return await self._of_status(request, response)

    async def _of_status(self, request: httpx2.Request, response: httpx2.Response) -> httpx2.Response:
        status = response.status_code
        if status in (401, 403):
            trouble = Trouble.REFUSED
        elif status in (429, 503):
            trouble = Trouble.BUSY
        elif status == 404 and _SESSION_HEADER in request.headers:
            trouble = Trouble.FORGOTTEN
        elif await _is_jsonrpc(response):
            return response  # the server's own words
        else:
            trouble = Trouble.LOST if status >= 500 else Trouble.REJECTED
        retry_after = _seconds(response.headers.get("retry-after"))
        await response.aclose()
        return self._failed(request, trouble, f"it answered with HTTP status {status}", None, status, retry_after)

    def _failed(
        self,
        request: httpx2.Request,
        trouble: Trouble,
        words: str,
        error: httpx2.TransportError | None,
        status: int = 500,
        retry_after: float | None = None,
    ) -> httpx2.Response:
        self.last_trouble = (trouble, words)
        self.on_broken()
        if request.method != "POST":
            if error is not None:
                raise error
            return httpx2.Response(status, request=request)
        data = {_MARK: [trouble.value, retry_after]}
        body = {"jsonrpc": "2.0", "id": None, "error": {"code": _CODE, "message": words, "data": data}}
        headers = {"content-type": "application/json"}
        return httpx2.Response(status, headers=headers, content=orjson.dumps(body), request=request)

    async def aclose(self) -> None:
        """Close every connection."""
        await self._inner.aclose()


def _nothing() -> None:
    return


def _origin(url: httpx2.URL) -> tuple[str, str, int | None]:
    return url.scheme, url.host, url.port


def _seconds(value: str | None) -> float | None:
    return float(value) if value is not None and value.isdecimal() and len(value) < 8 else None


async def _is_jsonrpc(response: httpx2.Response) -> bool:
    try:
        body: Any = orjson.loads(await response.aread())
    except (orjson.JSONDecodeError, httpx2.StreamError):
        return False
    return isinstance(body, dict) and "jsonrpc" in body
