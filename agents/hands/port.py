"""The port to the hands: tool calls go out together and come back as they finish.

A hand never raises for what a tool did: a failing, hanging or dead tool becomes a
:class:`ToolResult` with ``is_error`` (law 6 of the design). ``call_id`` is the tool-use event's id
and the idempotency key (law 5): a host that still lives answers a repeated id from memory.

A host is known by its *incarnation*, one process's life (see :mod:`agents.hands.incarnation`). The owner of
a session commits the incarnation that a call is meant for before it sends the call (ADR 0009).
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any, Literal, Protocol

from agents.errors import Unavailable

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

MountKind = Literal["file", "skill", "repository", "memory"]
"""``source`` of a file is the SHA-256 of its bytes in the blob store; of the others what their packages say."""


@dataclass(frozen=True, slots=True)
class Mount:
    """Something that is to be in a sandbox beside its workspace; hosts make it, and keep it true at later calls.

    ``path`` is absolute, normal and a path of the sandbox. Hosts get the bytes themselves, by ``source``: neither they
    nor a credential for them travel with a call.
    """

    kind: MountKind
    source: str
    path: str
    read_only: bool = True
    name: str = ""
    """What its kind must know beside the source."""


def _restore(made: DataclassInstance, state: Sequence[Any]) -> None:
    known = fields(made)
    for each, value in zip(known, (*state, *(each.default for each in known[len(state) :])), strict=False):
        object.__setattr__(made, each.name, value)


@dataclass(frozen=True, slots=True)
class Workspace:
    """Where a session's tools run: the sandbox is made from this on the first call.

    ``environment`` is the environment's ``config`` as the API shows it (networking, packages).
    """

    session_id: str
    environment: dict[str, Any] = field(default_factory=lambda: {"type": "cloud"})
    host: str | None = None
    """The incarnation of the sandbox host that the session's last result came from; None before the first."""
    version: int = 0
    """Version of the files that the last result stands on; a host whose files are older restores a checkpoint."""
    mcp_urls: tuple[str, ...] = ()
    """URLs of the agent's MCP servers, which ``allow_mcp_servers`` opens."""
    vault_ids: tuple[str, ...] = ()
    mounts: tuple[Mount, ...] = ()
    """What the session's resources put beside its files, in the order in which they were added."""

    def __setstate__(self, state: Sequence[Any]) -> None:
        """Take what another process has pickled: one of an earlier release has not said the newest fields."""
        _restore(self, state)


PROVISION = "provision"
"""Name of a call that makes the session's sandbox and does nothing in it: the platform's own, no tool of a model's."""


@dataclass(frozen=True, slots=True)
class ToolCall:
    """One call of a built-in tool; ``deadline`` is in seconds from its dispatch."""

    call_id: str
    name: str
    input: dict[str, Any]
    deadline: float = 150.0


@dataclass(frozen=True, slots=True)
class UnreachableHost:
    """A host that a credential of the session is for, and that its environment's networking does not let it reach."""

    vault_id: str
    credential_id: str
    host: str


@dataclass(frozen=True, slots=True)
class MountProblem:
    """Something that the session's resources put into its sandbox and that could not be had; the session goes on."""

    type: str
    """The API's name of the error."""
    message: str
    """For the session's client and its model: no secret is in it."""
    about: Mapping[str, str]
    """Further fields of this type of error."""


@dataclass(frozen=True, slots=True)
class ToolResult:
    """What a tool returned: API content blocks (text, image, document), seconds it ran."""

    call_id: str
    content: list[dict[str, Any]]
    is_error: bool = False
    seconds: float = 0.0
    host: str | None = None
    """Incarnation of the host that ran the call."""
    version: int | None = None
    """Version of the session's files after the call; None when the call changed nothing or nobody counts."""
    ambiguous: bool = False
    """Whether nobody knows if the call took effect (its host was lost in mid-call)."""
    unreachable: tuple[UnreachableHost, ...] = ()
    """What the sandbox found about the session's credentials."""
    problems: tuple[MountProblem, ...] = ()
    """What was found missing in the sandbox since the result before; told once."""

    def __setstate__(self, state: Sequence[Any]) -> None:
        """See Workspace: hosts of an earlier release have not said the newest fields."""
        _restore(self, state)

    @classmethod
    def error(cls, call_id: str, message: str) -> ToolResult:
        return cls(call_id, [{"type": "text", "text": message}], is_error=True)

    @classmethod
    def unknown(cls, call_id: str, why: str) -> ToolResult:
        """Return the result of a call of which nobody knows what it did."""
        message = (
            f"No answer came from the machine that this tool call was sent to ({why}). The call may have taken effect "
            "fully, partly or not at all: check what it did before repeating it."
        )
        return replace(cls.error(call_id, message), ambiguous=True)


class CallNotSent(Unavailable):
    """No call without a result has left this process this time: its host is gone, or could not be reached."""


class CallRefused(CallNotSent):
    """The host lives, has never seen the calls without a result, and takes no new ones."""


class HostLost(Unavailable):
    """The host is gone; whether the calls without a result took effect there, nobody can know."""


class Hands(Protocol):
    """Something that runs tool calls."""

    def place(self, workspace: Workspace) -> str | None:
        """Name the incarnation that new calls of this session should go to, without waiting; None if not known."""
        ...

    async def locate(self, workspace: Workspace) -> str:
        """Name it after waiting, within bounds, until there is one. Raises Unavailable."""
        ...

    def execute(
        self, workspace: Workspace, calls: Sequence[ToolCall], *, host: str | None = None
    ) -> AsyncGenerator[ToolResult, None]:
        """Run *calls* in parallel where the tools allow it; yields exactly one result per call, as they finish.

        They go to the incarnation *host* or nowhere; without one, to whichever there is. Closing the iterator
        early leaves them running: who asks again for the same ids gets the results (``cancel`` stops them).
        Raises CallNotSent, CallRefused or HostLost for the calls that have no result yet.
        """
        ...

    def cancel(self, session_id: str, calls: Mapping[str, str]) -> None:
        """Have these calls (id to incarnation) stopped where they run, without waiting for it.

        One that has not arrived there yet will not be run. A host that cannot be reached lets them run into
        their deadline.
        """
        ...

    async def release(self, session_id: str, *, destroy: bool) -> None:
        """End the session's sandbox if there is one; with *destroy* its files and checkpoints go too.

        Raises Unavailable when a host that may have something of it does not answer.
        """
        ...
