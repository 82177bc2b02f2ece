"""The hands of a process that is a sandbox host itself: a monolith's replica.

New calls stay in the process. The other hosts are asked only for what was begun there, by the ledger's rules
(ADR 0009), and to forget a session: it may have left files on each that it has been on.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import Protocol

from agents.hands.port import Hands, ToolCall, ToolResult, Workspace


class HostHands(Hands, Protocol):
    """One host."""

    incarnation: str


class NearHands:
    """Implements Hands with *own* for every new call; *others* reach every host, this one among them."""

    def __init__(self, own: HostHands, others: Hands) -> None:
        self._own = own
        self._others = others

    def place(self, workspace: Workspace) -> str | None:
        """See Hands.place."""
        return self._own.place(workspace)

    async def locate(self, workspace: Workspace) -> str:
        """See Hands.locate."""
        return await self._own.locate(workspace)

    def execute(
        self, workspace: Workspace, calls: Sequence[ToolCall], *, host: str | None = None
    ) -> AsyncGenerator[ToolResult, None]:
        """See Hands.execute."""
        hands = self._own if host in (None, self._own.incarnation) else self._others
        return hands.execute(workspace, calls, host=host)

    def cancel(self, session_id: str, calls: Mapping[str, str]) -> None:
        """See Hands.cancel."""
        self._own.cancel(session_id, calls)
        if elsewhere := {call_id: host for call_id, host in calls.items() if host != self._own.incarnation}:
            self._others.cancel(session_id, elsewhere)

    async def release(self, session_id: str, *, destroy: bool) -> None:
        """See Hands.release."""
        await self._own.release(session_id, destroy=destroy)
        await self._others.release(session_id, destroy=destroy)
