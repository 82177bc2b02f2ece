"""The port to tool servers: hands of this platform (``hand://NAME``) and MCP servers elsewhere (spec C.4).

A call has one result, whatever becomes of its server: what the tool does wrong is a result with ``is_error``, and a
failure on the way is told by the exception, which says whether the call can have taken effect (law 5, ADR 0009).
``call_id`` is the tool-use event's id and the idempotency key; MCP servers get it in ``_meta``.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from agents.errors import Unavailable

IDEMPOTENCY_KEY = "hecaton/idempotency-key"
"""The key in an MCP request's ``_meta`` that carries the call's id."""

REPEATS_BY_KEY = "hecaton/repeats-by-key"
"""The key in a tool's ``_meta`` that is true when calls with one idempotency key have one effect. Such a tool counts
as idempotent here, though MCP's hint, which speaks of repeated arguments, need not be set."""

SERVER_INTENT = "server"
"""The destination of calls that do not go to a hand: the call itself says where, and nobody there remembers it."""

Intend = Callable[[str], Awaitable[None]]
"""Awaited with a call's destination before it leaves this process: the ledger must name it first (ADR 0023)."""

Outcome = Literal["ok", "tool_error", "failed", "ambiguous", "cancelled"]
"""How a call ended: the tool answered, the tool reported an error, it was not run, nobody knows, it was called off."""


@dataclass(frozen=True, slots=True)
class ToolServer:
    """A server as an agent names it; ``url`` is http(s) for one elsewhere, ``hand://NAME[@VERSION]`` for a hand.

    Both are empty for the built-in web tools (``web_fetch``, ``web_search``), which this platform serves itself.
    """

    name: str
    url: str


@dataclass(frozen=True, slots=True)
class Caller:
    """Whose call it is: what credentials, versions, caches and bills go by."""

    session_id: str
    principal: str = ""
    vault_ids: tuple[str, ...] = ()
    versions: Mapping[str, str] = field(default_factory=lambda: {})
    """Versions of hands that the session stays with, by the hand's name."""


@dataclass(frozen=True, slots=True)
class OfferedTool:
    """One tool of a server, under the server's own name for it. The hints are MCP's, with MCP's defaults."""

    name: str
    description: str
    input_schema: dict[str, Any]
    read_only: bool = False
    idempotent: bool = False
    destructive: bool = True
    open_world: bool = True

    @property
    def repeatable(self) -> bool:
        """Whether a call may be made again when nobody knows if it took effect."""
        return self.read_only or self.idempotent


@dataclass(frozen=True, slots=True)
class Offer:
    """What a server offers a session; ``hand`` is the id (``crm@1.4``) of a hand, empty for a server elsewhere."""

    tools: Sequence[OfferedTool]
    hand: str = ""


@dataclass(frozen=True, slots=True)
class ServerCall:
    """One call; ``deadline`` is in seconds from its dispatch, queueing included. ``hand`` as in the offer."""

    call_id: str
    server: ToolServer
    tool: str
    input: dict[str, Any]
    deadline: float
    hand: str = ""
    again: bool = False
    """Whether it may have been sent before, by an owner that is no more: only where it went can it be answered."""
    intent: str = ""
    """Its destination as the ledger has it; empty where the ledger has none."""
    intend: Intend | None = field(default=None, compare=False)
    config: Mapping[str, Any] = field(default_factory=lambda: {})
    """Of a built-in web tool: its resolved entry in the agent's toolset."""
    context: Sequence[Mapping[str, Any]] = ()
    """Of a built-in web tool: the messages of the conversation, which say what URLs may be fetched. Read only."""


