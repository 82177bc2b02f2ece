"""Marks in the store of checkpoints that say which sessions were deleted.

A host that is down when a session is deleted still has the session's files when it comes back, and may even
store another checkpoint; nobody tells it again. So whoever deletes a session's files leaves a mark, and every
host looks for marks when it starts and now and then. Invariant: the mark is there before anything is removed.
"""

from __future__ import annotations

import time

from agents.hands.checkpoint_store import CheckpointStore

_FOLDER = ".deleted"  # not a name that a session can have
_DAY_SECONDS = 24 * 3600
_KEPT_DAYS = 7
"""A host that was away for longer keeps what it has."""


def delete_session(store: CheckpointStore, session_id: str, *, had_files: bool) -> None:
    """Delete a session's checkpoints, with a mark if there were any or *had_files*. Raises StoreUnavailable."""
    if had_files or store.sizes(session_id):
        with store.writing(_FOLDER, f"{session_id}.{_today()}") as sink:
            sink.write(b"deleted")
    store.remove_folder(session_id)


def deleted_sessions(store: CheckpointStore) -> set[str]:
    """Return the sessions that were deleted lately, and forget older marks. Raises StoreUnavailable."""
    marks = store.sizes(_FOLDER)
    store.remove(_FOLDER, [mark for mark in marks if _day_of(mark) < _today() - _KEPT_DAYS])
    return {mark.rpartition(".")[0] for mark in marks}


def _today() -> int:
    return int(time.time() // _DAY_SECONDS)


def _day_of(mark: str) -> int:
    day = mark.rpartition(".")[2]
    return int(day) if day.isdecimal() else 0
