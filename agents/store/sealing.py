"""Sealing: every so often each process that writes logs brings their heads into the chain of the trail.

What it has written it knows, so nothing is looked for. What a process that died had not sealed yet, its successors find
by a look at all sessions, once after they have begun to write and then every few hours.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from datetime import timedelta
from functools import partial
from itertools import islice

from sqlalchemy import Connection, bindparam, exists, select

from agents.clock import Clock
from agents.errors import Conflict, Unavailable
from agents.governance.audit.settings import AuditSettings
from agents.ids import new_id
from agents.periodic import PeriodicTask
from agents.store.audit_pruning import prune
from agents.store.audit_writing import LEAVES, Grown, seal
from agents.store.batch import Change, Kind
from agents.store.codec import micros
from agents.store.engine import Database
from agents.store.log_chain import link_at
from agents.store.tables import audit_leaves, sessions

logger = logging.getLogger(__name__)

_AT_MOST = 20_000
"""Sessions that may wait for a seal (about 5 MB); then it is made at once."""
_LOOK_SECONDS = 6 * 3600.0
_LOOK_AT = 500
_PRUNE_SECONDS = 3600.0

_UNSEALED = (
    select(sessions.c.id, sessions.c.seq)
    .where(
        sessions.c.id > bindparam("after"),
        sessions.c.seq > 0,
        sessions.c.updated_at < bindparam("before"),
        ~exists().where(audit_leaves.c.session_id == sessions.c.id, audit_leaves.c.seq == sessions.c.seq),
    )
    .order_by(sessions.c.id)
    .limit(_LOOK_AT)
)


class Sealer:
    """What one process has logged since its last seal, and the task that seals it."""

    def __init__(self, database: Database, clock: Clock, settings: AuditSettings) -> None:
        self._database = database
        self._clock = clock
        self._settings = settings
        self._grown: dict[str, tuple[int, str]] = {}
        self._sealing = asyncio.Lock()
        self._task = PeriodicTask(
            "store-seal",
            self._seal_and_look,
            clock,
            every=settings.seal_seconds,
            failing="the audit trail waits for the database",
        )
        self._early: asyncio.Task[None] | None = None
        self._deletes = False
        self._looked: float | None = None
        self._pruned: float | None = None

    def note(self, change: Change) -> None:
        """Take note of a change that is on disk."""
        if change.kind is Kind.DELETE:
            self._grown.pop(change.session_id, None)
            self._deletes = True
        elif change.events:
            self._grown[change.session_id] = change.expected_seq + len(change.events), change.events[-1]["link"]
        self._task.start()
        if len(self._grown) >= _AT_MOST and self._early is None:
            self._early = asyncio.create_task(self._seal_early(), name="store-seal-early")

    async def seal(self) -> int:
        """Seal what has been noted; returns how many sessions. Raises Unavailable; it is then still noted."""
        async with self._sealing:
            count = 0
            while self._grown or self._deletes:
                some = dict(islice(self._grown.items(), LEAVES))
                done = await self._seal([(name, seq, head) for name, (seq, head) in some.items()])
                for name, place in some.items():
                    if self._grown.get(name) == place:
                        del self._grown[name]
                self._deletes = self._deletes and done > len(some)
                count += done
            return count

    async def close(self) -> None:
        """Stop, and seal what is left. Raises Unavailable."""
        await self._task.stop()
        if self._early is not None:
            self._early.cancel()
            await asyncio.wait([self._early])
        await self.seal()

    async def _seal(self, grown: Sequence[Grown]) -> int:
        work = partial(seal, grown=grown, at=self._clock.now(), entry_id=new_id("audt"))
        return await self._database.write(work, repeatable=True)

    async def _seal_early(self) -> None:
        try:
            await self.seal()
        except (Unavailable, Conflict) as error:
            logger.warning("the audit trail waits for the database: %s", error.message)
        finally:
            self._early = None

    async def _seal_and_look(self) -> None:
        await self.seal()
        await self._seal_missed()
        await self._prune()

    async def _seal_missed(self) -> None:
        """Seal sessions that a process which died had not."""
        if self._looked is not None and self._clock.monotonic() - self._looked < _LOOK_SECONDS:
            return
        before = self._clock.now() - timedelta(seconds=3 * self._settings.seal_seconds)
        after = ""
        while missed := await self._database.read(partial(_unsealed, after=after, before=micros(before))):
            await self._seal(missed)
            after = missed[-1][0]
        self._looked = self._clock.monotonic()

    async def _prune(self) -> None:
        days = self._settings.keep_days
        if days is None or (self._pruned is not None and self._clock.monotonic() - self._pruned < _PRUNE_SECONDS):
            return
        await prune(self._database, self._clock.now(), self._clock.now() - timedelta(days=days))
        self._pruned = self._clock.monotonic()


def _unsealed(connection: Connection, after: str, before: int) -> list[Grown]:
    rows = connection.execute(_UNSEALED, {"after": after, "before": before}).all()
    return [(name, seq, link_at(connection, name, seq)) for name, seq in rows]
