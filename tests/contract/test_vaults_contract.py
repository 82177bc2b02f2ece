"""What the repository of vaults promises (port: agents.vaults.records)."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from store_records import T0, AnyStore

from agents.errors import Conflict, InvalidRequest, NotFound
from agents.listing import Listing
from agents.vaults.envelope import Sealed, WrappedKey
from agents.vaults.records import MAX_CREDENTIALS, CredentialRecord, Renewal, RenewalFailure, VaultRecord

LATER = T0 + timedelta(seconds=5)
SEALED = Sealed(WrappedKey("mk_1", "d3JhcHBlZA=="), {"token": "c2VhbGVk"})
BUSY = Renewal("harness-0/1", LATER, T0, RenewalFailure("400 invalid_grant", transient=False))


def vault(number: int = 1, **changes: Any) -> VaultRecord:
    return replace(VaultRecord(f"vlt_{number:04}", "", {"display_name": "v", "metadata": {}}, T0, T0), **changes)


def credential(number: int = 1, of: int = 1, **changes: Any) -> CredentialRecord:
    body = {"display_name": None, "metadata": {}, "auth": {"type": "static_bearer", "mcp_server_url": "https://é/"}}
    made = CredentialRecord(
        f"vcrd_{number:04}", vault(of).id, f"url:https://h/{number}", body, SEALED, T0, T0, expires_at=LATER
    )
    return replace(made, **changes)


@pytest.fixture
async def stored(store: AnyStore) -> AnyStore:
    """A store with one vault."""
    await store.vaults.insert(vault())
    return store


async def test_what_is_stored_is_read_back(stored: AnyStore) -> None:
    assert await stored.vaults.get(vault().id) == vault()
    full = credential(renewal=BUSY)
    await stored.vaults.insert_credential(full)
    assert await stored.vaults.credential(vault().id, full.id) == full


@pytest.mark.parametrize("name", ["vlt_x", "\x00", "\ud800"])
async def test_what_is_not_there_is_not_found(stored: AnyStore, name: str) -> None:
    await stored.vaults.insert(vault(2))
    await stored.vaults.insert_credential(credential())
    here, same = vault().id, lambda record: record
    calls = [
        stored.vaults.get(name),
        stored.vaults.change(name, same),
        stored.vaults.archive(name, T0),
        stored.vaults.delete(name),
        stored.vaults.list_credentials(name, Listing()),
        stored.vaults.insert_credential(credential(2, vault_id=name)),
        stored.vaults.credential(here, name),
        stored.vaults.change_credential(here, name, same),
        stored.vaults.delete_credential(here, name),
        # A credential is only in its own vault.
        stored.vaults.credential(name, credential().id),
        stored.vaults.credential(vault(2).id, credential().id),
        stored.vaults.change_credential(vault(2).id, credential().id, same),
        stored.vaults.delete_credential(vault(2).id, credential().id),
    ]
    for call in calls:
        with pytest.raises(NotFound):
            await call
    assert await stored.vaults.active([name, vault(2).id]) == []


async def test_an_id_is_stored_once(stored: AnyStore) -> None:
    with pytest.raises(Conflict):
        await stored.vaults.insert(vault())
    await stored.vaults.insert_credential(credential())
    with pytest.raises(Conflict):
        await stored.vaults.insert_credential(credential(key="url:https://other/"))


async def test_a_change_keeps_ids_owner_key_and_birth(stored: AnyStore) -> None:
    await stored.vaults.insert_credential(credential())
    wanted = vault(9, principal="thief", created_at=LATER, body={"display_name": "w", "metadata": {"a": "b"}})
    changed = await stored.vaults.change(vault().id, lambda _: wanted)
    assert changed == vault(body=wanted.body) == await stored.vaults.get(vault().id)
    other = credential(9, of=9, created_at=LATER, expires_at=None, renewal=BUSY)
    changed_credential = await stored.vaults.change_credential(vault().id, credential().id, lambda _: other)
    assert changed_credential == credential(expires_at=None, renewal=BUSY)
    assert await stored.vaults.credential(vault().id, credential().id) == changed_credential


async def test_a_change_that_raises_writes_nothing(stored: AnyStore) -> None:
    await stored.vaults.insert_credential(credential())

    def refuse(record: Any) -> Any:
        raise InvalidRequest(f"not {record.id}")

    with pytest.raises(InvalidRequest):
        await stored.vaults.change(vault().id, refuse)
    with pytest.raises(InvalidRequest):
        await stored.vaults.change_credential(vault().id, credential().id, refuse)
    assert await stored.vaults.credential(vault().id, credential().id) == credential()


async def test_of_changes_at_once_none_is_lost(stored: AnyStore) -> None:
    await stored.vaults.insert_credential(credential())

    def one_more(record: CredentialRecord) -> CredentialRecord:
        bag = record.body["metadata"]
        return replace(record, body={**record.body, "metadata": {**bag, str(len(bag)): "x"}})

    await asyncio.gather(*(stored.vaults.change_credential(vault().id, credential().id, one_more) for _ in range(8)))
    assert len((await stored.vaults.credential(vault().id, credential().id)).body["metadata"]) == 8


async def test_a_key_is_held_by_one_active_credential_of_a_vault(stored: AnyStore) -> None:
    await stored.vaults.insert(vault(2))
    await stored.vaults.insert_credential(credential())
    again = credential(2, key=credential().key)
    with pytest.raises(Conflict, match="https://h/1"):
        await stored.vaults.insert_credential(again)
    await stored.vaults.insert_credential(credential(3, of=2, key=credential().key))
    await stored.vaults.change_credential(vault().id, credential().id, lambda c: replace(c, archived_at=LATER))
    await stored.vaults.insert_credential(again)


async def test_of_those_who_take_a_key_at_once_one_gets_it(stored: AnyStore) -> None:
    rivals = [credential(number, key="env:TOKEN") for number in range(5)]
    outcomes = await asyncio.gather(*map(stored.vaults.insert_credential, rivals), return_exceptions=True)
    assert sorted(type(outcome).__name__ for outcome in outcomes) == ["Conflict"] * 4 + ["NoneType"]


async def test_a_vault_holds_so_many_active_credentials_also_when_all_come_at_once(stored: AnyStore) -> None:
    rivals = [credential(number) for number in range(MAX_CREDENTIALS + 3)]
    outcomes = await asyncio.gather(*map(stored.vaults.insert_credential, rivals), return_exceptions=True)
    assert [type(outcome) for outcome in outcomes if outcome is not None] == [InvalidRequest] * 3
    first = next(record for record, outcome in zip(rivals, outcomes, strict=True) if outcome is None)
    await stored.vaults.change_credential(vault().id, first.id, lambda c: replace(c, archived_at=LATER))
    await stored.vaults.insert_credential(credential(99))


async def test_an_archived_credential_has_no_secrets_and_never_gets_any(stored: AnyStore) -> None:
    await stored.vaults.insert_credential(credential(renewal=BUSY))
    archived = await stored.vaults.change_credential(
        vault().id, credential().id, lambda c: replace(c, archived_at=LATER)
    )
    assert (archived.sealed, archived.renewal) == (None, Renewal())
    late = await stored.vaults.change_credential(vault().id, archived.id, lambda c: replace(c, sealed=SEALED))
    assert late == archived == await stored.vaults.credential(vault().id, archived.id)
    assert await stored.vaults.active([vault().id]) == []
    assert await stored.vaults.under_other_keys("mk_other", 9) == []


async def test_archiving_a_vault_archives_its_credentials_and_the_first_moment_stays(stored: AnyStore) -> None:
    await stored.vaults.insert(vault(2))
    for record in (credential(1), credential(2, archived_at=T0, sealed=None), credential(3, of=2)):
        await stored.vaults.insert_credential(record)
    archived = await stored.vaults.archive(vault().id, LATER)
    assert archived == vault(archived_at=LATER, updated_at=LATER)
    assert await stored.vaults.archive(vault().id, T0) == archived == await stored.vaults.get(vault().id)
    listed = await stored.vaults.list_credentials(vault().id, Listing(order="asc", include_archived=True))
    assert [(each.archived_at, each.sealed) for each in listed] == [(LATER, None), (T0, None)]
    assert await stored.vaults.active([vault().id, vault(2).id]) == [credential(3, of=2)]
    with pytest.raises(InvalidRequest, match="archived"):
        await stored.vaults.insert_credential(credential(4))


async def test_deleting_a_vault_deletes_its_credentials_and_no_others(stored: AnyStore) -> None:
    await stored.vaults.insert(vault(2))
    await stored.vaults.insert_credential(credential())
    await stored.vaults.insert_credential(credential(2, of=2))
    await stored.vaults.delete(vault().id)
    with pytest.raises(NotFound):
        await stored.vaults.credential(vault().id, credential().id)
    assert await stored.vaults.active([vault().id, vault(2).id]) == [credential(2, of=2)]
    await stored.vaults.delete_credential(vault(2).id, credential(2).id)
    assert await stored.vaults.active([vault(2).id]) == []


async def test_vaults_are_listed_to_their_owner_and_nobodys_to_all(stored: AnyStore) -> None:
    await stored.vaults.insert(vault(2, principal="a"))
    await stored.vaults.insert(vault(3, principal="b", archived_at=LATER))

    async def listed(principal: str, **query: Any) -> list[str]:
        return [each.id for each in await stored.vaults.list(Listing(order="asc", **query), principal)]

    assert await listed("a") == [vault(1).id, vault(2).id]
    assert await listed("b") == [vault(1).id]
    assert await listed("b", include_archived=True) == [vault(1).id, vault(3).id]
    assert await listed("", include_archived=True) == [vault(n).id for n in (1, 2, 3)]
    assert await listed("", limit=1, after=(T0, vault(1).id)) == [vault(2).id]


async def test_credentials_are_found_in_the_order_of_the_vaults(stored: AnyStore) -> None:
    await stored.vaults.insert(vault(2))
    for record in (credential(1), credential(2, of=2), credential(3, created_at=LATER), credential(4, of=2)):
        await stored.vaults.insert_credential(record)

    async def found(*numbers: int, key: str | None = None) -> list[str]:
        return [each.id for each in await stored.vaults.active([vault(n).id for n in numbers], key)]

    assert await found(1, 2) == [credential(n).id for n in (1, 3, 2, 4)]
    assert await found(2, 1, 2) == [credential(n).id for n in (2, 4, 1, 3)]
    assert await found(1, 2, key=credential(2).key) == [credential(2).id]
    assert await found(1, key="url:\x00") == await found() == []


async def test_what_is_under_other_master_keys_is_told_in_portions(stored: AnyStore) -> None:
    for number, key in enumerate(("mk_1", "mk_2", "mk_2", "mk_3")):
        sealed = replace(SEALED, key=WrappedKey(key, "x"))
        await stored.vaults.insert_credential(credential(number, sealed=sealed))
    others = await stored.vaults.under_other_keys("mk_2", 9)
    assert {each.id for each in others} == {credential(0).id, credential(3).id}
    assert len(await stored.vaults.under_other_keys("mk_9", 3)) == 3
