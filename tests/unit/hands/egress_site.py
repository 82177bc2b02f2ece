"""For tests of the way out: sites on this machine under names of their own, and sandboxes that may reach them."""

from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import Sequence
from ipaddress import ip_network
from pathlib import Path
from typing import Any

from agents.config import SandboxSettings
from agents.hands.admission import Admission
from agents.hands.egress.authority import Authority
from agents.hands.egress.gate import Egress
from agents.hands.egress.settings import EgressSettings
from agents.hands.host import SandboxHost
from agents.hands.packages.settings import PackageSettings
from agents.net.guard import Guard
from agents.vaults.port import Credentials, NoCredentials
from tests.unit.hands.conftest import Hands

LOOPBACK = (ip_network("127.0.0.0/8"),)
PRIVATE = "10.1.2.3"


async def names(host: str, port: int) -> Sequence[str]:
    """Every name is this machine, but one that is in somebody's private network, and one that nobody knows."""
    del port
    if host.startswith("unknown"):
        raise OSError("no such name")
    return [PRIVATE if host.startswith("private") else "127.0.0.1"]


class Site:
    """An HTTP server that notes what it gets and answers as it is told."""

    def __init__(self) -> None:
        self.requests: list[bytes] = []
        self.answer = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
        self.echoes = False
        """Whether it answers with what it got, in a body of unknown length."""
        self.files: dict[str, bytes] = {}
        """When there are any, the answer is the file that is asked for."""
        self.connections = 0
        self.port = 0
        self._server: asyncio.Server | None = None

    async def start(self, context: ssl.SSLContext | None = None) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=context, limit=2**24)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        assert self._server is not None
        self._server.close()
        await self._server.wait_closed()

    def _file(self, head: bytes) -> bytes:
        body = self.files.get(head.split(b" ")[1].decode())
        if body is None:
            return b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"
        kind = b"text/html" if body.startswith(b"<") else b"application/octet-stream"
        return b"HTTP/1.1 200 OK\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n" % (kind, len(body)) + body

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            body = b""
            for line in head.lower().split(b"\r\n"):
                if line.startswith(b"content-length:"):
                    body = await reader.readexactly(int(line.split(b":")[1]))
                if line == b"transfer-encoding: chunked":
                    body = await reader.readuntil(b"0\r\n\r\n")
            self.requests.append(head + body)
            writer.write(self._file(head) if self.files else self.answer)
            if self.echoes:
                for piece in (head[:20], head[20:], body):
                    writer.write(piece)
                    await writer.drain()
            await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


async def host_with(
    place: Path,
    *,
    credentials: Credentials | None = None,
    guard: Guard | None = None,
    sandbox: dict[str, Any] | None = None,
    packages: PackageSettings | None = None,
    **egress: Any,
) -> Hands:
    """Start a host whose sandboxes may reach this machine where their environment lets them."""
    way_out = Egress(EgressSettings(**egress), guard or Guard(allow_private=LOOPBACK, resolver=names))
    admission = Admission(way_out, credentials or NoCredentials(), os.urandom(32))
    settings = SandboxSettings(**{"warm": 0, **(sandbox or {})})
    host = SandboxHost(settings, place / "root", admission=admission, packages=packages)
    await host.start()
    return Hands(host)


def limited(*hosts: str, **more: Any) -> dict[str, Any]:
    return {"type": "cloud", "networking": {"type": "limited", "allowed_hosts": list(hosts), **more}}


UNRESTRICTED = {"type": "cloud", "networking": {"type": "unrestricted"}}


def site_certificate(place: Path, host: str) -> tuple[ssl.SSLContext, Path]:
    """Return what a site answers TLS with as *host*, and the file of the authority to trust for it."""
    authority = Authority()
    file = place / "authority.pem"
    file.write_bytes(authority.pem)
    context = authority.context_for(host)
    context.sni_callback = None  # a site answers whatever it is called
    return context, file


_ASK = """
import socket, sys, json
for raw in json.load(open("/tmp/asked.json")):
    with socket.create_connection(("127.0.0.1", 3128), timeout=10) as s:
        s.sendall(raw.encode("latin-1"))
        if {whole}:
            s.shutdown(socket.SHUT_WR)
        got = b""
        try:
            while b"\\r\\n\\r\\n" not in got or {whole}:
                data = s.recv(65536)
                if not data:
                    break
                got += data
        except OSError as error:
            got += b"<" + type(error).__name__.encode() + b">"
        print(json.dumps(got.decode("latin-1")))
"""


async def ask(hands: Hands, *raw: str, whole: bool = False, session: str = "sesn_a") -> list[str]:
    """Send raw bytes to the proxy from inside, each on a connection of its own; return what comes back."""
    import json

    await hands.one("write", session, file_path="/tmp/asked.json", content=json.dumps(raw))
    out = await hands.python(_ASK.format(whole=whole), session)
    return [json.loads(line) for line in out.splitlines()]
