"""What leases and the log promise, in the plainest Python: the reference that real stores are held to.

Written from the ports (``agents.sessions.log``) and from ADR 12, not from any implementation. It knows no
transaction: whether one went through is told to it, and then the whole change happens at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import Enum

from agents.errors import Fenced, HecatonError, LogConflict, NotFound
from agents.sessions.events import SessionRecord, SessionStatus
from agents.sessions.log import Commit, Lease

Verdict = type[HecatonError] | None
"""Why a change must be refused; None when it must go through."""


class Kind(Enum):
    CREATE = "create"
    APPEND = "append"
    DELETE = "delete"


@dataclass(frozen=True, slots=True)
class Change:
    """One change of one session as its writer asks for it; of a deletion only lease and record's id count."""

    kind: Kind
    commit: Commit

    @property
    def session_id(self) -> str:
        return self.commit.record.id

    @property
    def added(self) -> list[str]:
        """Events that are not in the store before this change, and are afterwards."""
        consumed = set(self.commit.consume)
        return [event.id for event in (*self.commit.events, *self.commit.queue) if event.id not in consumed]


@dataclass(slots=True)
class Session:
    record: SessionRecord
    log: list[tuple[str, int]] = field(default_factory=lambda: [])
    """Ids of events with the epoch that wrote each."""
    queue: list[str] = field(default_factory=lambda: [])
    stamp: str = ""


@dataclass(slots=True)
class Holding:
    owner: str | None = None
    epoch: int = 0
    until: int = 0


@dataclass(frozen=True, slots=True)
class SessionPicture:
    """One session as it lies in the store: the parts of its row that every commit here changes, log, queue."""

    partition: int
    status: str
    seq: int
    queued: int
    title: str | None
    log: tuple[tuple[int, str, int], ...]
    """(position, id, epoch of its writer) in order of position."""
    queue: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Picture:
    """Everything in the store that leases and appends touch."""

    members: dict[str, tuple[int, int]]
    leases: dict[int, tuple[str | None, int, int]]
    sessions: dict[str, SessionPicture]
    deleted: dict[str, int]


class Model:
    """Members, leases, sessions, and the note of what was deleted. Times are milliseconds."""

    def __init__(self) -> None:
        self.members: dict[str, tuple[int, int]] = {}
        self.leases: dict[int, Holding] = {}
        self.sessions: dict[str, Session] = {}
        self.deleted: dict[str, int] = {}
        self.left: set[tuple[str, int]] = set()

    # -- membership and leases -------------------------------------------------------------------

    def join(self, name: str, *, until: int) -> int:
        generation = self.members.get(name, (0, 0))[0] + 1
        self.members[name] = (generation, until)
        for holding in self.leases.values():
            if holding.owner == name:
                holding.owner = None
        return generation

    def fenced(self, name: str, generation: int) -> bool:
        """Whether a later process has the name, or this one has left."""
        return self.members.get(name, (0, 0))[0] != generation or (name, generation) in self.left

    def claim(self, name: str, partitions: Iterable[int], *, now: int, until: int) -> list[Lease]:
        taken: list[Lease] = []
        for partition in sorted(set(partitions)):
            holding = self.leases.setdefault(partition, Holding())
            if holding.owner in (None, name) or holding.until <= now:
                holding.owner, holding.epoch, holding.until = name, holding.epoch + 1, until
                taken.append(Lease(partition, name, holding.epoch))
        return taken

    def renew(self, name: str, *, until: int, counts_until: int) -> list[Lease]:
        """*counts_until* is earlier for a member that is about to go: the others reckon without it."""
        self.members[name] = (self.members[name][0], counts_until)
        mine = {partition: each for partition, each in sorted(self.leases.items()) if each.owner == name}
        for holding in mine.values():
            holding.until = until
        return [Lease(partition, name, holding.epoch) for partition, holding in mine.items()]

    def release(self, name: str, partitions: Sequence[int]) -> None:
        for partition, holding in self.leases.items():
            if holding.owner == name and partition in partitions:
                holding.owner, holding.until = None, 0

    def leave(self, name: str, generation: int) -> None:
        if self.fenced(name, generation):
            return
        self.left.add((name, generation))
        self.members[name] = (generation, 0)
        self.release(name, list(self.leases))

    # -- the log ---------------------------------------------------------------------------------

    def owns(self, lease: Lease) -> bool:
        holding = self.leases.get(lease.partition)
        return holding is not None and (holding.owner, holding.epoch) == (lease.owner, lease.epoch)

    def has(self, change: Change) -> bool:
        """Whether this very change is the last that the session saw: asked for again, it is a success."""
        stored = self.sessions.get(change.session_id)
        return change.kind is not Kind.DELETE and stored is not None and stored.stamp == change.commit.stamp

    def verdict(self, change: Change) -> Verdict:
        if self.has(change):
            return None
        commit, stored = change.commit, self.sessions.get(change.session_id)
        if not self.owns(commit.lease) or commit.record.partition != commit.lease.partition:
            return Fenced
        if stored is not None and stored.record.partition != commit.lease.partition:
            return Fenced
        if change.kind is Kind.CREATE:
            return LogConflict if stored or self._known(change) else None
        if stored is None:
            return NotFound
        if change.kind is Kind.APPEND and (stored.record.seq != commit.expected_seq or self._known(change)):
            return LogConflict
        return None

    def _known(self, change: Change) -> bool:
        """Whether an id is stored already: no id may be there twice, in whatever session."""
        stored = {event_id for session in self.sessions.values() for event_id, _ in session.log}
        queued = self.sessions[change.session_id].queue if change.session_id in self.sessions else ()
        return bool(stored.intersection(event.id for event in change.commit.events)) or bool(
            set(queued).intersection(event.id for event in change.commit.queue)
        )

    def apply(self, change: Change) -> None:
        """Let a change happen. It must be one that may."""
        assert self.verdict(change) is None, f"{change} went through and must not"
        if self.has(change):
            return
        commit = change.commit
        if change.kind is Kind.DELETE:
            gone = self.sessions.pop(change.session_id)
            self.deleted[change.session_id] = gone.record.partition
            return
        session = self.sessions.setdefault(change.session_id, Session(commit.record))
        session.record, session.stamp = commit.record, commit.stamp
        session.log.extend((event.id, commit.lease.epoch) for event in commit.events)
        session.queue.extend(event.id for event in commit.queue)
        session.queue = [event_id for event_id in session.queue if event_id not in commit.consume]

    # -- what it looks like ----------------------------------------------------------------------

    def picture(self) -> Picture:
        leases = {n: (each.owner, each.epoch, each.until) for n, each in self.leases.items()}
        sessions = {name: _picture_of(session) for name, session in self.sessions.items()}
        return Picture(dict(self.members), leases, sessions, dict(self.deleted))

    def unfinished(self, partitions: Sequence[int]) -> list[str]:
        working = (SessionStatus.RUNNING, SessionStatus.RESCHEDULING)
        return sorted(
            name
            for name, session in self.sessions.items()
            if session.record.partition in partitions and (session.record.status in working or session.queue)
        )


def _picture_of(session: Session) -> SessionPicture:
    record = session.record
    log = tuple((seq, event_id, epoch) for seq, (event_id, epoch) in enumerate(session.log, 1))
    return SessionPicture(
        record.partition, record.status.value, record.seq, record.queued, record.title, log, tuple(session.queue)
    )
