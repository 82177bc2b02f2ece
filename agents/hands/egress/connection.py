"""One connection that a sandbox makes to its proxy: requests in the clear, or one ``CONNECT``.

Each request is judged by itself, also the second on one connection. The host that was judged is the host that is
connected to, that the guard looks up, that TLS is made with and that the ``Host`` header names; a request in which
two of these differ is refused.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from typing import Protocol
from urllib.parse import urlsplit

import h11

from agents.hands.egress.exchange import Wanted, exchange
from agents.hands.egress.host_rules import split_authority
from agents.hands.egress.peer import CutOff, Patience, Peer, Refusal, Stream
from agents.hands.egress.placeholders import Placeholder, Substitution
from agents.hands.egress.tunnel import greeting_for, pass_through
from agents.net.guard import NetworkRefused

_HTTP_PORT = 80
_HTTPS_PORT = 443
_ESTABLISHED = b"HTTP/1.1 200 Connection established\r\n\r\n"


class WayOut(Protocol):
    """What a connection asks the proxy."""

    @property
    def selective(self) -> bool:
        """Whether the sandbox may reach some hosts and not others."""
        ...

    def check(self, host: str, port: int) -> None:
        """Raise Refusal when the sandbox may not reach *host*; counts the attempt."""
        ...

    def note_refused(self) -> None:
        """Count an attempt that was found out later."""
        ...

    def secrets_for(self, host: str, port: int) -> Sequence[Placeholder]:
        """Return the secrets that may go to *host*, as far as they are known."""
        ...

    async def fresh_secrets_for(self, host: str, port: int) -> Sequence[Placeholder]:
        """The same, looked up anew when that was a while ago. Raises Refusal."""
        ...

    async def connect(self, host: str, port: int, *, tls: bool) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Connect to an address that the guard has checked. Raises Refusal."""
        ...

    async def secure(self, stream: Stream, host: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Answer the sandbox's TLS as *host*. Raises OSError."""
        ...

    def stream(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, patience: Patience) -> Stream: ...


class Connection:
    """Serves one connection of a sandbox to its end."""

    def __init__(self, way_out: WayOut, stream: Stream, patience: Patience) -> None:
        self._way_out = way_out
        self._patience = patience
        self._client = Peer(h11.SERVER, stream)

    async def serve(self) -> None:
        """Serve until the connection ends or its time is up. Raises TimeoutError, OSError, Spent, CutOff."""
        async with self._patience.timeout:
            await self._serve(None)

    async def _serve(self, inside: tuple[str, int] | None) -> None:
        """Serve requests; those *inside* of TLS are for one host alone."""
        while True:
            try:
                request = await self._client.next()
                if not isinstance(request, h11.Request):
                    return
                await self._answer(request, inside)
            except Refusal as refusal:
                await self._refuse(refusal)
                return
            except h11.RemoteProtocolError as error:
                await self._refuse(Refusal(error.error_status_hint or 400, "this is not HTTP/1.1 as it should be"))
                return
            except h11.LocalProtocolError:
                # What is in the message may be a secret that cannot be in a header.
                await self._refuse(Refusal(502, "the request or its answer cannot be passed on as HTTP/1.1"))
                return
            if self._client.http.our_state is not h11.DONE or self._client.http.their_state is not h11.DONE:
                return
            self._client.http.start_next_cycle()

    async def _refuse(self, refusal: Refusal) -> None:
        if self._client.http.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            await self._client.answer(refusal.status, str(refusal))

    async def _answer(self, request: h11.Request, inside: tuple[str, int] | None) -> None:
        if inside is not None:
            await self._secured(request, *inside)
        elif request.method == b"CONNECT":
            await self._connect(request)
        else:
            await self._plain(request)

    # -- in the clear ----------------------------------------------------------------------------

    async def _plain(self, request: h11.Request) -> None:
        target = request.target.decode("ascii", errors="replace")
        try:
            parts = urlsplit(target)
        except ValueError as error:
            raise Refusal(400, "the target of the request is no URL") from error
        if parts.scheme != "http" or not target.startswith("http://") or parts.fragment:
            raise Refusal(400, "this is a proxy: ask it for http://host/path, or CONNECT host:443")
        host, port = _authority(parts.netloc, _HTTP_PORT)
        _check_host_header(request, host, port, _HTTP_PORT)
        self._way_out.check(host, port)
        path = target[len("http://") + len(parts.netloc) :]
        path = path if path.startswith("/") else f"/{path}"
        wanted = Wanted(request.method, _named(host, port, _HTTP_PORT), path.encode(), list(request.headers))
        async with self._connected(host, port, tls=False) as far:
            await exchange(self._client, Peer(h11.CLIENT, far), wanted, None)

    # -- CONNECT ---------------------------------------------------------------------------------

    async def _connect(self, request: h11.Request) -> None:
        if any(name in (b"content-length", b"transfer-encoding") for name, _ in request.headers):
            raise Refusal(400, "CONNECT has no body")
        host, port = _authority(request.target.decode("ascii", errors="replace"), None)
        _check_host_header(request, host, port, _HTTPS_PORT)
        self._way_out.check(host, port)
        early = self._client.http.trailing_data[0]
        stream = self._client.stream
        if self._way_out.secrets_for(host, port):
            if early:
                raise Refusal(400, "the connection is not established yet")
            await self._intercept(stream, host, port)
            return
        async with self._connected(host, port, tls=False) as far:
            await stream.write(_ESTABLISHED)
            first = await self._greeting(host, stream, early) if self._way_out.selective else early
            await pass_through(stream, far, first)

    async def _greeting(self, host: str, stream: Stream, early: bytes) -> bytes:
        """Look at whom the tunnel is for. Raises CutOff: it stands already, and has no place for an answer."""
        try:
            return await greeting_for(host, stream, early)
        except Refusal as refusal:
            self._way_out.note_refused()
            raise CutOff from refusal

    async def _intercept(self, stream: Stream, host: str, port: int) -> None:
        """Take part in TLS in the place of *host*, for a secret is to be put in."""
        await stream.write(_ESTABLISHED)
        reader, writer = await self._way_out.secure(stream, host)
        self._client = Peer(h11.SERVER, self._way_out.stream(reader, writer, self._patience))
        try:
            await self._serve((host, port))
        finally:
            writer.close()

    async def _secured(self, request: h11.Request, host: str, port: int) -> None:
        if not request.target.startswith(b"/") and request.target != b"*":
            raise Refusal(400, "inside of a connection to a host only its paths can be asked for")
        _check_host_header(request, host, port, _HTTPS_PORT)
        self._way_out.check(host, port)
        secrets = Substitution(await self._way_out.fresh_secrets_for(host, port))
        wanted = Wanted(request.method, _named(host, port, _HTTPS_PORT), request.target, list(request.headers))
        async with self._connected(host, port, tls=True) as far:
            await exchange(self._client, Peer(h11.CLIENT, far), wanted, secrets)

    @asynccontextmanager
    async def _connected(self, host: str, port: int, *, tls: bool) -> AsyncGenerator[Stream]:
        reader, writer = await self._way_out.connect(host, port, tls=tls)
        try:
            yield self._way_out.stream(reader, writer, self._patience)
        finally:
            writer.close()


def _authority(text: str, default_port: int | None) -> tuple[str, int]:
    try:
        return split_authority(text, default_port)
    except NetworkRefused as refused:
        raise Refusal(400, refused.message) from refused


def _check_host_header(request: h11.Request, host: str, port: int, default_port: int) -> None:
    """Raise Refusal when the request names another host in its headers than the one it is for."""
    for name, value in request.headers:
        if name == b"host":
            named = _authority(value.decode("ascii", errors="replace"), default_port)
            # Of CONNECT many clients repeat the host without its port.
            if named[0] != host or (named[1] != port and request.method != b"CONNECT"):
                raise Refusal(400, f"the request is for {host}, and its Host header says otherwise")


def _named(host: str, port: int, default_port: int) -> str:
    bare = f"[{host}]" if ":" in host else host
    return bare if port == default_port else f"{bare}:{port}"