@dataclass(frozen=True, slots=True)
class Consumption:
    """What one call took: the base of its bill."""

    queue_seconds: float = 0.0
    run_seconds: float = 0.0
    cpu_seconds: float = 0.0
    bytes_in: int = 0
    """Bytes of its input as JSON."""
    bytes_out: int = 0
    """Bytes of its result as JSON, tables before their preview was made."""
    cached: bool = False
    repeated: bool = False
    """Whether a call of this id was there before, and not ``again``: the rest is that one's."""
    micro_usd: int = 0
    """Its price (``agents.economics.call_prices``)."""
    provider_micro_usd: int = 0
    """What of its price is the provider's."""


@dataclass(frozen=True, slots=True)
class ServerResult:
    """What a tool returned, as API content blocks (text, image, document)."""

    call_id: str
    content: list[dict[str, Any]]
    is_error: bool = False
    outcome: Outcome = "ok"
    consumption: Consumption = Consumption()

    @classmethod
    def error(
        cls, call_id: str, message: str, outcome: Outcome, consumption: Consumption = Consumption()
    ) -> ServerResult:
        return cls(call_id, [{"type": "text", "text": message}], True, outcome, consumption)


class NotIntended(Exception):
    """What ``ServerCall.intend`` may raise to its own caller: the intent was not kept, so the call must not leave."""


class ServerUnreachable(Unavailable):
    """The server can not be connected: ``mcp_connection_failed_error`` (spec E.4). No call has reached it."""


class ServerRefusedAuth(Unavailable):
    """The server wants other credentials: ``mcp_authentication_failed_error``. No call has reached it."""


class VersionMismatch(Unavailable):
    """The hand is not there in the version that the session needs; the message names both. Nothing was called."""


class ServerLost(Unavailable):
    """The connection, or the replica, was lost with the call; whether it took effect, nobody can know."""


class ToolServers(Protocol):
    """Something that lists and calls tools of servers."""

    async def offer(self, server: ToolServer, caller: Caller) -> Offer:
        """Return the tools of *server*, within bounds and from a cache where that is fresh enough.

        Raises ServerUnreachable, ServerRefusedAuth or VersionMismatch.
        """
        ...

    async def call(self, call: ServerCall, caller: Caller) -> ServerResult:
        """Run one call. Asked again for an id whose call goes on or has ended there, a hand answers from memory.

        A call that is asked for ``again`` goes to its ``intent`` and nowhere else; where that is gone, or remembers
        nothing of any call, this raises ServerLost and runs nothing. Cancelling the task that waits here leaves the
        call running (``cancel`` stops it). Raises Overloaded (with ``retry_after``; the queue is full),
        ServerUnreachable, ServerRefusedAuth, VersionMismatch, ServerLost, or what ``intend`` raises.
        """
        ...

    def cancel(self, calls: Sequence[ServerCall], caller: Caller) -> None:
        """Have these calls stopped where they run, without waiting for it."""
        ...

    async def close(self) -> None: ...


class PlacedServers(ToolServers, Protocol):
    """ToolServers whose calls the ledger can follow."""

    def destination(self, server: ToolServer, hand: str) -> str | None:
        """Say where a call of *server* (of the hand with this id) would go now; None where it would have to wait.

        With that in the commit that makes a call runnable, sending it takes no commit of its own.
        """
        ...


class NoServers:
    """The ToolServers of a platform that reaches none."""

    async def offer(self, server: ToolServer, caller: Caller) -> Offer:
        """See ToolServers.offer."""
        del caller
        raise ServerUnreachable(f"there is no way to {server.url or server.name} from here")

    async def call(self, call: ServerCall, caller: Caller) -> ServerResult:
        """See ToolServers.call."""
        del caller
        raise ServerUnreachable(f"there is no way to {call.server.url or call.tool} from here")

    def destination(self, server: ToolServer, hand: str) -> str | None:
        """See PlacedServers.destination."""
        del server, hand
        return SERVER_INTENT

    def cancel(self, calls: Sequence[ServerCall], caller: Caller) -> None:
        """See ToolServers.cancel."""

    async def close(self) -> None:
        """See ToolServers.close."""
