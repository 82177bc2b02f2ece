"""What was seen from outside during one run: plain data, written as it happened, judged afterwards by ``checks``.

Times are seconds of the machine's clock (``time.time``), which the platform's own time stamps are on too.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

Json = dict[str, Any]


def instant(event: Json) -> float | None:
    """When an event was processed; None while it waits."""
    stamp = event.get("processed_at")
    return datetime.fromisoformat(stamp).timestamp() if stamp else None


@dataclass(slots=True)
class Connection:
    """One event stream from its opening to its end."""

    mode: str
    opened: float
    after: str | None = None
    """The event that the stream was asked to go on behind (``Last-Event-ID``)."""
    events: list[Json] = field(default_factory=list)
    """Persisted events as they were shown."""
    previews: dict[str, str] = field(default_factory=dict)
    """Previewed text by event id."""
    end: str = ""


@dataclass(slots=True)
class Visit:
    """One session as its client saw it."""

    number: int
    kind: str
    mode: str
    session_id: str = ""
    sent: list[str] = field(default_factory=list)
    """Texts of the messages that were sent; each is unique."""
    connections: list[Connection] = field(default_factory=list)
    listings: list[list[str]] = field(default_factory=list)
    """Ids of processed events, as listed along the way."""
    final: list[Json] = field(default_factory=list)
    final_again: list[Json] = field(default_factory=list)
    status: str = ""
    outcome: str = "unfinished"
    """``done``, or what kept the client from its end."""
    denied: list[str] = field(default_factory=list)
    """Event ids of calls that the client refused."""
    interrupted: bool = False
    deleted: bool = False
    outcomes: list[str] = field(default_factory=list)
    """Descriptions of the outcomes that were defined; each is unique."""
    evaluations: list[Json] = field(default_factory=list)
    """What the session says at the end of each of them."""
    store_id: str = ""
    """The memory store that only this session writes to."""
    memories: dict[str, str] = field(default_factory=dict)
    """What is in it at the end, by path."""
    versions: list[str] = field(default_factory=list)
    """The path of each version in it."""
    outputs: list[tuple[str, str]] = field(default_factory=list)
    """Name and content of each file that the session has left."""
    threads: dict[str, list[Json]] = field(default_factory=dict)
    """The history of each thread beside the primary."""


@dataclass(slots=True)
class Action:
    """One deed of the nemesis. ``until``: when it was undone (a process went on, a node came back)."""

    kind: str
    target: str
    at: float
    until: float | None = None
    pid: int | None = None
    owned: list[int] | None = None
    """Partitions of the harness that was hit, by the lease table just before."""
    moved: list[float] = field(default_factory=list)
    """How long it took until each of them was owned again, in seconds."""
    status: int | None = None
    """Exit status of an upgrade."""
    skipped: str = ""


@dataclass(frozen=True, slots=True)
class ApiError:
    """A call that failed for the application, after the SDK's own retries."""

    at: float
    began: float
    call: str
    session_id: str
    error: str


@dataclass(slots=True)
class Outage:
    """A time in which nobody answered at the server's address."""

    begin: float
    until: float


@dataclass(frozen=True, slots=True)
class Post:
    """One message that came to the webhook's endpoint."""

    message_id: str
    kind: str
    session_id: str


@dataclass(slots=True)
class Run:
    """Everything that the checks look at."""

    visits: list[Visit] = field(default_factory=list)
    actions: list[Action] = field(default_factory=list)
    effects: list[tuple[str, float]] = field(default_factory=list)
    """Effect ids in the order in which the outside world felt them, with the times."""
    errors: list[ApiError] = field(default_factory=list)
    absorbed: dict[str, int] = field(default_factory=dict)
    """What the SDK's own retries took care of, by status or error."""
    outages: list[Outage] = field(default_factory=list)
    fires: list[Json] = field(default_factory=list)
    """Runs of the deployment, as they are listed."""
    fired: list[str] = field(default_factory=list)
    """Ids of the sessions that say that they are the deployment's."""
    listed: list[str] = field(default_factory=list)
    """Ids of the sessions that are listed as the deployment's."""
    asked: int = 0
    """How often a run was asked for; whatever came of it."""
    posts: list[Post] = field(default_factory=list)
    partitions: int = 64

    def to_json(self) -> Json:
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Violation:
    """One broken promise."""

    check: str
    where: str
    what: str
