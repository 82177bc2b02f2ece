"""Repositories as resources of a session.

Bug class this catches: a token in what is shown or stored, a token that another session's row opens.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest

from agents.catalog.resources import ResourceOwner, mounts_of, resource_wire
from agents.clock import rfc3339
from agents.errors import InvalidRequest
from agents.hands.port import Mount
from agents.repositories.access import StoredRepositories
from agents.repositories.failures import RepositoryFailed
from agents.repositories.resource import RepositoryResources, source_in, token_in
from agents.repositories.source import RepositorySource
from agents.sessions.log import Commit
from agents.store.memory import MemoryStore
from agents.vaults.envelope import Envelope, KeyUnavailable
from agents.vaults.master_keys import HeldKeys
from tests.contract.store_records import claimed, session
from tests.unit.vaults.stage import fresh_key

NOW = datetime(2026, 11, 1, tzinfo=UTC)
OWNER = ResourceOwner("sesn_1", "default", "", False, NOW)
GIVEN: dict[str, Any] = {"type": "github_repository", "url": "https://github.com/owner/repo"}
TOKEN = "ghp_0123456789secret"


@pytest.fixture
def envelope() -> Envelope:
    return Envelope(HeldKeys(fresh_key()))


async def test_a_repository_is_shown_without_its_token_and_mounted_at_its_place(envelope: Envelope) -> None:
    checkout = {"type": "branch", "name": "dev"}
    given = {**GIVEN, "authorization_token": TOKEN, "checkout": checkout}
    stored = await RepositoryResources(envelope).attach("resources[0]", given, OWNER)
    assert resource_wire(stored) == {
        **GIVEN,
        "id": stored["id"],
        "checkout": checkout,
        "mount_path": "/workspace/repo",
        "created_at": rfc3339(NOW),
        "updated_at": rfc3339(NOW),
    }
    assert mounts_of([stored]) == (
        Mount("repository", stored["id"], "/workspace/repo", read_only=False, name=rfc3339(NOW)),
    )
    assert TOKEN not in orjson.dumps(stored).decode()
    again: dict[str, Any] = orjson.loads(orjson.dumps(stored))
    assert source_in(again) == RepositorySource(GIVEN["url"], branch="dev")
    token = await token_in(again, "sesn_1", envelope)
    assert token is not None and token.get_secret_value() == TOKEN
    with pytest.raises(KeyUnavailable):
        await token_in(again, "sesn_2", envelope)


async def test_a_public_repository_needs_no_token(envelope: Envelope) -> None:
    stored = await RepositoryResources(envelope).attach("", GIVEN, OWNER)
    assert "private" not in stored and await token_in(stored, "sesn_1", envelope) is None


async def test_a_token_is_replaced_and_the_mount_is_another(envelope: Envelope) -> None:
    kind, later = RepositoryResources(envelope), NOW + timedelta(hours=1)
    stored = await kind.attach("", {**GIVEN, "authorization_token": "old"}, OWNER)
    changed = await kind.changed(stored, {"authorization_token": TOKEN}, replace(OWNER, now=later))
    token = await token_in(changed, "sesn_1", envelope)
    assert token is not None and token.get_secret_value() == TOKEN
    assert changed["wire"] == {**stored["wire"], "updated_at": rfc3339(later)}
    assert changed["mount"] == {**stored["mount"], "name": rfc3339(later)}


async def test_one_that_an_earlier_release_took_and_this_one_does_not_is_told_of(envelope: Envelope) -> None:
    stored = await RepositoryResources(envelope).attach("", {**GIVEN, "authorization_token": TOKEN}, OWNER)
    store = MemoryStore()
    record = session(resources=({**stored, "wire": {**stored["wire"], "url": "git://github.com/owner/repo"}},))
    await store.log.create(Commit(await claimed(store), 0, record))
    with pytest.raises(RepositoryFailed, match="not take it any more") as failed:
        await StoredRepositories(store.sessions, envelope).repository(record.id, stored["id"])
    assert failed.value.problem().type == "repository_clone_error"


@pytest.mark.parametrize("token", ["a b", "a\nb", "é", "x" * 9000])
async def test_a_token_that_no_header_can_carry_is_refused_and_not_told(envelope: Envelope, token: str) -> None:
    with pytest.raises(InvalidRequest, match=r"^resources\[0\]\.authorization_token: ") as refused:
        await RepositoryResources(envelope).attach("resources[0]", {**GIVEN, "authorization_token": token}, OWNER)
    assert token not in refused.value.message
