"""Keeps a process's view of the splits up to date, and judges versions that are on trial or were just promoted.

Every process that asks brains has one. They meet in the store: each adds what it counted, reads the sum, and
whoever sees a bound broken takes the version back. A split is one row, so that only one of them does.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial

from agents.brain_settings import RollbackBounds
from agents.brains.immutable import substance
from agents.brains.registry import RegisteredBrain, Registry
from agents.brains.release_records import Outcome, OutcomeRow, ReleaseRecords
from agents.brains.releases import Releases, declared_split
from agents.clock import Clock
from agents.errors import Unavailable
from agents.governance.audit.entries import AuditEntry
from agents.governance.records import LOOK_SECONDS, change_split, newest, take_back, withdrawal
from agents.governance.split import Split, StoredSplit, judged
from agents.periodic import PeriodicTask

logger = logging.getLogger(__name__)

_MOMENT_SECONDS = 5
"""Outcomes are added up over so long."""
_KEPT_SECONDS = 3600
"""The longest window that settings can ask for."""
_SLOW_PART = 0.05
"""More slow requests than this, and the 95th of 100 is one of them."""


class ReleaseKeeper:
    """The keeper of one process. Needs a running event loop."""

    def __init__(self, registry: Registry, records: ReleaseRecords, clock: Clock) -> None:
        self._registry = registry
        self.releases = Releases(registry, clock.monotonic)
        """What this process knows of the splits."""
        self._records = records
        self._clock = clock
        self._versioned = [brain for brain in registry.heads if brain.definition.versions]
        self._stored: Mapping[str, StoredSplit] = {}
        self._unsettled = list[RegisteredBrain]()
        failing = "the versions of brains are as they were known"
        self._looking = PeriodicTask("brain-releases", self.look, clock, every=LOOK_SECONDS, failing=failing)

    async def start(self) -> None:
        """Learn how the sessions are dealt out, and go on learning. Raises Unavailable."""
        await self._learn()
        if self._registry.declared:
            self._looking.start()

    async def close(self) -> None:
        """Stop, after keeping what was counted, as far as the store takes it."""
        await self._looking.finish()

    async def look(self) -> None:
        """Keep what was seen since the last time, learn of changes, judge. Raises Unavailable, Conflict."""
        await self._settle()
        await self._add_outcomes()
        await self._learn()
        for brain, why in await self._verdicts():
            await self._take_back(brain, why)

    # -- splits ----------------------------------------------------------------------------------

    async def change(self, name: str, change: Callable[[Split], Split], entry: AuditEntry | None = None) -> Split:
        """Let *change* make the next split of the brain *name*; returns it.

        An *entry* is written to the audit trail with the change, if there is one. Raises NotFound, what
        *change* raises, Conflict when others change it all the time, Unavailable.
        """
        brain = self._registry.head(name)
        declared, versions = declared_split(brain.definition), brain.definition.names
        judged_in = partial(self._judged_in, brain)
        await change_split(self._records, name, declared, versions, change, judged_in, entry)
        await self._learn()
        return self.releases.split(name)

    async def _learn(self) -> None:
        if self._versioned:
            read = await self._records.splits()
            self._stored = newest(self._stored, read)
            self.releases.learn(self._stored, self._now())

    # -- versions --------------------------------------------------------------------------------

    async def _settle(self) -> None:
        """Keep for good what those versions are that have answered."""
        self._unsettled += self.releases.take_answered()
        if self._unsettled:
            await self._records.settle({brain.id: substance(brain.definition) for brain in self._unsettled})
            self._unsettled.clear()

    # -- verdicts --------------------------------------------------------------------------------

    def _judged(self) -> Sequence[RegisteredBrain]:
        return [
            self._registry.versions(brain.name)[version]
            for brain in self._versioned
            for version in self.releases.judged(brain.name)
        ]

    def _judged_in(self, brain: RegisteredBrain, split: Split) -> Sequence[str]:
        return judged(split, brain.definition.rollback.after_promotion_seconds, self._now())

    def _now(self) -> int:
        return int(self._clock.now().timestamp())

    async def _add_outcomes(self) -> None:
        outcomes = self.releases.take_outcomes()
        if not outcomes:
            return
        moment = self._now() // _MOMENT_SECONDS * _MOMENT_SECONDS
        rows = [OutcomeRow(brain, moment, outcome) for brain, outcome in outcomes.items()]
        try:
            await self._records.add_outcomes(rows, forget_before=moment - _KEPT_SECONDS)
        except Unavailable:
            self.releases.give_back(outcomes)
            raise

    async def outcomes(self) -> Mapping[str, Outcome]:
        """Return how the versions that are judged did within the window of their brains, by id. Raises Unavailable."""
        windows = {brain.id: math.ceil(brain.definition.rollback.window_seconds) for brain in self._judged()}
        if not windows:
            return {}
        now, found = self._now(), dict.fromkeys(windows, Outcome())
        for row in await self._records.outcomes(now - max(windows.values())):
            if row.brain in windows and row.moment >= now - windows[row.brain]:
                found[row.brain] += row.outcome
        return found

    async def _verdicts(self) -> Sequence[tuple[RegisteredBrain, str]]:
        """Return the versions that broke a bound of their brain, and which."""
        outcomes = await self.outcomes()
        return [
            (brain, why)
            for brain in self._judged()
            # There may be more of them by now, of which nothing was read.
            if (why := broken_bound(brain.definition.rollback, outcomes.get(brain.id, Outcome()))) is not None
        ]

    async def _take_back(self, brain: RegisteredBrain, why: str) -> None:
        change, judging = partial(self.change, brain.name), partial(self._judged_in, brain)
        entry = withdrawal(self._clock.now(), "rollbackBrain", brain.name, brain.definition.version, why)
        split = await take_back(brain.definition.version, why, change, judging, entry)
        if split is not None:
            logger.warning("brain %s is rolled back to %s: %s", brain.id, split.current, why)


def broken_bound(bounds: RollbackBounds, outcome: Outcome) -> str | None:
    """Return which of *bounds* a version with this *outcome* broke, with the figures; None when it keeps to them."""
    requests, failed, slow = outcome.requests, outcome.failed, outcome.slow
    if requests < bounds.min_requests:
        return None
    if failed / requests > bounds.max_error_rate:
        return f"{failed} of {requests} requests failed, and {bounds.max_error_rate:.0%} may"
    if bounds.max_p95_seconds is not None and slow / requests > _SLOW_PART:
        return f"{slow} of {requests} requests took more than {bounds.max_p95_seconds:g} s, and {_SLOW_PART:.0%} may"
    return None
