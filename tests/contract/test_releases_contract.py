"""What every keeper of versions promises (port: agents.brains.release_records.ReleaseRecords).

Bug class this catches: two who change a split at a time, and one of the changes is lost without a word.
"""

from __future__ import annotations

import pytest
from store_records import AnyStore, Reopen

from agents.brains.release_records import Outcome, OutcomeRow
from agents.errors import Conflict
from agents.governance.split import Split, StoredSplit

DECLARED = Split("1", {"2": 10})


async def test_what_a_version_is_stays_as_it_was_first(store: AnyStore) -> None:
    assert await store.releases.definitions() == {}
    await store.releases.settle({"a@1": {"engine": "claude", "model": None}})
    await store.releases.settle({"a@1": {"engine": "replay"}, "b@2": {"engine": "replay", "arguments": ["x", "y"]}})
    await store.releases.settle({})
    assert await store.releases.definitions() == {
        "a@1": {"engine": "claude", "model": None},
        "b@2": {"engine": "replay", "arguments": ["x", "y"]},
    }


async def test_a_split_changes_from_one_revision_to_the_next_or_not_at_all(store: AnyStore) -> None:
    first = StoredSplit(Split("1", {"2": 10}, None, {"3": "too slow"}), DECLARED, 1)
    second = StoredSplit(Split("2", previous="1"), DECLARED, 2)
    with pytest.raises(Conflict):
        await store.releases.change_split("a", second)
    await store.releases.change_split("a", first)
    assert await store.releases.splits() == {"a": first}
    with pytest.raises(Conflict):
        await store.releases.change_split("a", first)
    await store.releases.change_split("a", second)
    for stale in (first, second):
        with pytest.raises(Conflict):
            await store.releases.change_split("a", stale, forget=["a@1"])
    await store.releases.change_split("b", first)
    assert await store.releases.splits() == {"a": second, "b": first}


async def test_outcomes_add_up_by_version_and_moment(store: AnyStore) -> None:
    await store.releases.add_outcomes(
        [OutcomeRow("b@1", 20, Outcome(1)), OutcomeRow("a@2", 10, Outcome(5, 2, 1))], forget_before=0
    )
    await store.releases.add_outcomes(
        [OutcomeRow("a@2", 10, Outcome(3, 1, 1)), OutcomeRow("a@2", 20, Outcome(1, 0, 1))], forget_before=0
    )
    summed = [OutcomeRow("a@2", 10, Outcome(8, 3, 2)), OutcomeRow("a@2", 20, Outcome(1, 0, 1))]
    assert await store.releases.outcomes(0) == [*summed, OutcomeRow("b@1", 20, Outcome(1))]
    assert await store.releases.outcomes(11) == [summed[1], OutcomeRow("b@1", 20, Outcome(1))]
    await store.releases.add_outcomes([], forget_before=20)
    assert await store.releases.outcomes(0) == [summed[1], OutcomeRow("b@1", 20, Outcome(1))]


async def test_a_change_forgets_the_outcomes_that_it_says_and_a_refused_one_nothing(store: AnyStore) -> None:
    rows = [OutcomeRow("a@1", 10, Outcome(1)), OutcomeRow("a@2", 10, Outcome(2))]
    await store.releases.add_outcomes(rows, forget_before=0)
    with pytest.raises(Conflict):
        await store.releases.change_split("a", StoredSplit(Split("1"), DECLARED, 5), forget=["a@1"])
    assert await store.releases.outcomes(0) == rows
    await store.releases.change_split("a", StoredSplit(Split("1"), DECLARED, 1), forget=["a@2"])
    assert await store.releases.outcomes(0) == rows[:1]


async def test_other_processes_see_it_all(reopen: Reopen) -> None:
    one, other = await reopen(), await reopen()
    stored = StoredSplit(Split("2", previous="1"), DECLARED, 1)
    await one.releases.settle({"a@1": {"engine": "replay"}})
    await one.releases.change_split("a", stored)
    await one.releases.add_outcomes([OutcomeRow("a@1", 10, Outcome(1, 1))], forget_before=0)
    await other.releases.add_outcomes([OutcomeRow("a@1", 10, Outcome(1))], forget_before=0)
    assert await other.releases.definitions() == {"a@1": {"engine": "replay"}}
    assert await other.releases.splits() == {"a": stored}
    assert await one.releases.outcomes(0) == [OutcomeRow("a@1", 10, Outcome(2, 1))]
    with pytest.raises(Conflict):
        await other.releases.change_split("a", stored)
