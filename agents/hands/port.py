"""The port to the hands: tool calls go out together and come back as they finish.

A hand never raises for what a tool did: a failing, hanging or dead tool becomes a
:class:`ToolResult` with ``is_error`` (law 6 of the design). ``call_id`` is the tool-use event's id
and the idempotency key (law 5): a host that still lives answers a repeated id from memory.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol


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


@dataclass(frozen=True, slots=True)
class ToolCall:
    """One call of a built-in tool; ``deadline`` is in seconds from its dispatch."""

    call_id: str
    name: str
    input: dict[str, Any]
    deadline: float = 150.0
    sent_to: str | None = None
    """The incarnation that an earlier life of the session's owner may have sent this very call to."""


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

    @classmethod
    def error(cls, call_id: str, message: str) -> ToolResult:
        return cls(call_id, [{"type": "text", "text": message}], is_error=True)


class Hands(Protocol):
    """Something that runs tool calls."""

    def execute(self, workspace: Workspace, calls: Sequence[ToolCall]) -> AsyncGenerator[ToolResult, None]:
        """Run *calls* in parallel where the tools allow it; yields exactly one result per call, as they finish.

        Closing the iterator early cancels what still runs.
        """
        ...

    async def release(self, session_id: str, *, destroy: bool) -> None:
        """End the session's sandbox if there is one; with *destroy* its files and checkpoints go too."""
        ...

    def place(self, workspace: Workspace) -> str | None:
        """Name the incarnation that calls of this session would go to now, without waiting; None if not known.

        The owner commits it as the intent of a call before the call goes out.
        """
        ...
