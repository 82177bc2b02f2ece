"""Changing the master key of either database: what another process seals or changes meanwhile is under it as well."""

from __future__ import annotations

import asyncio
from asyncio import to_thread
from base64 import b64decode, b64encode
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from store_records import T0, Reopen, claimed, logged, session, step
from typer.testing import CliRunner

from agents.catalog.resources import ResourceOwner
from agents.cli import app
from agents.ids import SessionId
from agents.repositories.resource import RepositoryResources, token_in
from agents.sessions.events import SessionRecord
from agents.sessions.log import Commit, Lease
from agents.store import session_tokens
from agents.store.database import SqlStore
from agents.vaults import rotation
from agents.vaults.envelope import Envelope
from agents.vaults.master_keys import HeldKeys, KeyFile
from agents.vaults.records import CredentialRecord
from agents.vaults.resource_tokens import Holder, Kept, reseal
from agents.vaults.settings import key_id
from tests.unit.vaults.stage import Stage, fresh_key, stage

MANY = 7


async def put(made: Stage, count: int) -> list[CredentialRecord]:
    vault = await made.vault()
    return [
        await made.put(vault, type="static_bearer", mcp_server_url=f"https://h{n}.example.com", token=f"t{n}")
        for n in range(count)
    ]


async def test_two_processes_that_change_the_key_at_a_time_leave_every_secret_under_it(
    reopen: Reopen, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rotation, "_PORTION", 3)
    old, new = fresh_key(), fresh_key()
    here = stage(await reopen(), keys=old)
    records = await put(here, MANY)
    gone = records.pop()
    there = await reopen()

    async def meanwhile() -> None:
        await here.store.vaults.delete_credential(gone.vault_id, gone.id)

    both = Envelope(HeldKeys({**new, **old}))
    first, second, _ = await asyncio.gather(
        rotation.rotate(here.store.vaults, both, None), rotation.rotate(there.vaults, both, None), meanwhile()
    )
    (current,) = new
    assert (first.master_key, second.master_key) == (current, current)
    assert first.unreadable == second.unreadable == ()
    assert first.rewrapped + second.rewrapped >= MANY - 1
    assert await there.vaults.under_other_keys(current, 1) == []
    after = stage(await reopen(), keys=new)
    for n, record in enumerate(records):
        assert await after.secrets(record) == {"token": f"t{n}"}
        stored = await after.read(record)
        assert stored.sealed is not None and record.sealed is not None
        assert (stored.sealed.fields, stored.updated_at) == (record.sealed.fields, record.updated_at)


async def put_repository(store: SqlStore, envelope: Envelope, lease: Lease) -> SessionRecord:
    """A session with a file, and a repository that has a token."""
    record = session()
    owner = ResourceOwner(record.id, "default", "", self_hosted=False, now=T0)
    given = {"type": "github_repository", "url": "https://github.com/o/r", "authorization_token": "ghp_secret"}
    repository = await RepositoryResources(envelope).attach("", given, owner)
    record = replace(record, resources=({"id": "sesrsc_1", "wire": {"type": "file"}}, repository))
    await store.log.create(Commit(lease, 0, record))
    return record


async def token_of(store: SqlStore, record: SessionRecord, envelope: Envelope) -> str | None:
    [_, repository] = (await store.sessions.get(SessionId(record.id))).resources
    token = await token_in(repository, record.id, envelope)
    return None if token is None else token.get_secret_value()


async def test_tokens_of_sessions_go_along_and_whoever_owns_the_session_goes_on(
    reopen: Reopen, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session_tokens, "_PORTION", 2)
    old, new = fresh_key(), fresh_key()
    store = await reopen()
    lease = await claimed(store)
    await store.log.create(Commit(lease, 0, session()))
    records = [await put_repository(store, Envelope(HeldKeys(old)), lease) for _ in range(3)]
    foreign = await put_repository(store, Envelope(HeldKeys(fresh_key())), lease)
    tokens, both = (await reopen()).session_tokens, Envelope(HeldKeys({**new, **old}))
    assert await reseal(tokens.holders(), tokens.exchange, both) == (foreign.id,)
    only_new = Envelope(HeldKeys(new))
    for record in records:
        [file, _] = (await store.sessions.get(SessionId(record.id))).resources
        assert file == record.resources[0]
        # Its owner read it before.
        await store.log.append(step(lease, record, logged(), title="later"))
        assert await token_of(store, record, only_new) == "ghp_secret"


async def test_a_token_that_is_replaced_meanwhile_stays(reopen: Reopen) -> None:
    old, new = fresh_key(), fresh_key()
    store = await reopen()
    lease, both = await claimed(store), Envelope(HeldKeys({**new, **old}))
    record = await put_repository(store, Envelope(HeldKeys(old)), lease)
    owner = ResourceOwner(record.id, "default", "", self_hosted=False, now=T0)
    changed = await RepositoryResources(both).changed(record.resources[1], {"authorization_token": "ghp_2"}, owner)
    tokens = store.session_tokens

    async def late(holder: Holder, resources: list[Kept]) -> None:
        await store.log.append(step(lease, record, logged(), resources=(record.resources[0], changed)))
        await tokens.exchange(holder, resources)

    assert await reseal(tokens.holders(), late, both) == ()
    assert await token_of(store, record, Envelope(HeldKeys(new))) == "ghp_2"


async def test_the_command_changes_the_key_of_either_database(reopen: Reopen, location: str, tmp_path: Path) -> None:
    old, new = (next(iter(fresh_key().values())) for _ in range(2))
    file = KeyFile(tmp_path / "keys")
    made = stage(await reopen())
    made.envelope = Envelope(file)
    config = tmp_path / "hecaton.yaml"
    settings = {"data_dir": str(tmp_path), "vaults": {"master_key_file": str(file.path)}}
    config.write_text(yaml.safe_dump(settings | ({"database_url": location} if "://" in location else {})))

    async def change() -> str:
        ran = await to_thread(CliRunner().invoke, app, ["vaults", "rotate-key", "--config", str(config)])
        assert ran.exit_code == 0, ran.output
        return ran.output

    write(file, old)
    [record] = await put(made, 1)
    store = await reopen()
    with_repository = await put_repository(store, made.envelope, await claimed(store))
    if "://" in location:
        # Other machines have the file, too: who runs the platform puts the new key there, in two steps.
        write(file, old, new)
        assert f"0 credentials wrapped anew; all are under {key_id(old)}" in await change()
        write(file, new, old)
    assert "1 credentials wrapped anew" in await change()
    stored = await made.read(record)
    assert stored.sealed is not None
    assert stored.sealed.key.master_key == await file.current() != key_id(old)
    assert await made.secrets(record) == {"token": "t0"}
    now = await file.current()
    alone = Envelope(HeldKeys({name: key for name, key in master_keys_of(file).items() if name == now}))
    assert await token_of(store, with_repository, alone) == "ghp_secret"
    if "://" in location:
        write(file, new)
        made.envelope = Envelope(KeyFile(file.path))
        assert await made.secrets(record) == {"token": "t0"}


def master_keys_of(file: KeyFile) -> dict[str, bytes]:
    keys = [b64decode(line) for line in file.path.read_text().split()]
    return {key_id(key): key for key in keys}


def write(file: KeyFile, *keys: bytes) -> None:
    """Write master keys, the current one first, as a file that only its owner reads."""
    file.path.touch(mode=0o600)
    file.path.write_text("".join(f"{b64encode(key).decode()}\n" for key in keys))
