"""Changing the master key: interrupted anywhere, everything can be opened, and the next run finishes it."""

from __future__ import annotations

from asyncio import to_thread
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from agents.cli import app
from agents.errors import NotFound, Unavailable
from agents.store.database import open_store
from agents.store.memory_vaults import MemoryVaults
from agents.vaults.envelope import Envelope
from agents.vaults.master_keys import HeldKeys, KeyFile
from agents.vaults.records import CredentialRecord
from agents.vaults.rotation import rotate
from tests.unit.vaults.stage import Stage, fresh_key, stage

MANY = 7


class Interruptible(MemoryVaults):
    """Vaults whose process dies at the change with a certain number."""

    dies_at: int | None = None
    meanwhile: Callable[[], Any] | None = None

    async def change_credential(
        self, vault_id: str, credential_id: str, change: Callable[[CredentialRecord], CredentialRecord]
    ) -> CredentialRecord:
        if self.dies_at is not None:
            if self.dies_at == 0:
                raise Unavailable("killed here")
            self.dies_at -= 1
        if self.meanwhile is not None:
            await self.meanwhile()
        return await super().change_credential(vault_id, credential_id, change)


@pytest.fixture
async def on(tmp_path: Path) -> AsyncIterator[tuple[Stage, Interruptible, KeyFile, list[CredentialRecord]]]:
    """Vaults with credentials under the key of a file."""
    made, vaults, file = stage(), Interruptible(), KeyFile(tmp_path / "master.key", make=True)
    made.store.vaults, made.envelope = vaults, Envelope(file)  # type: ignore[assignment]
    vault = await made.vault()
    records = [
        await made.put(vault, type="static_bearer", mcp_server_url=f"https://h{n}.example.com", token=f"t{n}")
        for n in range(MANY)
    ]
    yield made, vaults, file, records


async def opened(made: Stage, file: KeyFile, records: list[CredentialRecord]) -> list[str]:
    """The tokens, as another process reads them."""
    made.envelope = Envelope(KeyFile(file.path))
    return [(await made.secrets(record))["token"] for record in records]


async def test_all_come_under_a_new_key_and_only_the_data_keys_change(on: Any) -> None:
    made, vaults, file, records = on
    before = await file.current()
    told: list[int] = []
    found = await rotate(vaults, made.envelope, file, told.append)
    assert (found.fresh, found.rewrapped, found.unreadable) == (True, MANY, ())
    assert found.master_key == await file.current() != before and told == list(range(1, MANY + 1))
    assert await opened(made, file, records) == [f"t{n}" for n in range(MANY)]
    for record in records:
        stored = await made.read(record)
        assert stored.sealed.key.master_key == found.master_key
        assert (stored.sealed.fields, stored.updated_at) == (record.sealed.fields, record.updated_at)


@pytest.mark.parametrize("dies_at", range(MANY))
async def test_an_interrupted_change_leaves_all_readable_and_is_taken_up_again(on: Any, dies_at: int) -> None:
    made, vaults, file, records = on
    vaults.dies_at = dies_at
    with pytest.raises(Unavailable):
        await rotate(vaults, made.envelope, file)
    assert await opened(made, file, records) == [f"t{n}" for n in range(MANY)]
    halfway = await file.current()
    # What is sealed meanwhile is sealed under the new key.
    vault = records[0].vault_id
    vaults.dies_at = None
    late = await made.put(vault, type="static_bearer", mcp_server_url="https://late.example.com", token="late")
    assert late.sealed is not None and late.sealed.key.master_key == halfway
    found = await rotate(vaults, made.envelope, file)
    assert (found.fresh, found.rewrapped, found.master_key) == (False, MANY - dies_at, halfway)
    assert await opened(made, file, [*records, late]) == [*(f"t{n}" for n in range(MANY)), "late"]


async def test_what_is_deleted_archived_or_changed_meanwhile_is_no_trouble(on: Any) -> None:
    made, vaults, file, records = on
    vault = records[0].vault_id

    async def meanwhile() -> None:
        vaults.meanwhile = None
        await vaults.delete_credential(vault, records[0].id)
        await vaults.archive(vault, made.clock.now())

    vaults.meanwhile = meanwhile
    found = await rotate(vaults, made.envelope, file)
    assert found.unreadable == ()
    with pytest.raises(NotFound):
        await made.read(records[0])
    assert (await made.read(records[1])).sealed is None


async def test_a_secret_whose_key_is_gone_is_named_and_the_others_are_done(on: Any) -> None:
    made, vaults, file, records = on
    lost = stage(keys=fresh_key())
    lost.store.vaults = vaults  # type: ignore[assignment]
    foreign = await lost.put(
        records[0].vault_id, type="static_bearer", mcp_server_url="https://x.example.com", token="x"
    )
    await file.current()
    found = await rotate(vaults, made.envelope, None)
    assert (found.rewrapped, found.unreadable, found.fresh) == (0, (foreign.id,), False)
    # No key is made while something is left, so none that is still needed goes.
    assert (await rotate(vaults, made.envelope, file)).unreadable == (foreign.id,)


async def test_keys_of_the_settings_change_to_the_first(on: Any) -> None:
    made, vaults, _, _ = on
    old, new = fresh_key(), fresh_key()
    made.envelope = Envelope(HeldKeys(old))
    vault = await made.vault()
    record = await made.put(vault, type="static_bearer", mcp_server_url="https://s.example.com", token="s")
    found = await rotate(vaults, Envelope(HeldKeys({**new, **old})), None)
    assert found.rewrapped == 1 and len(found.unreadable) == MANY  # those of the file are another's
    made.envelope = Envelope(HeldKeys(new))
    assert (await made.secrets(record)) == {"token": "s"}


async def test_the_command_works_beside_an_open_store(tmp_path: Path) -> None:
    store = await open_store(tmp_path / "hecaton.db")
    file = KeyFile(tmp_path / "master.key", make=True)
    made = stage(store)
    made.envelope = Envelope(file)
    vault = await made.vault()
    record = await made.put(vault, type="static_bearer", mcp_server_url="https://h.example.com", token="t")
    before = await file.current()
    ran = await to_thread(CliRunner().invoke, app, ["vaults", "rotate-key", "--data-dir", str(tmp_path)])
    assert ran.exit_code == 0, ran.output
    after = await file.current()
    assert before != after and f"1 credentials wrapped anew; all are under {after}" in ran.output
    assert await made.secrets(record) == {"token": "t"}
    await store.close()
    elsewhere = await to_thread(CliRunner().invoke, app, ["vaults", "rotate-key", "--data-dir", str(tmp_path / "x")])
    assert elsewhere.exit_code == 1 and "no database" in str(elsewhere.exception)
