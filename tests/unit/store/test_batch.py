"""Who may write what: the decision behind every group commit."""

from __future__ import annotations

from dataclasses import replace

from agents.errors import Fenced, LogConflict, NotFound
from agents.sessions.log import Lease
from agents.store.batch import Change, Head, Holder, Kind, Stored, decide

LEASE = Lease(1, "one", 4)
HOLDERS = {1: Holder("one", 4)}
HEADS = {"s": Head(1, 7, "d", "before")}
APPEND = Change(Kind.APPEND, LEASE, "s", 1, "now", expected_seq=7)
CREATE = Change(Kind.CREATE, LEASE, "new", 1, "now")
DELETE = Change(Kind.DELETE, LEASE, "s", 1, "now")


def verdict(change: Change, holders: dict[int, Holder] = HOLDERS) -> type:
    (refusal,), accepted = decide([change], Stored(holders, HEADS, {}))
    assert accepted == ([change] if refusal is None else [])
    return type(refusal)


def test_the_holder_of_the_partition_writes_at_the_stored_position() -> None:
    assert [verdict(change) for change in (APPEND, CREATE, DELETE)] == [type(None)] * 3


def test_everybody_else_is_fenced_whatever_they_want() -> None:
    others = [{}, {1: Holder(None, 4)}, {1: Holder("two", 4)}, {1: Holder("one", 5)}, {1: Holder("one", 3)}]
    for holders in others:
        assert [verdict(change, holders) for change in (APPEND, CREATE, DELETE)] == [Fenced] * 3


def test_a_session_of_another_partition_than_the_lease_is_fenced() -> None:
    assert verdict(replace(APPEND, partition=2)) is Fenced
    other = replace(LEASE, partition=2)
    changes = [replace(change, lease=other, partition=2) for change in (APPEND, DELETE)]
    assert [verdict(change, {2: Holder("one", 4)}) for change in changes] == [Fenced] * 2


def test_a_position_that_is_not_the_stored_one_conflicts() -> None:
    assert [verdict(replace(APPEND, expected_seq=seq)) for seq in (6, 8)] == [LogConflict] * 2


def test_only_a_stored_session_is_appended_to_or_deleted_and_only_a_new_one_created() -> None:
    assert verdict(replace(APPEND, session_id="x")) is NotFound
    assert verdict(replace(DELETE, session_id="x")) is NotFound
    assert verdict(replace(CREATE, session_id="s")) is LogConflict


def test_one_refusal_leaves_the_others_of_its_batch_alone() -> None:
    bad = replace(APPEND, session_id="x")
    refusals, accepted = decide([CREATE, bad, APPEND], Stored(HOLDERS, HEADS, {}))
    assert [type(refusal) for refusal in refusals] == [type(None), NotFound, type(None)]
    assert accepted == [CREATE, APPEND]


def test_what_went_through_before_is_known_by_its_stamp_also_after_the_lease_is_lost() -> None:
    after = Stored({}, {"s": Head(1, 9, "d", "now"), "new": Head(1, 0, "d", "now")}, {"s2": "now"})
    changes = [APPEND, CREATE, replace(DELETE, session_id="s2")]
    assert [after.has(change) for change in changes] == [True, True, True]
    assert decide(changes, after) == ([None, None, None], [])


def test_a_stamp_of_another_change_says_nothing() -> None:
    before = Stored(HOLDERS, HEADS | {"new": Head(1, 0, "d", None)}, {"s2": "before", "s3": None})
    changes = [
        replace(APPEND, expected_seq=6),
        CREATE,
        replace(DELETE, session_id="s2"),
        replace(DELETE, session_id="s3"),
    ]
    assert not any(before.has(change) for change in changes)
    refusals, _ = decide(changes, before)
    assert [type(refusal) for refusal in refusals] == [LogConflict, LogConflict, NotFound, NotFound]
