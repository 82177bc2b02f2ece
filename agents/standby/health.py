"""How the decoupled path does, as one harness sees it: what was lost between it, the brains and the hands.

Only losses count, a brain's replica or a sandbox host that was gone or could not be reached. What a model server
answers, and how long the line before it is, a monolith would not change.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

from agents.brains.port import BrainFailure, BrainLost, BrainPools, BrainRequest, Standing, closing
from agents.errors import Unavailable
from agents.hands.port import CallRefused, Hands, ToolCall, ToolResult, Workspace


@dataclass(frozen=True, slots=True)
class PathReport:
    """What one harness saw since it reported last."""

    requests: int = 0
    """Model requests and batches of tool calls that have ended."""
    failed: int = 0
    """Those of them that were lost."""
    lacking: tuple[str, ...] = ()
    """Ids of brains without any replica for which requests wait."""


class PathCounter:
    """Counts what ends in one process."""

    def __init__(self) -> None:
        self._requests = 0
        self._failed = 0

    def count(self, *, failed: bool) -> None:
        self._requests += 1
        self._failed += failed

    def take(self, lacking: Sequence[str] = ()) -> PathReport:
        """Return what was counted since the last time."""
        report = PathReport(self._requests, self._failed, tuple(lacking))
        self._requests = self._failed = 0
        return report

    def give_back(self, report: PathReport) -> None:
        """Count again what was taken and reached nobody."""
        self._requests += report.requests
        self._failed += report.failed


class CountedPools:
    """BrainPools whose requests are counted."""

    def __init__(self, pools: BrainPools, counter: PathCounter) -> None:
        self._pools = pools
        self._counter = counter

    def standing(self, brain: str) -> Standing:
        """See BrainPools.standing."""
        return self._pools.standing(brain)

    async def think(self, brain: str, request: BrainRequest) -> AsyncGenerator[dict[str, Any], None]:
        """See BrainPools.think."""
        try:
            async with closing(self._pools.think(brain, request)) as events:
                async for event in events:
                    yield event
        except BrainFailure as failure:
            if isinstance(failure, BrainLost):
                self._counter.count(failed=True)
            raise
        self._counter.count(failed=False)


class CountedHands:
    """Hands whose batches of calls are counted."""

    def __init__(self, hands: Hands, counter: PathCounter) -> None:
        self._hands = hands
        self._counter = counter

    def place(self, workspace: Workspace) -> str | None:
        """See Hands.place."""
        return self._hands.place(workspace)

    async def locate(self, workspace: Workspace) -> str:
        """See Hands.locate."""
        try:
            return await self._hands.locate(workspace)
        except Unavailable:
            self._counter.count(failed=True)
            raise

    async def execute(
        self, workspace: Workspace, calls: Sequence[ToolCall], *, host: str | None = None
    ) -> AsyncGenerator[ToolResult, None]:
        """See Hands.execute."""
        try:
            async with aclosing(self._hands.execute(workspace, calls, host=host)) as results:
                async for result in results:
                    yield result
        except CallRefused:
            raise  # a host that leaves says so: nothing was lost
        except Unavailable:
            self._counter.count(failed=True)
            raise
        self._counter.count(failed=False)

    def cancel(self, session_id: str, calls: Mapping[str, str]) -> None:
        """See Hands.cancel."""
        self._hands.cancel(session_id, calls)

    async def release(self, session_id: str, *, destroy: bool) -> None:
        """See Hands.release."""
        await self._hands.release(session_id, destroy=destroy)
