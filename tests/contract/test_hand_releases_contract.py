"""What every keeper of the releases of hands promises (port: agents.governance.hand_records.HandReleaseRecords).

Bug class this catches: calls that count twice or not at all, and a verdict on what another trial did.
"""

from __future__ import annotations

import pytest
from store_records import T0, AnyStore, Reopen

from agents.errors import Conflict
from agents.governance.audit.entries import SYSTEM, AuditEntry, EntryQuery
from agents.governance.outcomes import LONG, SHORT, OutcomeRow
from agents.governance.split import Split, StoredSplit

DECLARED = Split("")
NOW = 10_000_000


def row(hand: str = "crm@1", span: int = SHORT, moment: int = NOW, calls: int = 1, latency: int = 3) -> OutcomeRow:
    return OutcomeRow(hand, span, moment, "ok", latency, calls)


async def test_calls_add_up_by_version_span_moment_outcome_and_latency(store: AnyStore) -> None:
    records = store.hand_releases
    failed = OutcomeRow("crm@1", SHORT, NOW, "failed", 3, 1)
    await records.add_outcomes([row(calls=2), row(latency=4), row("crm@2"), failed, row(span=LONG)], now=NOW)
    await records.add_outcomes([row(calls=3), row(span=LONG, calls=5)], now=NOW)
    assert await records.outcomes(SHORT, 0) == [failed, row(calls=5), row(latency=4), row("crm@2")]
    assert await records.outcomes(SHORT, 0, hand="crm@2") == [row("crm@2")]
    assert await records.outcomes(LONG, NOW) == [row(span=LONG, calls=6)]
    assert await records.outcomes(LONG, NOW + 1) == []


async def test_fine_counts_are_kept_for_an_hour_and_coarse_ones_for_a_month(store: AnyStore) -> None:
    records = store.hand_releases
    await records.add_outcomes([row(), row(span=LONG)], now=NOW)
    await records.add_outcomes([], now=NOW + 3600)
    assert await records.outcomes(SHORT, 0) == [row()]
    await records.add_outcomes([], now=NOW + 3601)
    assert (await records.outcomes(SHORT, 0), await records.outcomes(LONG, 0)) == ([], [row(span=LONG)])
    await records.add_outcomes([], now=NOW + 31 * 86_400 + 1)
    assert await records.outcomes(LONG, 0) == []


async def test_a_change_forgets_what_a_version_is_judged_by_and_nothing_of_its_report(store: AnyStore) -> None:
    records = store.hand_releases
    await records.add_outcomes([row(), row(span=LONG), row("crm@2")], now=NOW)
    with pytest.raises(Conflict):
        await records.change_split("crm", StoredSplit(Split("1"), DECLARED, 2), forget=["crm@1"])
    assert len(await records.outcomes(SHORT, 0)) == 2
    await records.change_split("crm", StoredSplit(Split("1", {"2": 20}), DECLARED, 1), forget=["crm@1"])
    assert await records.outcomes(SHORT, 0) == [row("crm@2")]
    assert await records.outcomes(LONG, 0) == [row(span=LONG)]
    assert await records.splits() == {"crm": StoredSplit(Split("1", {"2": 20}), DECLARED, 1)}
    assert await store.releases.splits() == {}, "brains have splits of their own"


async def test_a_change_that_is_told_of_is_in_the_trail_if_it_is_made(store: AnyStore) -> None:
    records, entry = store.hand_releases, AuditEntry(T0, SYSTEM, "rollbackHand", "crm", detail={"reason": "slow"})
    with pytest.raises(Conflict):
        await records.change_split("crm", StoredSplit(Split("1"), DECLARED, 2), entry=entry)
    assert await store.audit.entries(EntryQuery()) == []
    await records.change_split("crm", StoredSplit(Split("1"), DECLARED, 1), entry=entry)
    [written] = await store.audit.entries(EntryQuery())
    assert (written.actor, written.action, written.object) == ("hecaton", "rollbackHand", "crm")


async def test_other_processes_see_it_all(reopen: Reopen) -> None:
    one, other = await reopen(), await reopen()
    await one.hand_releases.add_outcomes([row()], now=NOW)
    await other.hand_releases.add_outcomes([row()], now=NOW)
    assert await one.hand_releases.outcomes(SHORT, 0) == [row(calls=2)]
