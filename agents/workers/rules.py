"""What may become of an item of work: pure functions from a row and a moment to the next row.

Both databases and the in-memory twin apply these under the row's lock, so that the queue is the same everywhere.
A lease that has run out is over at that moment, whether or not anybody looked: the item counts as queued again,
without a heartbeat, and the token of the lost lease is dead.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from typing import Any, ClassVar

from agents.clock import rfc3339
from agents.errors import Conflict, HecatonError, InvalidRequest
from agents.ids import new_id
from agents.workers.credentials import is_one_of
from agents.workers.records import QueueStats, SessionStanding, WorkCounts, WorkItem, WorkState

NO_HEARTBEAT = "NO_HEARTBEAT"
DEFAULT_RECLAIM_SECONDS = 5.0  # spec A.3
_KEPT_TOKENS = 8
"""Tokens of an item that are told apart from forgeries, so that a worker that comes back late hears what happened."""
_LEASED = frozenset({WorkState.STARTING, WorkState.ACTIVE})
_STOPPING_SECONDS = 180.0
"""How long a worker that is asked to stop may still answer the call under way: the SDK's gives a call 150 s, and
beats no more from then on."""
_EARLY = timedelta(seconds=60)
"""A worker that gives an item up within this time, with work left, is taken to fail at it."""
_LONGEST_WAIT_SECONDS = 60.0
_TICK = timedelta(microseconds=1)


class HeartbeatRefused(HecatonError):
    """The lease is not the sender's: the item was queued again or another worker has it."""

    code = "invalid_request_error"
    http_status: ClassVar[int] = 412


@dataclass(frozen=True, slots=True)
class Beat:
    """What a heartbeat is answered with."""

    state: WorkState
    last_heartbeat: str
    lease_extended: bool
    ttl_seconds: int

    def wire(self) -> dict[str, Any]:
        return {
            "type": "work_heartbeat",
            "last_heartbeat": self.last_heartbeat,
            "lease_extended": self.lease_extended,
            "state": self.state.value,
            "ttl_seconds": self.ttl_seconds,
        }


def expired(item: WorkItem, now: datetime) -> bool:
    """Whether the worker that had the item is taken for lost."""
    held = item.state in _LEASED or item.state is WorkState.STOPPING
    return held and (item.lease_until is None or item.lease_until <= now)


def as_of(item: WorkItem, now: datetime) -> WorkItem:
    """Return the item as it stands at *now*: one whose lease ran out is back in the queue."""
    return _queued_again(item) if item.state in _LEASED and expired(item, now) else item


def _queued_again(item: WorkItem) -> WorkItem:
    return replace(
        item,
        state=WorkState.QUEUED,
        claimed_at=None,
        acknowledged_at=None,
        started_at=None,
        latest_heartbeat_at=None,
        previous_heartbeat_at=None,
        ttl_seconds=None,
        lease_until=None,
    )


def claimable(item: WorkItem, now: datetime, reclaim_seconds: float) -> bool:
    """Whether a poll may hand the item out."""
    item = as_of(item, now)
    if item.state is not WorkState.QUEUED or item.available_at > now:
        return False
    return item.claimed_at is None or item.claimed_at <= now - timedelta(seconds=reclaim_seconds)


def claimed(item: WorkItem, now: datetime, digest: str) -> WorkItem:
    """Hand the item to a worker, with a token of its own: that of any earlier claim is dead from now on."""
    tokens = (*item.tokens, digest)[-_KEPT_TOKENS:]
    return replace(_queued_again(item), claimed_at=now, tokens=tokens)


def acknowledged(item: WorkItem, now: datetime, lease_seconds: int) -> WorkItem:
    """Take the item out of the queue; asking again, as clients do whose answer was lost, changes nothing.

    Raises Conflict when another worker has it (the sender goes on polling), InvalidRequest when it is over.
    """
    item = as_of(item, now)
    if item.state is WorkState.STARTING:
        return item
    if item.state is WorkState.QUEUED and item.claimed_at is not None:
        until = now + timedelta(seconds=lease_seconds)
        return replace(
            item, state=WorkState.STARTING, acknowledged_at=now, ttl_seconds=lease_seconds, lease_until=until
        )
    if item.state is WorkState.QUEUED:
        raise Conflict(f"work {item.id} is in the queue: poll for it first")
    if item.state is WorkState.ACTIVE:
        raise Conflict(f"work {item.id} is another worker's by now")
    raise InvalidRequest(f"work {item.id} is {item.state.value}: it cannot be acknowledged")


def holds(item: WorkItem, digest: str, now: datetime) -> bool:
    """Whether the token with this digest is good for the item's session at *now*."""
    current = as_of(item, now)
    live = current.state is not WorkState.STOPPED and not expired(item, now)
    return live and _is_newest(item, digest)


def knows(item: WorkItem, digest: str) -> bool:
    """Whether the token with this digest was ever this item's, as far as is remembered."""
    return is_one_of(digest, item.tokens)


def _is_newest(item: WorkItem, digest: str) -> bool:
    return is_one_of(digest, item.tokens[-1:])


