"""Bringing a directory and a memory store to one state.

Bug class this catches: a change that is lost without a word, a deletion that destroys a change, a read-only store that
is written to, a plan that does not end in one state.
"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.memory.syncing import SyncPlan, plan_sync

A: dict[str, str] = {"/a": "1"}
B: dict[str, str] = {"/a": "2"}
C: dict[str, str] = {"/a": "3"}
NONE: dict[str, str] = {}
IT = ("/a",)


@pytest.mark.parametrize(
    ("last", "local", "stored", "wanted"),
    [
        (A, A, A, SyncPlan()),
        (NONE, NONE, A, SyncPlan(fetch=IT)),
        (A, A, B, SyncPlan(fetch=IT)),
        (A, A, NONE, SyncPlan(remove=IT)),
        (NONE, A, NONE, SyncPlan(create=IT)),
        (A, B, A, SyncPlan(update=IT)),
        (A, NONE, A, SyncPlan(delete=IT)),
        (A, NONE, B, SyncPlan(fetch=IT)),
        (A, B, NONE, SyncPlan(create=IT)),
        (A, B, C, SyncPlan(fetch=IT, lost=IT)),
        (NONE, B, C, SyncPlan(fetch=IT, lost=IT)),
        (A, B, B, SyncPlan()),
        (A, NONE, NONE, SyncPlan()),
    ],
)
def test_what_changed_on_one_side_goes_to_the_other_and_of_both_the_stores_wins(
    last: dict[str, str], local: dict[str, str], stored: dict[str, str], wanted: SyncPlan
) -> None:
    assert plan_sync(last, local, stored, read_only=False) == wanted


@pytest.mark.parametrize(
    ("last", "local", "stored", "wanted"),
    [
        (A, A, A, SyncPlan()),
        (A, A, B, SyncPlan(fetch=IT)),
        (A, B, A, SyncPlan(fetch=IT, lost=IT)),
        (A, NONE, A, SyncPlan(fetch=IT)),
        (NONE, A, NONE, SyncPlan(remove=IT, lost=IT)),
        (A, B, NONE, SyncPlan(remove=IT, lost=IT)),
    ],
)
def test_nothing_goes_into_a_store_that_is_only_read(
    last: dict[str, str], local: dict[str, str], stored: dict[str, str], wanted: SyncPlan
) -> None:
    assert plan_sync(last, local, stored, read_only=True) == wanted


STATE = st.dictionaries(st.sampled_from(["/a", "/b", "/c/d"]), st.sampled_from("123"))


@given(STATE, STATE, STATE, st.booleans())
def test_after_a_plan_both_sides_are_the_same(
    last: dict[str, str], local: dict[str, str], stored: dict[str, str], read_only: bool
) -> None:
    plan = plan_sync(last, local, stored, read_only=read_only)
    here, there = dict(local), dict(stored)
    for path in plan.fetch:
        here[path] = stored[path]
    for path in plan.remove:
        del here[path]
    for path in (*plan.create, *plan.update):
        there[path] = local[path]
    for path in plan.delete:
        del there[path]
    assert here == there
    assert not read_only or there == stored
    # Whatever only the directory had is now in the store, or is named as lost.
    changed = {path for path in local if local[path] not in (last.get(path), stored.get(path))}
    assert changed == {*plan.create, *plan.update, *plan.lost}
