"""Registered endpoints, from the change to the SDK's check of the signature."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from anthropic import Anthropic
from pydantic import SecretStr

from agents.clock import ManualClock, SystemClock
from agents.errors import Unavailable
from agents.store.memory import MemoryStore
from agents.store.ports import AgentRecord
from agents.vaults.envelope import Envelope
from agents.vaults.master_keys import HeldKeys
from agents.vaults.secrets import sealed_anew
from agents.vaults.settings import key_id
from agents.webhooks.delivery import REGISTERED, DeliveryLimits, Webhooks
from agents.webhooks.endpoint import new_secret, secret_bytes
from agents.webhooks.registered import RegisteredEndpoints
from agents.webhooks.registrations import SECRET_FIELD, Registration, endpoint_place
from agents.webhooks.resealing import reseal
from tests.unit.waiting import until
from tests.unit.webhooks.test_delivery import LOOPBACK, Receiver, receiving

T0 = datetime(2026, 11, 22, tzinfo=UTC)
CLOCK = SystemClock()
QUICK = replace(REGISTERED, waits=(0.01, 0.01), look_seconds=0.01)
NAME = "whk_1"


def fresh_key() -> Mapping[str, bytes]:
    key = os.urandom(32)
    return {key_id(key): key}


async def register(store: MemoryStore, envelope: Envelope, url: str, **changes: Any) -> SecretStr:
    secret = new_secret()
    sealed = await sealed_anew(envelope, endpoint_place(NAME), {SECRET_FIELD: secret})
    registration = Registration(NAME, "default", url, sealed, T0)
    await store.webhook_registrations.insert(replace(registration, **changes), most=10)
    return secret


async def make_agents(store: MemoryStore, *numbers: int) -> None:
    for number in numbers:
        now = CLOCK.now()  # what is older than a week is not told
        await store.agents.insert(AgentRecord(f"agent_{number}", 1, {"name": "a"}, now, now))


@asynccontextmanager
async def delivering(
    store: MemoryStore, envelope: Envelope, limits: DeliveryLimits = QUICK
) -> AsyncIterator[list[str]]:
    """Deliver as a harness does; yields how attempts ended."""
    told: list[str] = []
    endpoints = RegisteredEndpoints(store.webhook_registrations, envelope, CLOCK)
    webhooks = Webhooks((), store.webhooks, LOOPBACK, CLOCK, limits, registered=endpoints, told=told.append)
    webhooks.start()
    try:
        yield told
    finally:
        await webhooks.close()


def ids_of(receiver: Receiver) -> Sequence[str]:
    return [headers["webhook-id"] for headers, _ in receiver.got]


@pytest.fixture
def envelope() -> Envelope:
    return Envelope(HeldKeys(fresh_key()))


async def test_the_sdk_verifies_what_a_change_of_the_catalog_tells(envelope: Envelope) -> None:
    store = MemoryStore()
    async with receiving(204) as receiver:
        secret = await register(store, envelope, receiver.url)
        await make_agents(store, 1)
        async with delivering(store, envelope) as told:
            await until(lambda: told)
    [(headers, body)] = receiver.got
    key = secret.get_secret_value()
    event = Anthropic(api_key="x").beta.webhooks.unwrap(body.decode(), headers=headers, key=key)
    assert (event.id, event.data.type, event.data.id) == (headers["webhook-id"], "agent.created", "agent_1")
    assert told == ["ok"]


async def test_a_message_is_tried_three_times(envelope: Envelope) -> None:
    store = MemoryStore()
    async with receiving(500, 500, 500, 204) as receiver:
        await register(store, envelope, receiver.url)
        await make_agents(store, 1)
        async with delivering(store, envelope) as told:
            await until(lambda: len(told) == 3)
            await make_agents(store, 2)
            await until(lambda: len(told) == 4)
    first, *others = ids_of(receiver)
    assert others[:2] == [first, first] and others[2] != first
    assert (await store.webhook_registrations.get(NAME)).disabled_at is None


def test_the_waits_are_those_of_the_hosted_service() -> None:
    most = [wait * (1 + REGISTERED.jitter) for wait in REGISTERED.waits]
    assert (len(REGISTERED.waits), min(REGISTERED.waits), max(most)) == (2, 5, 120)


@pytest.mark.parametrize("status", [301, 302, 307, 308, 410])
async def test_an_answer_that_leads_elsewhere_disables_at_once(envelope: Envelope, status: int) -> None:
    store = MemoryStore()
    async with receiving(status) as receiver:
        await register(store, envelope, receiver.url)
        await make_agents(store, 1, 2, 3)
        async with delivering(store, envelope, replace(QUICK, at_once=1)) as told:
            await until(lambda: told)
    assert len(receiver.got) == 1
    found = await store.webhook_registrations.get(NAME)
    assert found.disabled_at is not None and found.disabled_reason == f"status {status}"


async def test_one_that_never_answers_is_disabled_in_the_end(envelope: Envelope) -> None:
    store = MemoryStore()
    async with receiving(500) as receiver:
        await register(store, envelope, receiver.url)
        await make_agents(store, 1, 2)
        async with delivering(store, envelope, replace(QUICK, patience=2)) as told:
            await until(lambda: len(told) == 6)
    assert (await store.webhook_registrations.get(NAME)).disabled_reason == "status 500"


async def test_too_much_that_waits_is_dropped_oldest_first(envelope: Envelope) -> None:
    store = MemoryStore()
    async with receiving(204) as receiver:
        await register(store, envelope, receiver.url)
        await make_agents(store, 1, 2, 3)
        async with delivering(store, envelope, replace(QUICK, queued=1)) as told:
            await until(lambda: told)
    assert [b"agent_3" in body for _, body in receiver.got] == [True]


async def test_endpoints_are_read_again_and_secrets_opened_once(envelope: Envelope) -> None:
    store, clock = MemoryStore(), ManualClock()
    endpoints = RegisteredEndpoints(store.webhook_registrations, envelope, clock)
    assert await endpoints() == []
    secret = await register(store, envelope, "https://h/")
    assert await endpoints() == []
    clock.advance(6)
    [found] = await endpoints()
    assert (found.name, found.url, found.secret) == (NAME, "https://h/", secret)
    clock.advance(6)
    assert (await endpoints())[0] is found


async def test_a_secret_that_cannot_be_opened_holds_up_no_other(
    envelope: Envelope, caplog: pytest.LogCaptureFixture
) -> None:
    store, clock = MemoryStore(), ManualClock()
    await register(store, Envelope(HeldKeys(fresh_key())), "https://h/")
    endpoints = RegisteredEndpoints(store.webhook_registrations, envelope, clock)
    assert await endpoints() == []
    clock.advance(6)
    assert await endpoints() == []
    assert caplog.text.count("its secret cannot be opened") == 1


async def test_what_waits_for_one_whose_secret_cannot_be_opened_is_bounded_too(
    envelope: Envelope, caplog: pytest.LogCaptureFixture
) -> None:
    store = MemoryStore()
    await register(store, Envelope(HeldKeys(fresh_key())), "https://h/")
    await make_agents(store, 1, 2, 3)
    async with delivering(store, envelope, replace(QUICK, queued=1)):
        await until(lambda: "its 2 oldest messages are dropped" in caplog.text)
    [left] = await store.webhooks.take({NAME: 10}, now=CLOCK.now(), until=CLOCK.now())
    assert "agent_3" in left.body


async def test_a_store_that_is_away_is_told() -> None:
    class Away:
        async def list(self, query: Any) -> Any:
            raise Unavailable("away")

    endpoints = RegisteredEndpoints(Away(), Envelope(HeldKeys(fresh_key())), ManualClock())  # type: ignore[arg-type]
    with pytest.raises(Unavailable):
        await endpoints()


async def test_a_new_master_key_takes_the_secrets_along() -> None:
    store, old, new = MemoryStore(), fresh_key(), fresh_key()
    secret = await register(store, Envelope(HeldKeys(old)), "https://h/")
    assert await reseal(store.webhook_registrations, Envelope(HeldKeys({**new, **old}))) == ()
    only_new = Envelope(HeldKeys(new))
    [found] = await RegisteredEndpoints(store.webhook_registrations, only_new, ManualClock())()
    assert found.secret == secret
    assert await reseal(store.webhook_registrations, Envelope(HeldKeys(fresh_key()))) == (NAME,)


def test_a_fresh_secret_is_a_good_one_and_another_each_time() -> None:
    one, other = new_secret(), new_secret()
    assert len(secret_bytes(one)) == 32 and one != other
