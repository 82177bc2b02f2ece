"""What every keeper of API keys, and every teller of whose an object is, promises (ports: agents.access.records)."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from store_records import T0, AnyStore, Reopen, agent, claimed, environment, logged, session, step

from agents.access.records import ApiKeyRecord, Owned
from agents.access.scopes import KeyScope
from agents.errors import Conflict, NotFound
from agents.ids import SessionId
from agents.listing import Listing
from agents.store.ports import SessionListing
from agents.vaults.records import VaultRecord

SECOND = timedelta(seconds=1)


def key(number: int = 1, **changes: object) -> ApiKeyRecord:
    record = ApiKeyRecord(
        f"apikey_{number}", "n", "default", KeyScope.DEVELOPER, f"digest {number}", "sk...x", "me", T0 + number * SECOND
    )
    return replace(record, **changes)  # type: ignore[arg-type]


async def test_a_key_comes_back_as_it_was_stored(store: AnyStore) -> None:
    full = key(expires_at=T0 + SECOND, scope=KeyScope.READ_ONLY, workspace_id="a", name="né\n")
    assert not await store.api_keys.exist()
    await store.api_keys.insert(full, most=10)
    assert await store.api_keys.exist()
    assert await store.api_keys.find(full.id) == full
    assert await store.api_keys.find("apikey_0") is None
    assert await store.api_keys.find("\0") is None


async def test_another_process_knows_it_at_once_and_still_after_a_restart(reopen: Reopen) -> None:
    one, other = await reopen(), await reopen()
    await one.api_keys.insert(key(), most=10)
    assert await other.api_keys.find(key().id) == key()
    await other.api_keys.revoke(key().id, T0)
    found = await one.api_keys.find(key().id)
    assert found is not None and not found.is_good(T0)


async def test_a_key_is_revoked_once_and_for_good(store: AnyStore) -> None:
    await store.api_keys.insert(key(), most=10)
    assert (await store.api_keys.revoke(key().id, T0)).revoked_at == T0
    assert (await store.api_keys.revoke(key().id, T0 + SECOND)).revoked_at == T0
    for unknown in ("apikey_0", "\0"):
        with pytest.raises(NotFound):
            await store.api_keys.revoke(unknown, T0)


async def test_use_is_noted_forwards_only(store: AnyStore) -> None:
    await store.api_keys.insert(key(), most=10)
    for moment in (T0 + SECOND, T0):
        await store.api_keys.touch(key().id, moment)
    found = await store.api_keys.find(key().id)
    assert found is not None and found.last_used_at == T0 + SECOND
    await store.api_keys.touch("apikey_0", T0)


async def test_only_keys_that_are_not_revoked_count_towards_the_limit(store: AnyStore) -> None:
    await store.api_keys.insert(key(1), most=1)
    with pytest.raises(Conflict):
        await store.api_keys.insert(key(2), most=1)
    await store.api_keys.revoke(key(1).id, T0)
    await store.api_keys.insert(key(2), most=1)


async def test_keys_are_listed_newest_first_page_by_page(store: AnyStore) -> None:
    for number in range(1, 5):
        await store.api_keys.insert(key(number, workspace_id="a" if number % 2 else "b"), most=10)
    await store.api_keys.revoke(key(4).id, T0)
    page = await store.api_keys.list(Listing(limit=2))
    assert [each.id for each in page] == ["apikey_3", "apikey_2", "apikey_1"]
    last = page[1]
    rest = await store.api_keys.list(Listing(limit=2, after=(last.created_at, last.id)))
    assert [each.id for each in rest] == ["apikey_1"]
    every = await store.api_keys.list(Listing(workspace_id="b", include_archived=True))
    assert [each.id for each in every] == ["apikey_4", "apikey_2"]


async def test_every_object_tells_whose_it_is_and_keeps_it(store: AnyStore) -> None:
    record = await owned(store, "a", 1)
    told = [await store.owners.workspace_of(kind, object_id) for kind, object_id in record.items()]
    assert told == ["a"] * 4
    assert (await store.agents.get(record["agent"])).workspace_id == "a"
    assert (await store.environments.get(record["environment"])).workspace_id == "a"
    assert (await store.sessions.get(SessionId(record["session"]))).workspace_id == "a"
    assert (await store.vaults.get(record["vault"])).workspace_id == "a"
    for kind in record:
        for unknown in ("no_1", "\0", ""):
            assert await store.owners.workspace_of(kind, unknown) is None


async def test_changes_never_move_an_object_to_another_workspace(store: AnyStore) -> None:
    ids = await owned(store, "a", 1)
    stored = await store.agents.get(ids["agent"])
    await store.agents.update(replace(stored, version=2, workspace_id="b"), expected_version=1)
    await store.vaults.change(ids["vault"], lambda vault: replace(vault, workspace_id="b"))
    place = await store.environments.get(ids["environment"])
    await store.environments.update(replace(place, workspace_id="b"))
    for kind in ("agent", "vault", "environment"):
        assert await store.owners.workspace_of(kind, ids[kind]) == "a"


async def test_lists_are_of_one_workspace(store: AnyStore) -> None:
    mine, theirs = await owned(store, "a", 1), await owned(store, "b", 2)
    for workspace, ids in (("a", mine), ("b", theirs), ("c", None)):
        asked = Listing(workspace_id=workspace)
        found = [
            await store.agents.list(asked),
            await store.environments.list(asked),
            await store.sessions.list(SessionListing(workspace_id=workspace)),
            await store.vaults.list(asked, ""),
        ]
        names = [[each.id for each in rows] for rows in found]
        assert names == ([[ids[kind]] for kind in ("agent", "environment", "session", "vault")] if ids else [[]] * 4)
    assert len(await store.agents.list(Listing())) == 2


async def test_a_name_is_taken_in_its_own_workspace_only(store: AnyStore) -> None:
    await store.environments.insert(environment(1, name="n", workspace_id="a"))
    await store.environments.insert(environment(2, name="n", workspace_id="b"))
    with pytest.raises(Conflict):
        await store.environments.insert(environment(3, name="n", workspace_id="b"))


async def owned(store: AnyStore, workspace: str, number: int) -> dict[Owned, str]:
    """Store one object of each kind."""
    made = agent(number, workspace_id=workspace)
    await store.agents.insert(made)
    place = environment(number, name="production", workspace_id=workspace)
    await store.environments.insert(place)
    lease = await claimed(store, number, owner=f"owner {number}")
    record = session(number, workspace_id=workspace)
    commit = step(lease, record, logged())
    await store.log.create(commit)
    vault = VaultRecord(f"vlt_{number}", "", {"display_name": "v", "metadata": {}}, T0, T0, workspace_id=workspace)
    await store.vaults.insert(vault)
    return {"agent": made.id, "environment": place.id, "session": record.id, "vault": vault.id}
