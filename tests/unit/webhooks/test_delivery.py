"""Webhooks against a real server: signed by the specification, tried again, bounded, guarded, lost by no restart."""

from __future__ import annotations

import asyncio
import base64
import hmac
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from ipaddress import ip_network
from typing import Any

import orjson
import pytest
from anthropic import Anthropic
from pydantic import SecretStr, TypeAdapter, ValidationError

from agents.clock import Clock, ManualClock, SystemClock
from agents.errors import Unavailable
from agents.governance.audit.entries import SYSTEM, AuditEntry
from agents.net.guard import Guard
from agents.store.webhooks import MemoryOutbox
from agents.webhooks.delivery import DeliveryLimits, Webhooks
from agents.webhooks.endpoint import Endpoint, SigningSecret, WebhookUrl, signed_headers
from agents.webhooks.outbox import Delivery
from tests.unit.waiting import until

SECRET = "whsec_" + base64.b64encode(bytes(range(32))).decode()
LOOPBACK = Guard((ip_network("127.0.0.0/8"),))
EVENT = {"type": "anomaly.detected", "id": "anom_1", "kind": "loop"}


@dataclass
class Receiver:
    """Answers POSTs with the next of its statuses, the last one again and again."""

    statuses: Sequence[int]
    url: str = ""
    got: list[tuple[dict[str, str], bytes]] = field(default_factory=list)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        headers = dict(line.lower().split(": ", 1) for line in head.split("\r\n")[1:] if line)
        # What is signed is case-sensitive.
        signature = next(line for line in head.split("\r\n") if line.lower().startswith("webhook-signature"))
        headers["webhook-signature"] = signature.split(": ", 1)[1]
        headers["webhook-id"] = next(
            line.split(": ", 1)[1] for line in head.split("\r\n") if line.lower().startswith("webhook-id")
        )
        body = await reader.readexactly(int(headers["content-length"]))
        status = self.statuses[min(len(self.got), len(self.statuses) - 1)]
        self.got.append((headers, body))
        writer.write(f"HTTP/1.1 {status} X\r\nLocation: {self.url}\r\nContent-Length: 0\r\n\r\n".encode())
        await writer.drain()
        writer.close()


@asynccontextmanager
async def receiving(*statuses: int) -> AsyncIterator[Receiver]:
    receiver = Receiver(statuses)
    async with await asyncio.start_server(receiver.serve, "127.0.0.1", 0) as server:
        receiver.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/hook"
        yield receiver


class Noted(MemoryOutbox):
    """Notes what becomes of messages."""

    def __init__(self) -> None:
        self.acts: list[AuditEntry] = []
        super().__init__(self.acts.append)
        self.done: list[Delivery] = []
        self.lost: list[Delivery] = []

    async def delivered(self, delivery: Delivery) -> None:
        await super().delivered(delivery)
        self.done.append(delivery)

    async def give_up(self, delivery: Delivery, **given: Any) -> bool:
        disabled = await super().give_up(delivery, **given)
        self.lost.append(delivery)
        return disabled


@asynccontextmanager
async def sending(
    *urls: str, outbox: MemoryOutbox, guard: Guard = LOOPBACK, clock: Clock | None = None, **limits: Any
) -> AsyncIterator[Webhooks]:
    endpoints = [Endpoint(f"hook-{number}", url, SecretStr(SECRET)) for number, url in enumerate(urls)]
    given = DeliveryLimits(**{"waits": (0.01, 0.01), "look_seconds": 0.01, **limits})
    webhooks = Webhooks(endpoints, outbox, guard, clock or SystemClock(), given)
    webhooks.start()
    try:
        yield webhooks
    finally:
        await webhooks.close()


@pytest.fixture
def outbox() -> Noted:
    return Noted()


