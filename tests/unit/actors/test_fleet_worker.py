"""What a worker of a platform notes in the cluster (bug class: a note that undoes a later one)."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from actors import fleet_worker
from actors.fleet_worker import ClusterNotes
from agents.errors import Unavailable
from tests.unit.waiting import until


async def test_a_note_that_was_given_up_is_written_before_the_next_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """The cluster did not answer in time: the thread that asks it goes on all the same."""
    go, blocked, written = threading.Event(), threading.Event(), list[Any]()

    def slowly(name: str, value: Any) -> None:
        if not blocked.is_set():
            blocked.set()
            go.wait(5)
        written.append(value)

    monkeypatch.setattr(fleet_worker, "put_note", slowly)
    notes = ClusterNotes()
    with monkeypatch.context() as patience:
        patience.setattr(fleet_worker, "_NOTE_SECONDS", 0.2)
        with pytest.raises(Unavailable):
            await notes.put("session", 1)
    threading.Timer(0.05, go.set).start()
    await notes.put("session", 2)
    await until(lambda: len(written) == 2)
    assert written == [1, 2]
