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


@dataclass(frozen=True, slots=True)
class ToolCall:
    """One call of a built-in tool; ``deadline`` is in seconds from its dispatch."""

    call_id: str
    name: str
    input: dict[str, Any]
    deadline: float = 150.0


@dataclass(frozen=True, slots=True)
class ToolResult:
    """What a tool returned: API content blocks (text, image, document), seconds it ran."""

    call_id: str
    content: list[dict[str, Any]]
    is_error: bool = False
    seconds: float = 0.0

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
        """End the session's sandbox if there is one; with *destroy* its files go too."""
        ...
