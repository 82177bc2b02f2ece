"""Webhooks against a real server: signed by the specification, tried again, bounded, and guarded."""

from __future__ import annotations

import asyncio
import base64
import hmac
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from ipaddress import ip_network

import orjson
import pytest
from anthropic import Anthropic
from pydantic import SecretStr, TypeAdapter, ValidationError

from agents.clock import ManualClock, SystemClock
from agents.net.guard import Guard
from agents.webhooks.delivery import DeliveryLimits, Webhooks
from agents.webhooks.endpoint import Endpoint, SigningSecret, WebhookUrl, signed_headers
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


@asynccontextmanager
async def sending(*urls: str, guard: Guard = LOOPBACK, **limits: object) -> AsyncIterator[Webhooks]:
    endpoints = [Endpoint(f"hook-{number}", url, SecretStr(SECRET)) for number, url in enumerate(urls)]
    webhooks = Webhooks(endpoints, guard, SystemClock(), DeliveryLimits(**{"waits": (0.01, 0.01), **limits}))  # type: ignore[arg-type]
    webhooks.start()
    try:
        yield webhooks
    finally:
        await webhooks.close()


async def test_what_is_sent_is_signed_for_its_receiver() -> None:
    async with receiving(204) as receiver, sending(receiver.url) as webhooks:
        webhooks.send(EVENT)
        await until(lambda: webhooks.counts.delivered)
    [(headers, body)] = receiver.got
    event = Anthropic(api_key="x").beta.webhooks.parse_unverified(body.decode())
    assert (event.type, event.id) == ("event", headers["webhook-id"])
    assert event.created_at.timestamp() == pytest.approx(int(headers["webhook-timestamp"]), abs=60)
    assert orjson.loads(body)["data"] == EVENT
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.{body.decode()}".encode()
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
async def test_a_message_that_is_not_taken_is_sent_again_under_its_id(status: int) -> None:
    async with receiving(status, 204) as receiver, sending(receiver.url) as webhooks:
        webhooks.send(EVENT)
        await until(lambda: webhooks.counts.delivered)
    assert len({headers["webhook-id"] for headers, _ in receiver.got}) == 1
    assert len(receiver.got) == 2


async def test_a_message_is_given_up_after_the_last_attempt() -> None:
    async with receiving(500) as receiver, sending(receiver.url) as webhooks:
        webhooks.send(EVENT)
        await until(lambda: webhooks.counts.failed)
    assert len(receiver.got) == 3


async def test_a_receiver_that_is_gone_gets_nothing_more() -> None:
    async with receiving(410) as receiver, sending(receiver.url) as webhooks:
        webhooks.send(EVENT)
        await until(lambda: webhooks.counts.failed)
        webhooks.send(EVENT)
        assert webhooks.counts.dropped == 1
    assert len(receiver.got) == 1


async def test_one_that_does_not_answer_holds_up_no_other() -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    async with (
        await asyncio.start_server(silent, "127.0.0.1", 0) as server,
        receiving(204) as receiver,
        sending(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/", receiver.url) as webhooks,
    ):
        webhooks.send(EVENT)
        await until(lambda: webhooks.counts.delivered)
        assert webhooks.counts.failed == 0


async def test_an_attempt_ends_when_its_time_is_up() -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    async with await asyncio.start_server(silent, "127.0.0.1", 0) as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        async with sending(url, attempt_seconds=0.02) as webhooks:
            webhooks.send(EVENT)
            await until(lambda: webhooks.counts.failed)


async def test_what_does_not_fit_into_the_queue_is_dropped_and_what_is_left_has_failed() -> None:
    webhooks = Webhooks(
        [Endpoint("hook", "http://127.0.0.1:9/", SecretStr(SECRET))], LOOPBACK, ManualClock(), DeliveryLimits(queued=3)
    )
    for _ in range(5):
        webhooks.send(EVENT)
    await webhooks.close()
    assert (webhooks.counts.dropped, webhooks.counts.failed) == (2, 3)


async def test_a_private_network_is_not_posted_to(caplog: pytest.LogCaptureFixture) -> None:
    async with receiving(204) as receiver, sending(receiver.url, guard=Guard()) as webhooks:
        webhooks.send(EVENT)
        await until(lambda: webhooks.counts.failed)
    assert receiver.got == []
    assert "does not connect to (loopback)" in caplog.text


async def test_neither_the_path_nor_the_secret_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    async with receiving(500) as receiver, sending(receiver.url) as webhooks:
        webhooks.send(EVENT)
        await until(lambda: webhooks.counts.failed)
    assert "/hook" not in caplog.text
    assert SECRET not in caplog.text


@pytest.mark.parametrize("secret", ["", "whsec_", "whsec_c2hvcnQ=", "whsec_***", SECRET.removeprefix("whsec_")])
def test_a_weak_secret_is_refused_and_not_told(secret: str) -> None:
    with pytest.raises(ValidationError) as refused:
        TypeAdapter(SigningSecret).validate_python(secret)
    assert "must be whsec_" in str(refused.value)


@pytest.mark.parametrize("url", ["", "ftp://x/", "https://user:pass@x/", "x"])
def test_what_is_no_url_of_a_server_is_refused(url: str) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(WebhookUrl).validate_python(url)
