"""Sealed secrets: what opens them, and that nothing else does."""

from __future__ import annotations

import os
import sys
from base64 import b64decode, b64encode
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from pydantic import SecretStr

from agents.config import Settings
from agents.errors import InvalidRequest, Unavailable
from agents.vaults.envelope import Envelope, KeyUnavailable, Place, WrappedKey
from agents.vaults.master_keys import HeldKeys, KeyFile, key_file, master_keys
from agents.vaults.settings import VaultSettings, key_id, parsed_keys
from tests.unit.vaults.stage import fresh_key

HERE = Place("vlt_1", "vcrd_1")
SECRET = SecretStr("canary-é\n")


def text(key: bytes) -> str:
    return b64encode(key).decode()


async def test_a_secret_comes_back_and_no_two_ciphertexts_are_equal() -> None:
    key, wrapped = await (envelope := Envelope(HeldKeys(fresh_key()))).new_key(HERE)
    sealed = [key.seal("token", SECRET) for _ in range(2)]
    assert sealed[0] != sealed[1] and b"canary" not in b"".join(map(b64decode, sealed))
    again = await envelope.key_of(HERE, wrapped)
    assert [again.open("token", each) for each in sealed] == [SECRET] * 2


@pytest.mark.parametrize("place", [Place("vlt_2", "vcrd_1"), Place("vlt_1", "vcrd_2"), Place("vlt_1/vcrd_1", "")])
async def test_a_data_key_fits_one_credential_of_one_vault(place: Place) -> None:
    envelope = Envelope(HeldKeys(fresh_key()))
    _, wrapped = await envelope.new_key(HERE)
    with pytest.raises(KeyUnavailable):
        await envelope.key_of(place, wrapped)


async def test_a_secret_fits_one_field_and_no_changed_bytes() -> None:
    key, _ = await Envelope(HeldKeys(fresh_key())).new_key(HERE)
    sealed = key.seal("access_token", SECRET)
    with pytest.raises(KeyUnavailable):
        key.open("refresh_token", sealed)
    raw = bytearray(b64decode(sealed))
    for position in (0, len(raw) // 2, -1):
        changed = bytes(raw[:position]) + bytes([raw[position] ^ 1]) + bytes(raw[position:][1:])
        with pytest.raises(KeyUnavailable):
            key.open("access_token", text(changed))
    with pytest.raises(KeyUnavailable):
        key.open("access_token", text(bytes(raw[:8])))


async def test_another_master_key_opens_nothing_and_says_which_is_missing() -> None:
    mine = fresh_key()
    _, wrapped = await Envelope(HeldKeys(mine)).new_key(HERE)
    with pytest.raises(KeyUnavailable, match=next(iter(mine))):
        await Envelope(HeldKeys(fresh_key())).key_of(HERE, wrapped)
    # Nor does a key that is passed off as it.
    with pytest.raises(KeyUnavailable):
        await Envelope(HeldKeys({next(iter(mine)): os.urandom(32)})).key_of(HERE, wrapped)


async def test_older_keys_open_and_the_first_one_seals() -> None:
    old, new = fresh_key(), fresh_key()
    _, wrapped = await Envelope(HeldKeys(old)).new_key(HERE)
    both = Envelope(HeldKeys({**new, **old}))
    key = await both.key_of(HERE, wrapped)
    anew = await both.rewrapped(HERE, wrapped)
    assert anew.master_key == next(iter(new)) == await both.current()
    assert (await Envelope(HeldKeys(new)).key_of(HERE, anew)).open("t", key.seal("t", SECRET)) == SECRET


def test_a_key_is_32_bytes_as_base64_and_no_fault_shows_it() -> None:
    good = text(b"k" * 32)
    assert parsed_keys(f"{good},{text(b'l' * 32)}\n") == {key_id(each * 32): each * 32 for each in (b"k", b"l")}
    for bad in ("", "canary", text(b"canary"), f"{good},canary"):
        with pytest.raises(ValueError, match="openssl rand") as caught:
            VaultSettings(master_key=SecretStr(bad))
        assert "canary" not in str(caught.value)
    with pytest.raises(ValueError, match="only one"):
        VaultSettings(master_key=SecretStr(good), key_service="m:f")


# -- the file


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "new" / "master.key"


async def test_the_file_is_made_with_the_first_key_for_its_owner_only(path: Path) -> None:
    keys = KeyFile(path, make=True)
    _, wrapped = await Envelope(keys).new_key(HERE)
    assert path.stat().st_mode & 0o777 == 0o600 and list(path.parent.iterdir()) == [path]
    assert list(parsed_keys(path.read_text())) == [wrapped.master_key]
    # Another process reads what is there.
    await Envelope(KeyFile(path, make=True)).key_of(HERE, wrapped)


async def test_of_several_processes_that_make_the_file_one_wins(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    winner, loser = KeyFile(path, make=True), KeyFile(path, make=True)
    link = os.link

    async def first() -> str:
        return await winner.current()

    made: list[str] = []

    def late(draft: Any, to: Any) -> None:
        monkeypatch.setattr(os, "link", link)
        made.append(_run(first()))
        link(draft, to)

    monkeypatch.setattr(os, "link", late)
    assert await loser.current() == made[0] == await winner.current()


def _run(work: Any) -> Any:
    try:
        work.send(None)
    except StopIteration as done:
        return done.value
    raise AssertionError("it waited")


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660])
async def test_a_file_that_others_may_read_is_not_used(path: Path, mode: int) -> None:
    await KeyFile(path, make=True).current()
    path.chmod(mode)
    with pytest.raises(KeyUnavailable, match="chmod 600"):
        await KeyFile(path).current()


