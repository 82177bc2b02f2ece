"""Keys as text, and what a replica knows of them.

Bug classes this catches: a key that can be guessed or read from the database, one that goes on opening things after it
was revoked, and a busy key that costs a question, or a write, for every request.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from agents.access.key_book import KeyBook
from agents.access.keys import digest_of, hint_of, id_of, new_api_key
from agents.access.records import ApiKeyRecord
from agents.access.scopes import KeyScope
from agents.clock import ManualClock
from agents.errors import AuthenticationFailed, Unavailable
from agents.ids import new_id
from agents.store.api_keys import MemoryApiKeys


class Counting(MemoryApiKeys):
    """Counts questions and notes; away while ``down``."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = self.noted = 0
        self.down = self.read_only = False

    async def find(self, key_id: str) -> ApiKeyRecord | None:
        self.asked += 1
        if self.down:
            raise Unavailable("away")
        return await super().find(key_id)

    async def touch(self, key_id: str, moment: object) -> None:
        self.noted += 1
        if self.read_only:
            raise Unavailable("away")
        await super().touch(key_id, moment)  # type: ignore[arg-type]


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def keys() -> Counting:
    return Counting()


@pytest.fixture
def book(keys: Counting, clock: ManualClock) -> KeyBook:
    return KeyBook(keys, clock, seconds=2)


async def made(keys: MemoryApiKeys, clock: ManualClock, **changes: object) -> str:
    key = new_api_key(key_id := new_id("apikey"))
    record = ApiKeyRecord(key_id, "n", "default", KeyScope.DEVELOPER, digest_of(key), hint_of(key), "me", clock.now())
    await keys.insert(replace(record, **changes), most=10)  # type: ignore[arg-type]
    return key


def test_a_key_names_its_row_and_is_random_beside_it() -> None:
    key_id = new_id("apikey")
    one, other = new_api_key(key_id), new_api_key(key_id)
    assert id_of(one) == id_of(other) == key_id
    assert one != other and len(one.rsplit("-", 1)[0]) < len(one)


async def test_nothing_that_is_kept_tells_the_secret(keys: Counting, clock: ManualClock) -> None:
    key = await made(keys, clock)
    record = await keys.find(id_of(key) or "")
    assert record is not None
    secret = key.removeprefix("sk-hecaton-").split("-", 1)[1]
    assert secret not in repr(record)
    shown = record.hint.rsplit("...", 1)[1]
    assert secret.endswith(shown) and len(shown) == 4


@pytest.mark.parametrize("text", ["", "sk-hecaton-", "sk-hecaton-1-2", "sk-ant-api03-x", "x" * 5000, "k\0"])
async def test_what_cannot_be_a_key_is_never_looked_up(book: KeyBook, keys: Counting, text: str) -> None:
    assert await book.find(text) is None
    assert keys.asked == 0


async def test_a_busy_key_is_asked_for_once_in_a_while(book: KeyBook, keys: Counting, clock: ManualClock) -> None:
    key = await made(keys, clock)
    for _ in range(100):
        assert await book.find(key) is not None
    assert (keys.asked, keys.noted) == (1, 1)
    clock.advance(2)
    await book.find(key)
    assert (keys.asked, keys.noted) == (2, 1)
    clock.advance(60)
    await book.find(key)
    assert keys.noted == 2


async def test_a_wrong_secret_of_a_good_key_opens_nothing_and_is_not_noted_as_use(
    book: KeyBook, keys: Counting, clock: ManualClock
) -> None:
    key = await made(keys, clock)
    assert await book.find(new_api_key(id_of(key) or "")) is None
    assert keys.noted == 0
    assert await book.find(key) is not None


async def test_a_revoked_key_opens_nothing_after_the_time_that_is_promised(
    book: KeyBook, keys: Counting, clock: ManualClock
) -> None:
    key = await made(keys, clock)
    await book.find(key)
    await keys.revoke(id_of(key) or "", clock.now())
    clock.advance(2)
    with pytest.raises(AuthenticationFailed, match="revoked"):
        await book.find(key)


async def test_a_key_expires_at_its_moment_also_while_it_is_remembered(
    book: KeyBook, keys: Counting, clock: ManualClock
) -> None:
    key = await made(keys, clock, expires_at=clock.now() + timedelta(seconds=1))
    assert await book.find(key) is not None
    clock.advance(1)
    with pytest.raises(AuthenticationFailed, match="expired"):
        await book.find(key)


async def test_a_database_that_is_away_is_told_and_opens_nothing(
    book: KeyBook, keys: Counting, clock: ManualClock
) -> None:
    key = await made(keys, clock)
    keys.down = True
    with pytest.raises(Unavailable):
        await book.find(key)


async def test_a_use_that_cannot_be_noted_refuses_nobody(book: KeyBook, keys: Counting, clock: ManualClock) -> None:
    key = await made(keys, clock)
    keys.read_only = True
    assert await book.find(key) is not None


async def test_what_is_remembered_is_bounded(book: KeyBook, keys: Counting, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agents.access.key_book._MOST", 3)
    for _ in range(10):
        assert await book.find(new_api_key(new_id("apikey"))) is None
    assert len(book._known) == 3


async def test_whether_there_are_keys_is_asked_until_there_is_one(
    book: KeyBook, keys: Counting, clock: ManualClock
) -> None:
    assert not await book.exist()
    await made(keys, clock)
    assert not await book.exist()  # within the time it is trusted for
    clock.advance(2)
    assert await book.exist()
