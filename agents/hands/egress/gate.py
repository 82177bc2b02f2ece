"""The gate of one sandbox: where it listens, what it lets through, and what that may take.

Invariants: nothing gets out of a sandbox but through its own gate; a gate knows one session only, and ends with the
sandbox. All gates of a host run on its event loop.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from agents.errors import Unavailable
from agents.hands.egress.connection import Connection
from agents.hands.egress.listener import PROXY_ADDRESS, listen_inside
from agents.hands.egress.peer import HEAD_BYTES, Allowance, CutOff, Patience, Refusal, Spent, Stream
from agents.hands.egress.placeholders import Placeholder
from agents.hands.egress.policy import EgressPolicy
from agents.hands.egress.settings import EgressSettings
from agents.hands.port import UnreachableHost
from agents.net.guard import Guard, NetworkRefused

if TYPE_CHECKING:
    from agents.hands.egress.authority import Authority

log = logging.getLogger(__name__)

PROXY_URL = f"http://{PROXY_ADDRESS[0]}:{PROXY_ADDRESS[1]}"
_HANDSHAKE_SECONDS = 10.0
_FRESH_SECONDS = 30.0
"""A secret that was taken from a vault goes out no longer than this."""
_LOAD_SECONDS = 20.0
_FULL = b"HTTP/1.1 503 Too many connections\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


@dataclass(slots=True)
class EgressCounts:
    """What sandboxes of one host have asked of the network since its start."""

    egress_allowed: int = 0
    egress_refused: int = 0
    egress_bytes: int = 0


class Egress:
    """What the gates of one host share."""

    def __init__(self, settings: EgressSettings, guard: Guard) -> None:
        self.settings = settings
        self.guard = guard
        self.counts = EgressCounts()

    @cached_property
    def authority(self) -> Authority:
        """Made when the first credential is there."""
        from agents.hands.egress.authority import Authority

        return Authority()

    @cached_property
    def trust(self) -> ssl.SSLContext:
        """Whom the proxy trusts where it makes TLS itself. Raises OSError when ``ca_file`` cannot be read."""
        context = ssl.create_default_context()
        context.set_alpn_protocols(["http/1.1"])
        if self.settings.ca_file is not None:
            context.load_verify_locations(self.settings.ca_file)
        return context


class Gate:
    """The only way out of one sandbox."""

    def __init__(self, egress: Egress, load: Callable[[], Awaitable[Sequence[Placeholder]]] | None = None) -> None:
        """*load* reads what the session's vaults hold; it raises Unavailable."""
        self._policy = EgressPolicy()
        self.secrets: Sequence[Placeholder] = ()
        self._egress = egress
        self._load = load
        self._loaded_at = float("-inf")
        self._allowance = Allowance(egress.settings.max_bytes)
        self._server: asyncio.Server | None = None
        self._open: dict[asyncio.Task[None], tuple[str, int] | None] = {}
        """Connections, and what each was let through to last."""

    @property
    def unreachable(self) -> tuple[UnreachableHost, ...]:
        """The hosts that credentials name and the policy does not allow."""
        return tuple(
            UnreachableHost(secret.credential.vault_id, secret.credential.credential_id, rule.text)
            for secret in self.secrets
            for rule in secret.rules or ()
            if not self.policy.covers(rule)
        )

    @property
    def policy(self) -> EgressPolicy:
        """What may be reached."""
        return self._policy

    @policy.setter
    def policy(self, policy: EgressPolicy) -> None:
        """Judge by *policy* from now on, what is open included: a tunnel would outlast the change by hours."""
        # Into a tunnel that led anywhere nobody has looked: it may be for another server than it was opened for.
        unseen = self._policy.everything and not policy.everything
        self._policy = policy
        for task, place in self._open.items():
            if place is not None and (unseen or not policy.allows(*place)):
                task.cancel()

    async def open(self, namespace: int) -> None:
        """Listen in the network behind the descriptor *namespace*; raises OSError."""
        listening = await listen_inside(namespace)
        self._server = await asyncio.start_server(self._accept, sock=listening, limit=HEAD_BYTES)

    async def renew(self) -> None:
        """Read the secrets anew unless that was done lately. Raises Unavailable, TimeoutError."""
        now = asyncio.get_running_loop().time()
        if self._load is not None and now - self._loaded_at >= _FRESH_SECONDS:
            async with asyncio.timeout(_LOAD_SECONDS):
                self.secrets = await self._load()
            self._loaded_at = now

    def close(self) -> None:
        """Let nothing through any more."""
        if self._server is not None:
            self._server.close()
        for task in self._open:
            task.cancel()

    # -- connections -----------------------------------------------------------------------------

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        if len(self._open) >= self._egress.settings.max_connections:
            writer.write(_FULL)
            writer.close()
            return
        self._open[task] = None
        used = self._allowance.used
        try:
            patience = Patience(self._egress.settings)
            await Connection(self, self.stream(reader, writer, patience), patience).serve()
        except (OSError, TimeoutError, Spent, CutOff, asyncio.CancelledError):
            # The sandbox sees it end. Nobody waits for this task; asyncio would log a cancelled one as a fault.
            writer.transport.abort()
        finally:
            del self._open[task]
            self._egress.counts.egress_bytes += self._allowance.used - used
            writer.close()

    # -- what a connection asks ------------------------------------------------------------------

    @property
    def selective(self) -> bool:
        """See WayOut."""
        return not self.policy.everything

    def check(self, host: str, port: int) -> None:
        """See WayOut."""
        if not self.policy.allows(host, port):
            self.note_refused()
            raise Refusal(403, f"{host} {self.policy.refusal}")
        task = asyncio.current_task()
        if task in self._open:
            self._open[task] = host, port
        self._egress.counts.egress_allowed += 1

    def note_refused(self) -> None:
        """See WayOut."""
        self._egress.counts.egress_refused += 1

    async def fresh_secrets_for(self, host: str, port: int) -> Sequence[Placeholder]:
        """See WayOut."""
        try:
            await self.renew()
        except (Unavailable, TimeoutError) as error:
            raise Refusal(502, "the credentials of this session cannot be read now") from error
        return self.secrets_for(host, port)

    def secrets_for(self, host: str, port: int) -> Sequence[Placeholder]:
        """See WayOut."""
        return [secret for secret in self.secrets if secret.serves(host, port)]

    async def connect(self, host: str, port: int, *, tls: bool) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """See WayOut."""
        try:
            addresses = await self._egress.guard.addresses(host, port)
        except NetworkRefused as refused:
            self.note_refused()
            raise Refusal(403, refused.message) from refused
        except (OSError, TimeoutError) as error:
            raise Refusal(502, f"the name {host} was not found") from error
        context = self._egress.trust if tls else None
        fault: Exception | None = None
        for address in addresses:
            with suppress(TimeoutError):
                try:
                    async with asyncio.timeout(self._egress.settings.connect_seconds / len(addresses)):
                        name = host if tls else None
                        return await asyncio.open_connection(address, port, ssl=context, server_hostname=name)
                except OSError as error:
                    fault = error
        why = "its certificate is not trusted" if isinstance(fault, ssl.SSLCertVerificationError) else "no answer"
        raise Refusal(502, f"{host} cannot be reached on port {port}: {why}")

    async def secure(self, stream: Stream, host: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """See WayOut."""
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader(limit=HEAD_BYTES, loop=loop)
        protocol = asyncio.StreamReaderProtocol(reader, loop=loop)
        context = self._egress.authority.context_for(host)
        transport = await loop.start_tls(
            stream.writer.transport, protocol, context, server_side=True, ssl_handshake_timeout=_HANDSHAKE_SECONDS
        )
        assert transport is not None
        protocol.connection_made(transport)
        return reader, asyncio.StreamWriter(transport, protocol, reader, loop)

    def stream(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, patience: Patience) -> Stream:
        """See WayOut."""
        return Stream(reader, writer, self._allowance, patience)
