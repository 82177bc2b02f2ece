"""What deployments keep of resources that have a token: sealed, given to sessions, never shown."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from agents.catalog.resources import ResourceOwner, Resources, StoredResource, stored_resource
from agents.deployments.records import DeploymentRecord
from agents.deployments.resealing import reseal
from agents.deployments.resources import DeploymentResources, Kept, shown, without_tokens
from agents.errors import InvalidRequest
from agents.store.memory import MemoryStore
from agents.vaults.envelope import Envelope, KeyUnavailable
from agents.vaults.master_keys import HeldKeys
from tests.unit.vaults.stage import fresh_key

T0 = datetime(2026, 11, 22, tzinfo=UTC)
GIVEN: dict[str, Any] = {"type": "github_repository", "url": "https://github.com/o/r", "mount_path": None}
SECRET = "ghp_secret"
OWNER = ResourceOwner("", "default", "", self_hosted=False, now=T0)
BODY: dict[str, Any] = {"name": "d", "agent": {"id": "agent_1"}, "schedule": None}


class Repositories:
    """A kind that remembers what is attached."""

    most, self_hosted, addable = 1, False, False

    def __init__(self) -> None:
        self.attached: list[str] = []

    async def attach(self, where: str, given: Mapping[str, Any], owner: ResourceOwner) -> StoredResource:
        if not given["url"].startswith("https://"):
            raise InvalidRequest(f"{where}.url: must be https")
        made = stored_resource({"type": given["type"], "session": owner.session_id})
        self.attached.append(made["id"])
        return made

    async def changed(self, stored: StoredResource, change: Mapping[str, Any], owner: ResourceOwner) -> StoredResource:
        raise NotImplementedError

    async def detach(self, stored: StoredResource) -> None:
        self.attached.remove(stored["id"])


def resources(envelope: Envelope, kind: Repositories | None = None) -> DeploymentResources:
    return DeploymentResources(Resources({"github_repository": kind or Repositories()}), envelope)


@pytest.fixture
def envelope() -> Envelope:
    return Envelope(HeldKeys(fresh_key()))


async def kept(envelope: Envelope, **fields: Any) -> list[Kept]:
    return await resources(envelope).kept("depl_1", [{**GIVEN, **fields}], OWNER)


async def test_a_token_is_kept_sealed_and_given_to_sessions(envelope: Envelope) -> None:
    stored = await kept(envelope, authorization_token=SECRET)
    wire = {"type": "github_repository", "url": GIVEN["url"]}
    assert shown(stored) == [wire]
    assert SECRET not in repr(stored)
    assert await resources(envelope).given("depl_1", stored) == [{**wire, "authorization_token": SECRET}]
    assert without_tokens(stored) == await kept(envelope) == [{"wire": wire}]


async def test_a_token_fits_no_other_deployment(envelope: Envelope) -> None:
    stored = await kept(envelope, authorization_token=SECRET)
    with pytest.raises(KeyUnavailable):
        await resources(envelope).given("depl_2", stored)


async def test_what_no_session_would_take_is_refused_and_nothing_stays_attached(envelope: Envelope) -> None:
    kind = Repositories()
    every = resources(envelope, kind)
    await every.kept("depl_1", [GIVEN], OWNER)
    for given, field in (([GIVEN, GIVEN], "resources[1].type"), ([{**GIVEN, "url": "ftp://x"}], "resources[0].url")):
        with pytest.raises(InvalidRequest) as refused:
            await every.kept("depl_1", given, OWNER)
        assert refused.value.message.startswith(field)
    assert kind.attached == []


async def test_a_new_master_key_takes_tokens_along() -> None:
    old, new = fresh_key(), fresh_key()
    stored = await kept(Envelope(HeldKeys(old)), authorization_token=SECRET)
    store, both = MemoryStore(), Envelope(HeldKeys({**new, **old}))
    for number in range(120):
        body = {**BODY, "resources": stored if number == 110 else []}
        name = "depl_1" if number == 110 else f"depl_x{number}"
        await store.deployments.insert(DeploymentRecord(name, "", body, T0, T0), most=1)
    before = await store.deployments.get("depl_1")
    assert await reseal(store.deployments, both) == ()
    after = await store.deployments.get("depl_1")
    assert replace(after, body=before.body) == before
    given = await resources(Envelope(HeldKeys(new))).given("depl_1", after.body["resources"])
    assert given[0]["authorization_token"] == SECRET
    assert await reseal(store.deployments, Envelope(HeldKeys(fresh_key()))) == ("depl_1",)