def beaten(
    item: WorkItem, now: datetime, *, expected: str | None, ttl_seconds: int, digest: str | None
) -> tuple[WorkItem, Beat]:
    """Extend the lease; *digest* is that of the sender's token, None when it shows the environment's key.

    The exact repeat of the latest heartbeat, with the token, has the first one's answer again: that was lost.
    Raises HeartbeatRefused when the lease is not the sender's: its ``last_heartbeat`` is compared as a string.
    """
    if digest is not None and not _is_newest(item, digest):
        raise _refused(as_of(item, now))
    item = as_of(item, now)
    if item.state in (WorkState.STOPPING, WorkState.STOPPED):
        return item, _beat(item, extended=False)
    last = item.latest_heartbeat_at
    # Only the newest claim has this token, so whoever shows what came before has merely not heard of the latest.
    if digest is not None and last is not None and expected == _compared(item.previous_heartbeat_at):
        item = replace(item, ttl_seconds=ttl_seconds, lease_until=now + timedelta(seconds=ttl_seconds))
        return item, _beat(item, extended=True)
    if item.state is WorkState.QUEUED or (expected is not None and expected != _compared(last)):
        raise _refused(item)
    # Strictly later than the one before, so that no two beats are the same string.
    beat = now if last is None or now > last else last + _TICK
    item = replace(
        item,
        state=WorkState.ACTIVE,
        started_at=item.started_at or beat,
        latest_heartbeat_at=beat,
        previous_heartbeat_at=last,
        ttl_seconds=ttl_seconds,
        lease_until=beat + timedelta(seconds=ttl_seconds),
    )
    return item, _beat(item, extended=True)


def _compared(heartbeat: datetime | None) -> str:
    return NO_HEARTBEAT if heartbeat is None else rfc3339(heartbeat)


def _beat(item: WorkItem, *, extended: bool) -> Beat:
    last = "" if item.latest_heartbeat_at is None else rfc3339(item.latest_heartbeat_at)
    return Beat(item.state, last, extended, item.ttl_seconds or 1)


def _refused(item: WorkItem) -> HeartbeatRefused:
    beat = _beat(item, extended=False)
    standing = {
        "state": beat.state.value,
        "ttl_seconds": beat.ttl_seconds,
        "lease_extended": False,
        "last_heartbeat": beat.last_heartbeat or None,
    }
    words = f"the lease of work {item.id} is not this worker's: expected_last_heartbeat is not the stored one"
    return HeartbeatRefused(words, error_code="heartbeat_precondition_failed", details={"current_state": standing})


def stopped(
    item: WorkItem,
    now: datetime,
    standing: SessionStanding | None,
    *,
    force: bool,
    by_worker: bool,
    digest: str | None = None,
) -> tuple[WorkItem, WorkItem | None]:
    """End the item, or ask its worker to; returns it and, when work is left that nobody would hear of, its successor.

    *standing* is the session's, None when it is no more. *by_worker*: the item's own worker gives it up. What comes
    after an operator has asked for a stop makes an item of its own; what was there before is meant to rest.
    *digest* is that of the sender's token. Raises Conflict when the item is not the sender's any more.
    """
    item = as_of(item, now)
    lost = digest is not None and (not _is_newest(item, digest) or item.state is WorkState.QUEUED)
    if lost and item.state is not WorkState.STOPPED:
        raise Conflict(f"work {item.id} is not this worker's any more")
    if item.state is WorkState.STOPPED:
        return item, None
    unheld = item.state is WorkState.QUEUED and item.claimed_at is None
    if not force and not unheld:
        if item.state is WorkState.STOPPING:
            return item, None
        until, seq = now + timedelta(seconds=_STOPPING_SECONDS), standing.seq if standing else None
        return replace(item, state=WorkState.STOPPING, stop_requested_at=now, stop_seq=seq, lease_until=until), None
    over = replace(
        item,
        state=WorkState.STOPPED,
        stopped_at=now,
        stop_requested_at=item.stop_requested_at or now,
        lease_until=None,
    )
    if standing is None or not standing.wants_worker:
        return over, None
    if item.state is WorkState.STOPPING:
        left = item.stop_seq is not None and standing.seq > item.stop_seq
        return over, _successor(item, now, failed=False) if left else None
    return over, _successor(item, now, failed=True) if by_worker and not unheld else None


def _successor(item: WorkItem, now: datetime, *, failed: bool) -> WorkItem:
    attempt = item.attempt + 1 if failed and now - item.created_at < _EARLY else 0
    wait = min(2.0 ** (attempt - 1), _LONGEST_WAIT_SECONDS) if attempt > 1 else 0.0
    return WorkItem(
        id=new_id("work"),
        environment_id=item.environment_id,
        session_id=item.session_id,
        created_at=now,
        available_at=now + timedelta(seconds=wait),
        attempt=attempt,
        metadata=item.metadata,
    )


def count_claim(counts: WorkCounts, item: WorkItem, now: datetime) -> None:
    """Count that *item*, as it stood before, is claimed."""
    lost = item.state in _LEASED
    since = item.lease_until if lost and item.lease_until else item.available_at
    counts.claims += 1
    counts.claim_seconds += max(0.0, (now - since).total_seconds())
    counts.leases_lost += lost


def figures(counts: WorkCounts, live: Mapping[str, int], now: datetime, oldest: datetime | None) -> dict[str, float]:
    """Return what metrics tell: *live* counts items by state, *oldest* is when the first that waits could be had."""
    waits = 0.0 if oldest is None else max(0.0, (now - oldest).total_seconds())
    return {
        "depth": live.get("depth", 0),
        "pending": live.get("pending", 0),
        "held": live.get("held", 0),
        "oldest_seconds": waits,
        **asdict(counts),
    }


def stats(items: Sequence[WorkItem], now: datetime, workers_polling: int) -> QueueStats:
    """Count an environment's live items."""
    queued = [item for each in items if (item := as_of(each, now)).state is WorkState.QUEUED]
    reclaim = timedelta(seconds=DEFAULT_RECLAIM_SECONDS)
    pending = [item for item in queued if item.claimed_at is not None and item.claimed_at > now - reclaim]
    oldest = min((item.created_at for item in queued), default=None)
    return QueueStats(len(queued) - len(pending), len(pending), oldest, workers_polling)