async def test_what_is_sent_is_signed_for_its_receiver(outbox: Noted) -> None:
    async with receiving(204) as receiver, sending(receiver.url, outbox=outbox) as webhooks:
        await webhooks.send("wevt_1", EVENT)
        await until(lambda: outbox.done)
    [(headers, body)] = receiver.got
    event = Anthropic(api_key="x").beta.webhooks.parse_unverified(body.decode())
    assert (event.type, event.id, headers["webhook-id"]) == ("event", "wevt_1", "wevt_1")
    assert event.created_at.timestamp() == pytest.approx(int(headers["webhook-timestamp"]), abs=60)
    assert orjson.loads(body)["data"] == EVENT
    signed = f"wevt_1.{headers['webhook-timestamp']}.{body.decode()}".encode()
    digest = hmac.digest(base64.b64decode(SECRET.removeprefix("whsec_")), signed, "sha256")
    assert headers["webhook-signature"] == f"v1,{base64.b64encode(digest).decode()}"


def test_the_signature_is_that_of_the_specification() -> None:
    """The example of the Standard Webhooks specification."""
    headers = signed_headers(
        SecretStr("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"),
        "msg_p5jXN8AQM9LWM0D4loKWxJek",
        1614265330,
        b'{"test": 2432232314}',
    )
    assert headers["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


@pytest.mark.parametrize("status", [500, 404, 302])
async def test_a_message_that_is_not_taken_is_sent_again_under_its_id(status: int, outbox: Noted) -> None:
    async with receiving(status, 204) as receiver, sending(receiver.url, outbox=outbox) as webhooks:
        await webhooks.send("wevt_1", EVENT)
        await until(lambda: outbox.done)
    assert [headers["webhook-id"] for headers, _ in receiver.got] == ["wevt_1"] * 2


async def test_a_message_is_given_up_after_the_last_attempt(outbox: Noted) -> None:
    async with receiving(500) as receiver, sending(receiver.url, outbox=outbox) as webhooks:
        await webhooks.send("wevt_1", EVENT)
        await until(lambda: outbox.lost)
    assert len(receiver.got) == 3
    assert outbox.acts == []


async def test_a_process_that_dies_in_its_last_attempt_leaves_none_to_be_made(outbox: Noted) -> None:
    clock = ManualClock()
    await outbox.add("wevt_1", "{}", ["hook-0"], now=clock.now(), most=1, expired=clock.now())
    for _ in range(3):
        assert await outbox.take({"hook-0": 1}, now=clock.now(), until=clock.now())
    async with receiving(204) as receiver, sending(receiver.url, outbox=outbox, clock=clock):
        await until(lambda: outbox.lost)
    assert receiver.got == []


async def test_what_one_process_has_not_delivered_the_next_one_does(outbox: Noted) -> None:
    clock = ManualClock()
    gate = asyncio.Event()

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        gate.set()
        await reader.read()
        writer.close()

    async with await asyncio.start_server(silent, "127.0.0.1", 0) as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        async with sending(url, outbox=outbox, clock=clock) as webhooks:
            await webhooks.send("wevt_1", EVENT)
            await gate.wait()
    clock.advance(60)
    async with receiving(204) as receiver, sending(receiver.url, outbox=outbox, clock=clock):
        await until(lambda: outbox.done)
    [(headers, body)] = receiver.got
    assert (headers["webhook-id"], orjson.loads(body)["data"]) == ("wevt_1", EVENT)


async def test_an_endpoint_that_takes_nothing_is_disabled_and_the_trail_says_so(
    outbox: Noted, caplog: pytest.LogCaptureFixture
) -> None:
    async with receiving(500) as receiver, sending(receiver.url, outbox=outbox, patience=2) as webhooks:
        for number in range(2):
            await webhooks.send(f"wevt_{number}", EVENT)
        await until(lambda: outbox.acts)
        await webhooks.send("wevt_2", EVENT)
    assert len(receiver.got) == 6
    [act] = outbox.acts
    assert (act.actor, act.action, act.object) == (SYSTEM, "disableWebhook", "hook-0")
    assert act.detail["reason"] == "status 500"
    assert "wevt_2 is dropped" in caplog.text


async def test_what_a_receiver_says_goes_into_the_trail_only_so_far(outbox: Noted) -> None:
    async def babbling(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"x" * 5000 + b"\r\n\r\n")
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(babbling, "127.0.0.1", 0) as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        async with sending(url, outbox=outbox, patience=1) as webhooks:
            await webhooks.send("wevt_1", EVENT)
            await until(lambda: outbox.acts)
    [act] = outbox.acts
    assert act.detail["reason"].startswith("RemoteProtocolError: ")
    assert len(act.detail["reason"]) == 200


async def test_a_receiver_that_is_gone_is_disabled_at_once(outbox: Noted) -> None:
    async with receiving(410) as receiver, sending(receiver.url, outbox=outbox) as webhooks:
        await webhooks.send("wevt_1", EVENT)
        await until(lambda: outbox.acts)
    assert len(receiver.got) == 1


async def test_one_that_does_not_answer_holds_up_no_other(outbox: Noted) -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    async with (
        await asyncio.start_server(silent, "127.0.0.1", 0) as server,
        receiving(204) as receiver,
        sending(
            f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/", receiver.url, outbox=outbox, at_once=1
        ) as webhooks,
    ):
        for number in range(3):
            await webhooks.send(f"wevt_{number}", EVENT)
        await until(lambda: len(outbox.done) == 3)
        assert outbox.lost == []


async def test_an_attempt_ends_when_its_time_is_up(outbox: Noted) -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    async with await asyncio.start_server(silent, "127.0.0.1", 0) as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        async with sending(url, outbox=outbox, attempt_seconds=0.02) as webhooks:
            await webhooks.send("wevt_1", EVENT)
            await until(lambda: outbox.lost)


async def test_a_database_that_is_away_is_asked_again(outbox: Noted, monkeypatch: pytest.MonkeyPatch) -> None:
    failures = [Unavailable("away"), Unavailable("away")]
    take = outbox.take

    async def flaky(*given: Any, **more: Any) -> Sequence[Delivery]:
        if failures:
            raise failures.pop()
        return await take(*given, **more)

    monkeypatch.setattr(outbox, "take", flaky)
    async with receiving(204) as receiver, sending(receiver.url, outbox=outbox) as webhooks:
        await webhooks.send("wevt_1", EVENT)
        await until(lambda: outbox.done)
    assert len(receiver.got) == 1


async def test_a_private_network_is_not_posted_to(outbox: Noted, caplog: pytest.LogCaptureFixture) -> None:
    async with receiving(204) as receiver, sending(receiver.url, outbox=outbox, guard=Guard()) as webhooks:
        await webhooks.send("wevt_1", EVENT)
        await until(lambda: outbox.lost)
    assert receiver.got == []
    assert "does not connect to (loopback)" in caplog.text


async def test_neither_the_path_nor_the_secret_is_told(outbox: Noted, caplog: pytest.LogCaptureFixture) -> None:
    async with receiving(500) as receiver, sending(receiver.url, outbox=outbox, patience=1) as webhooks:
        await webhooks.send("wevt_1", EVENT)
        await until(lambda: outbox.lost)
    for told in (caplog.text, repr(outbox.acts)):
        assert "wevt_1" in told or "disableWebhook" in told
        assert "/hook" not in told
        assert SECRET not in told


@pytest.mark.parametrize("secret", ["", "whsec_", "whsec_c2hvcnQ=", "whsec_***", SECRET.removeprefix("whsec_")])
def test_a_weak_secret_is_refused_and_not_told(secret: str) -> None:
    with pytest.raises(ValidationError) as refused:
        TypeAdapter(SigningSecret).validate_python(secret)
    assert "must be whsec_" in str(refused.value)


@pytest.mark.parametrize("url", ["", "ftp://x/", "https://user:pass@x/", "x"])
def test_what_is_no_url_of_a_server_is_refused(url: str) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(WebhookUrl).validate_python(url)
