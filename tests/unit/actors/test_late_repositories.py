"""A sandbox host finds a session's repository, and its token, in the platform's store."""

from __future__ import annotations

from base64 import b64encode
from datetime import UTC, datetime
from pathlib import Path

import pytest

from actors.late_repositories import LateRepositories
from actors.late_store import LateStore
from agents.catalog.resources import ResourceOwner
from agents.config import Settings
from agents.errors import NotFound
from agents.repositories.failures import RepositoryFailed
from agents.repositories.resource import RepositoryResources
from agents.sessions.log import Commit
from agents.store.database import open_store
from agents.vaults.envelope import Envelope
from agents.vaults.master_keys import master_keys
from tests.contract.store_records import claimed, session

GIVEN = {"type": "github_repository", "url": "https://github.com/owner/repo", "authorization_token": "ghp_secret"}


def settings(data_dir: Path, byte: bytes) -> Settings:
    vaults = {"master_key": b64encode(byte * 32).decode()}
    given = {"data_dir": data_dir, "host": "0.0.0.0", "vaults": vaults, "harness": {"partitions": 1}}
    return Settings.model_validate(given)


@pytest.fixture(autouse=True)
def one_node(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("actors.database.ray.nodes", lambda: [])


async def test_a_host_opens_the_store_when_it_needs_a_repository(tmp_path: Path) -> None:
    used = settings(tmp_path, b"k")
    kind = RepositoryResources(Envelope(master_keys(used)))
    record = session()
    owner = ResourceOwner(record.id, "default", "", self_hosted=False, now=datetime.now(UTC))
    stored = await kind.attach("resources[0]", GIVEN, owner)
    store = await open_store(used.data_dir / "hecaton.db")
    lease = await claimed(store)
    await store.log.create(Commit(lease, 0, session(id=record.id, resources=(stored,))))
    await store.close()

    late = LateStore(used)
    repositories = LateRepositories(late)
    source, token = await repositories.repository(record.id, stored["id"])
    assert source.url == GIVEN["url"] and token is not None and token.get_secret_value() == "ghp_secret"
    with pytest.raises(NotFound):
        await repositories.repository(record.id, "sesrsc_none")
    await late.close()

    other = LateStore(settings(tmp_path, b"o"))
    with pytest.raises(RepositoryFailed) as failed:
        await LateRepositories(other).repository(record.id, stored["id"])
    assert (failed.value.reason, failed.value.url) == ("authentication", GIVEN["url"])
    await other.close()
