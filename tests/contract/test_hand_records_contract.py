"""What every keeper of hands' versions promises (port: agents.hands.deployed.records.HandRecords).

Bug class this catches: another code under a version that sessions stay with, without a word.
"""

from __future__ import annotations

from dataclasses import replace

import pytest
from store_records import T0, AnyStore

from agents.errors import Conflict, NotFound
from agents.hand_settings import HandDefinition, HandResources
from agents.hands.deployed.records import HandVersion
from agents.hands.servers.port import OfferedTool

CRM = HandVersion("crm", HandDefinition(server="crm:server", version="1.4"), "digest-1", "name: crm\n", created_at=T0)
TOOL = OfferedTool("find", "Find a customer.", {"type": "object"}, read_only=True, destructive=False)


async def test_a_version_comes_back_as_it_was_added_with_its_archive(store: AnyStore) -> None:
    assert await store.hands.add(CRM, b"\x00zip") == CRM
    assert await store.hands.get("crm@1.4") == CRM
    assert await store.hands.list() == [CRM]
    assert await store.hands.source("digest-1") == b"\x00zip"
    for missing in (store.hands.get("crm@2"), store.hands.source("digest-2"), store.hands.remove("crm@2", T0)):
        with pytest.raises(NotFound):
            await missing


async def test_what_a_version_is_never_changes_and_how_it_runs_may(store: AnyStore) -> None:
    await store.hands.add(CRM)
    others = [
        replace(CRM, source="digest-2"),
        replace(CRM, contract=""),
        replace(CRM, definition=CRM.definition.model_copy(update={"secrets": ["TOKEN"]})),
    ]
    for other in others:
        with pytest.raises(Conflict, match="make it another version"):
            await store.hands.add(other)
    larger = CRM.definition.model_copy(update={"max_replicas": 9, "resources": HandResources(num_cpus=2)})
    kept = await store.hands.add(replace(CRM, definition=larger))
    assert await store.hands.get("crm@1.4") == kept == replace(CRM, definition=larger)


async def test_a_removed_version_is_known_but_not_listed_and_only_it_can_come_back(store: AnyStore) -> None:
    second = replace(CRM, definition=CRM.definition.model_copy(update={"version": "2"}), created_at=T0.replace(hour=9))
    await store.hands.add(second)
    await store.hands.add(CRM)
    assert [hand.id for hand in await store.hands.list()] == ["crm@1.4", "crm@2"]
    removed = await store.hands.remove("crm@1.4", T0)
    assert await store.hands.get("crm@1.4") == removed == replace(CRM, removed_at=T0)
    assert [hand.id for hand in await store.hands.list()] == ["crm@2"]
    with pytest.raises(Conflict):
        await store.hands.add(replace(CRM, source="digest-2"))
    assert await store.hands.add(CRM) == CRM
    assert [hand.id for hand in await store.hands.list()] == ["crm@1.4", "crm@2"]


async def test_what_a_version_offers_is_kept_once(store: AnyStore) -> None:
    await store.hands.add(CRM)
    await store.hands.settle_tools("crm@1.4", [TOOL])
    await store.hands.settle_tools("crm@1.4", [])
    await store.hands.settle_tools("crm@9", [TOOL])
    assert (await store.hands.get("crm@1.4")).tools == (TOOL,)
    assert (await store.hands.add(CRM)).tools == (TOOL,)
