"""How often a turn may be taken up again without getting any further.

A turn that is read back from the log goes on where the log ends. One that brings its owner down each time
(it takes all the memory, it meets a fault of ours) would do so for ever, owner after owner, and to everybody
else whom they serve. So taking a turn up is an attempt. Nothing has to be written to count it: a new owner has a
new epoch, and the row of the session, or of the thread, says under which epoch it last got on; the difference is
how often it was taken up since, also by owners that died before they could say anything. Whatever is logged is getting
on, but for what only says that something is still under way.

From the second attempt at one place on there is a pause of random length, which lets the neighbours get on
with theirs; after the last one the turn ends, and the session says so and takes new input.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

from agents.sessions.events import Event, EventType
from agents.sessions.log import Lease
from agents.sessions.thread_state import ThreadState

_FIRST_PAUSE_SECONDS = 0.1
_LONGEST_PAUSE_SECONDS = 60.0


def gets_on(event: Event) -> bool:
    """Whether a turn that logs *event* gets on."""
    return event.type is not EventType.OUTCOME_EVALUATION_ONGOING


def place_of(log: Sequence[Event], thread: str | None) -> int:
    """Return the position in the log at which the turn of *thread* got on last, wherever others have got."""
    own = (event for event in reversed(log) if event.thread == thread and gets_on(event))
    return next((event.seq for event in own if event.seq is not None), 0)


def attempts(thread: ThreadState, lease: Lease, crashes: int) -> int:
    """Return how often the turn was taken up where it stands, this time included.

    *crashes* is how often its turns died of a fault, there and under this lease. Another thread that gets on, or does
    not, changes neither.
    """
    epoch = thread.record.epoch if thread.row is None else thread.row.epoch
    return crashes + (0 if epoch is None else lease.epoch - epoch)


def pause_before(attempt: int) -> float:
    """Return how long to wait, in seconds, before an attempt does anything."""
    if attempt < 2:
        return 0.0
    mean = min(_FIRST_PAUSE_SECONDS * 2.0 ** (attempt - 2), _LONGEST_PAUSE_SECONDS)
    return mean * random.uniform(0.5, 1.5)  # noqa: S311 - spreads sessions, guards nothing