async def test_a_missing_or_broken_file_is_told_and_not_replaced(path: Path) -> None:
    with pytest.raises(KeyUnavailable, match="is not there"):
        await KeyFile(path).current()
    with pytest.raises(KeyUnavailable, match="is not there"):
        await KeyFile(path, make=True).unwrap("mk_1", b"", b"")
    assert not path.exists()
    path.parent.mkdir()
    path.write_text("canary\n")
    path.chmod(0o600)
    with pytest.raises(KeyUnavailable, match="openssl rand") as caught:
        await KeyFile(path, make=True).current()
    assert "canary" not in caught.value.message and path.read_text() == "canary\n"


async def test_a_changed_file_is_read_again_and_keeps_the_key_before(path: Path) -> None:
    elsewhere = KeyFile(path, make=True)
    first = await elsewhere.current()
    second = KeyFile(path).add_key(first)
    assert await elsewhere.current() == second != first
    assert KeyFile(path).add_key(first) == second  # somebody was faster
    third = KeyFile(path).add_key(second)
    assert list(parsed_keys(path.read_text())) == [third, second]
    assert path.stat().st_mode & 0o777 == 0o600


# -- where keys come from


async def test_the_settings_say_where_the_key_is(tmp_path: Path) -> None:
    (held,) = keys = fresh_key()
    given = Settings(data_dir=tmp_path, vaults=VaultSettings(master_key=SecretStr(text(keys[held]))))
    assert await master_keys(given).current() == held and key_file(given) is None
    (tmp_path / "k").write_text(text(keys[held]))
    (tmp_path / "k").chmod(0o600)
    filed = Settings(data_dir=tmp_path, vaults=VaultSettings(master_key_file=tmp_path / "k"))
    assert await master_keys(filed).current() == held and key_file(filed) is not None
    await master_keys(Settings(data_dir=tmp_path)).current()
    assert (tmp_path / "master.key").exists()


async def test_a_shared_database_wants_a_key_that_all_machines_have(tmp_path: Path) -> None:
    shared = Settings(data_dir=tmp_path, database_url=SecretStr("postgresql+asyncpg://x"))
    keys = master_keys(shared)
    for call in (keys.current(), keys.wrap(b"", b"")):
        with pytest.raises(InvalidRequest, match=r"vaults\.master_key"):
            await call
    with pytest.raises(Unavailable):
        await keys.unwrap("mk_1", b"", b"")
    assert key_file(shared) is None and list(tmp_path.iterdir()) == []


class Service:
    """A key service in this process."""

    def __init__(self) -> None:
        self.keys = HeldKeys(fresh_key(), "the service")
        self.broken = False

    async def current(self) -> str:
        if self.broken:
            raise RuntimeError("canary of the service")
        return await self.keys.current()

    async def wrap(self, data_key: bytes, context: bytes) -> tuple[str, bytes]:
        return await self.keys.wrap(data_key, context)

    async def unwrap(self, key_id: str, wrapped: bytes, context: bytes) -> bytes:
        return await self.keys.unwrap(key_id, wrapped, context)


async def test_a_key_service_is_loaded_by_its_name_and_its_faults_are_unavailable(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    module, service = ModuleType("own_kms"), Service()
    module.client = lambda: service  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "own_kms", module)
    envelope = Envelope(master_keys(Settings(vaults=VaultSettings(key_service="own_kms:client"))))
    key, wrapped = await envelope.new_key(HERE)
    assert (await envelope.key_of(HERE, wrapped)).open("t", key.seal("t", SECRET)) == SECRET
    with pytest.raises(KeyUnavailable, match="not in the service"):
        await envelope.key_of(HERE, WrappedKey("mk_other", wrapped.text))
    service.broken = True
    with pytest.raises(KeyUnavailable, match="own_kms:client fails: RuntimeError") as caught:
        await envelope.current()
    assert "canary" not in caught.value.message
    for entry in ("no_such_module:f", "own_kms:no_such_function"):
        missing = master_keys(Settings(vaults=VaultSettings(key_service=entry)))
        with pytest.raises(KeyUnavailable, match=entry):
            await missing.current()
