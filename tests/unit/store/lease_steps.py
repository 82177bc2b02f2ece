"""What the machine's processes are, and what a step of a writer may ask for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import Enum

from hypothesis import strategies as st

from agents.ids import SessionId, new_event_id
from agents.sessions.events import Event, EventType, SessionRecord
from agents.sessions.log import Lease

from .crashing import Fault, Point, Way
from .lease_model import Change, Kind
from .lease_targets import Opened, SkewedClock

TTL = 10.0
NAMES = ("one", "two")
PARTITIONS = (0, 1)
T0 = datetime(2026, 11, 21, tzinfo=UTC)


@dataclass(slots=True)
class Process:
    """One process: what it believes, which the store may long know better."""

    name: str
    clock: SkewedClock
    store: Opened
    generation: int = 0
    held: dict[int, Lease] = field(default_factory=lambda: {})
    seen: dict[str, tuple[SessionRecord, list[Event]]] = field(default_factory=lambda: {})
    """Sessions as their owner caches them: the row and what waits."""
    unknown: list[Change] = field(default_factory=lambda: [])
    """Commits whose outcome it never heard."""

    @property
    def until(self) -> int:
        return self.clock.milliseconds + int(TTL * 1000)

    def keep(self, leases: Sequence[Lease]) -> None:
        """Believe in *leases* (of a partition: the last) alone; what was cached under others is dropped."""
        held = {lease.partition: lease for lease in leases}
        same = {partition for partition, lease in held.items() if self.held.get(partition) == lease}
        self.held = held
        self.seen = {name: kept for name, kept in self.seen.items() if kept[0].partition in same}

    async def ask(self, change: Change) -> None:
        commit = change.commit
        if change.kind is Kind.CREATE:
            await self.store.log.create(commit)
        elif change.kind is Kind.APPEND:
            await self.store.log.append(commit)
        else:
            await self.store.log.delete(commit.lease, SessionId(commit.record.id))


class What(Enum):
    """What a writer asks for."""

    CREATE = "new sessions in one group"
    APPEND = "an event to some sessions in one group"
    CHAIN = "the same, and at once a second time to the first"
    ELSEWHERE = "events, or none, at a position where the log does not end"
    PAUSED = "what a paused owner writes when it wakes up"
    REPEAT = "an event whose id is stored already, beside sound changes"
    DELETE = "a deletion"
    AGAIN = "a commit whose outcome the writer never heard, once more"
    SAY = "messages to a session, by its owner's memory of it"
    WORK = "the next steps of a session, by its owner's memory of it"


@dataclass(frozen=True, slots=True)
class Write:
    """A step of a writer; numbers count modulo what there is, sessions from the newest.

    ``aftermath`` of a break: whether another process takes over before the writer hears of it, and whether the
    writer asks again.
    """

    what: What
    whose: int
    which: tuple[int, ...]
    number: int
    faults: tuple[Fault, ...] = ()
    aftermath: tuple[bool, bool] = (False, False)


any_of = st.integers(0, 7)
some_of = st.lists(any_of, min_size=1, max_size=3, unique=True).map(tuple)
partitions = st.lists(st.sampled_from(PARTITIONS), min_size=1, unique=True)
_points = st.sampled_from([*Point, Point.AFTER_COMMIT])
_fault = st.builds(Fault, _points, st.integers(0, 5), st.sampled_from([*Way, Way.LOST]))
faults = st.one_of(st.just(()), st.lists(_fault, min_size=1, max_size=3).map(tuple))
"""What the next transactions meet; half of the time nothing."""
one_write = st.builds(
    Write, st.sampled_from(What), any_of, some_of, st.integers(0, 3), faults, st.tuples(st.booleans(), st.booleans())
)
writes = st.lists(one_write, max_size=5)


def new_event(lease: Lease, type_: EventType = EventType.AGENT_MESSAGE) -> Event:
    """An event of the epoch; a message waits."""
    waits = type_ is EventType.USER_MESSAGE
    return Event(new_event_id(), type_, {"epoch": lease.epoch}, None if waits else T0)


def new_record(name: str, partition: int) -> SessionRecord:
    return SessionRecord(
        id=name,
        partition=partition,
        created_at=T0,
        updated_at=T0,
        agent={},
        agent_id="agent_1",
        agent_version=1,
        environment_id="env_1",
        environment={},
        thread_id="sthr_1",
    )
