"""Reading one page: redirects, sizes and packings bounded, every hop within the guard and the agent's domain lists."""

from __future__ import annotations

import zlib
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from agents.net.guard import MAX_URL_CHARS, Guard, NetworkRefused, parse_url
from agents.web.domains import permitted
from agents.web.failures import WebFailure

if TYPE_CHECKING:
    import httpx2

MAX_REDIRECTS = 10
_ACCEPT = "text/html,application/xhtml+xml,text/*,application/json,application/pdf,image/*;q=0.9,*/*;q=0.5"
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_PACKINGS = {"gzip": 16 + zlib.MAX_WBITS, "x-gzip": 16 + zlib.MAX_WBITS, "deflate": zlib.MAX_WBITS}


@dataclass(frozen=True, slots=True)
class Page:
    """What came from ``url``, after redirects; ``cut`` when there was more than may be read."""

    url: str
    content_type: str
    data: bytes
    cut: bool


class Fetcher:
    """Reads pages through one guarded client."""

    def __init__(self, guard: Guard, *, user_agent: str, max_bytes: int, connections: int) -> None:
        import httpx2

        from agents.net.client import guarded_client

        self._guard = guard
        self._max_bytes = max_bytes
        self._client = guarded_client(
            guard,
            headers={"User-Agent": user_agent, "Accept": _ACCEPT, "Accept-Encoding": "gzip, deflate"},
            limits=httpx2.Limits(max_connections=connections, max_keepalive_connections=connections),
        )

    async def close(self) -> None:
        """Close the client's connections."""
        await self._client.aclose()

    def check(self, url: str, config: Mapping[str, Any]) -> None:
        """Raise WebFailure for an URL that is not allowed here, as far as it can be told without connecting."""
        if len(url) > MAX_URL_CHARS:
            raise WebFailure("url_too_long", f"the URL is longer than {MAX_URL_CHARS} characters")
        try:
            place = parse_url(url)
            if not permitted(config, place.host):
                raise WebFailure("url_not_allowed", f"this agent's domain lists do not allow {place.host}")
            self._guard.check_url(url)
        except NetworkRefused as refused:
            raise WebFailure("url_not_allowed", refused.message) from refused

    async def read(self, url: str, config: Mapping[str, Any], *, max_bytes: int | None = None) -> Page:
        """Read *url*, following redirects. The caller bounds the time. Raises WebFailure."""
        import httpx2

        for _ in range(MAX_REDIRECTS + 1):
            self.check(url, config)
            try:
                # A page is nobody's: what one site sets as a cookie, no later call brings back.
                self._client.cookies.clear()
                async with self._client.stream("GET", url) as answer:
                    if answer.status_code not in _REDIRECTS or "location" not in answer.headers:
                        return await self._page(answer, max_bytes or self._max_bytes)
                    url = str(answer.url.join(answer.headers["location"]))
            except httpx2.HTTPError as error:
                raise _failure(error) from error
            except httpx2.InvalidURL as error:
                raise WebFailure("url_not_accessible", "it redirects to what is no URL") from error
        raise WebFailure("url_not_accessible", f"it redirects more than {MAX_REDIRECTS} times")

    async def _page(self, answer: httpx2.Response, limit: int) -> Page:
        if answer.status_code >= 300:
            words = f"the server answered {answer.status_code} {answer.reason_phrase}".strip()
            raise WebFailure("too_many_requests" if answer.status_code == 429 else "url_not_accessible", words)
        data = bytearray()
        async for piece in _unpacked(answer, limit):
            data += piece
            if len(data) > limit:
                break
        return Page(
            str(answer.url.copy_with(fragment=None)),
            answer.headers.get("content-type", ""),
            bytes(data[:limit]),
            cut=len(data) > limit,
        )


async def _unpacked(answer: httpx2.Response, limit: int) -> AsyncIterator[bytes]:
    """Yield the body without its packing. No piece is larger than *limit* and a byte, however well it was packed."""
    packing = answer.headers.get("content-encoding", "identity").strip().lower()
    if packing in ("", "identity"):
        async for piece in answer.aiter_raw():
            yield piece
        return
    if packing not in _PACKINGS:
        raise WebFailure("unsupported_content_type", f"it is packed as {packing[:40]!r}, which was not asked for")
    unpacker = zlib.decompressobj(_PACKINGS[packing])
    first = True
    async for piece in answer.aiter_raw():
        try:
            data = unpacker.decompress(piece, limit + 1)
        except zlib.error as error:
            if packing != "deflate" or not first:
                raise WebFailure("url_not_accessible", f"its {packing} packing is damaged") from error
            # Some servers mean by deflate the bare stream, without zlib's frame.
            unpacker = zlib.decompressobj(-zlib.MAX_WBITS)
            try:
                data = unpacker.decompress(piece, limit + 1)
            except zlib.error:
                raise WebFailure("url_not_accessible", "its deflate packing is damaged") from error
        first = False
        yield data
        if unpacker.unconsumed_tail or unpacker.eof:
            return


def _failure(error: httpx2.HTTPError) -> WebFailure:
    """Say what a failed request means; addresses that the name has are not told."""
    import httpx2

    if isinstance(error.__cause__, NetworkRefused):
        return WebFailure("url_not_allowed", error.__cause__.message)
    if isinstance(error, httpx2.TimeoutException):
        return WebFailure("url_not_accessible", "the server did not answer in time")
    if isinstance(error, httpx2.ConnectError):
        return WebFailure("url_not_accessible", "the server cannot be connected")
    return WebFailure("url_not_accessible", f"the connection failed ({type(error).__name__})")
