"""What surrounds every request: ids, envelopes, keys, bounds, unknown paths, the platform's own paths."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest
from api_fakes import Server, refusal

from agents.access.key_book import KeyBook
from agents.api.auth import Keyring
from agents.api.edge import Edge
from agents.api.http_metrics import HttpMetrics
from agents.api.peers import PeerGuard, guard_for, is_loopback, own_addresses
from agents.api.rate_limits import RateLimits
from agents.api.secure_headers import SecureHeaders
from agents.api.streamed_bodies import StreamedBodies
from agents.api.worker_gate import WorkerGate
from agents.clock import ManualClock, SystemClock
from agents.config import GatewaySettings, Settings
from agents.errors import Conflict, Fenced, HecatonError, Overloaded, RateLimited, Unavailable
from agents.files.settings import FileSettings
from agents.store.memory import MemoryStore
from agents.telemetry.recorder import SilentRecorder


def bare_edge(app: Any, guard: PeerGuard | None = None) -> Edge:
    limits = RateLimits(GatewaySettings(), ManualClock())
    return Edge(
        app,
        keys=Keyring({}, KeyBook(MemoryStore().api_keys, ManualClock(), seconds=1)),
        max_body_bytes=1024,
        streamed=StreamedBodies([], FileSettings()),
        max_ongoing_requests=1,
        share=1.0,
        limits=limits,
        guard=guard,
        gate=WorkerGate([], MemoryStore(), SystemClock()),
        headers=SecureHeaders(hsts_seconds=0),
        metrics=HttpMetrics(SilentRecorder(), SystemClock()),
    )


async def test_every_answer_carries_a_fresh_request_id(server: Server) -> None:
    ids = {(await server.client.get(path)).headers["request-id"] for path in ("/v1/agents", "/-/healthz", "/nowhere")}
    assert len(ids) == 3
    assert all(each.startswith("req_") for each in ids)


async def test_an_unknown_path_and_a_wrong_method_have_envelopes(server: Server) -> None:
    refusal(await server.client.get("/v1/nothing"), 404, "not_found_error")
    refusal(await server.client.get("/v1/agents/"), 404, "not_found_error")
    wrong = await server.client.put("/v1/agents")
    refusal(wrong, 405)
    assert wrong.headers["allow"] == "GET, POST"


@pytest.mark.parametrize(
    ("path", "what"),
    [("/v1/messages/batches", "batches"), ("/v1/dreams", "dreams"), ("/v1/workflow_runs/wrun_1", "workflow runs")],
)
async def test_parts_of_the_api_that_are_left_out_say_so(server: Server, path: str, what: str) -> None:
    answer = await server.client.get(path)
    assert f"{what} are not available on this server" in refusal(answer, 404, "not_found_error")


async def test_without_a_configured_key_any_or_none_is_accepted(server: Server) -> None:
    assert (await server.client.get("/v1/agents")).status_code == 200
    assert (await server.client.get("/v1/agents", headers={"x-api-key": "whatever"})).status_code == 200


@pytest.mark.parametrize(
    "headers", [{"authorization": "Bearer k1"}, {"authorization": "bearer k1"}, {"x-api-key": "k1"}]
)
async def test_a_key_is_taken_from_either_header(make_server: Any, headers: dict[str, str]) -> None:
    server = await make_server(api_key="k1")
    assert (await server.client.get("/v1/agents", headers=headers)).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [{}, {"authorization": "Bearer k2"}, {"x-api-key": "k"}, {"authorization": "Basic k1"}, {"x-api-key": ""}],
)
async def test_a_missing_or_wrong_key_is_401(make_server: Any, headers: dict[str, str]) -> None:
    server = await make_server(api_key="k1")
    refusal(await server.client.get("/v1/agents", headers=headers), 401, "authentication_error")
    refusal(await server.client.get("/v1/unknown", headers=headers), 401, "authentication_error")


@pytest.mark.parametrize("path", ["/metrics", "/-/healthz", "/-/readyz", "/openapi.json"])
async def test_the_platforms_own_paths_need_no_key(make_server: Any, path: str) -> None:
    server = await make_server(api_key="k1")
    assert (await server.client.get(path)).status_code == 200


async def test_readiness_is_503_while_a_part_is_not_ready(server: Server) -> None:
    server.readiness = {"ready": False, "store": "down"}
    answer = await server.client.get("/-/readyz")
    assert (answer.status_code, answer.json()) == (503, server.readiness)


async def test_metrics_are_rendered_as_text(server: Server) -> None:
    answer = await server.client.get("/metrics")
    assert answer.text == "hecaton_up 1\n"
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")


async def test_a_declared_body_over_the_cap_is_413_before_it_is_read(make_server: Any) -> None:
    server = await make_server(gateway={"max_body_bytes": 1024})
    answer = await server.client.post("/v1/agents", content=b"x" * 1025)
    refusal(answer, 413, "request_too_large")


async def test_an_undeclared_body_is_cut_off_as_soon_as_it_is_too_large(make_server: Any) -> None:
    server = await make_server(gateway={"max_body_bytes": 1024})
    taken = 0

    async def endless() -> Any:
        nonlocal taken
        for taken in range(1, 1000):  # noqa: B007
            yield b"x" * 512

    answer = await server.client.post("/v1/agents", content=endless())
    refusal(answer, 413, "request_too_large")
    assert taken == 3


@pytest.mark.parametrize(
    ("failure", "status", "kind", "headers"),
    [
        (Conflict("gone"), 409, "conflict_error", {"x-should-retry": "false"}),
        (RateLimited("full", retry_after=2.2), 429, "rate_limit_error", {"retry-after": "3"}),
        (Overloaded("full"), 529, "overloaded_error", {"retry-after": "1"}),
        (Unavailable("moving", retry_after=0.1), 503, "api_error", {"retry-after": "1"}),
        (Fenced("stale epoch 7"), 503, "api_error", {"retry-after": "1"}),
    ],
)
async def test_errors_steer_the_clients_retries(
    server: Server, failure: HecatonError, status: int, kind: str, headers: dict[str, str]
) -> None:
    session = await server.session()
    server.host.failure = failure
    answer = await server.client.post(f"/v1/sessions/{session['id']}/events", json={"events": [message()]})
    text = refusal(answer, status, kind)
    assert headers.items() <= dict(answer.headers).items()
    assert "epoch" not in text


def message() -> dict[str, Any]:
    return {"type": "user.message", "content": [{"type": "text", "text": "hi"}]}


@pytest.mark.parametrize("failure", [HecatonError("the secret of the house"), RuntimeError("the secret of the house")])
async def test_what_was_not_expected_is_logged_once_and_told_to_no_one(
    server: Server, failure: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    session = await server.session()
    server.host.failure = failure  # type: ignore[assignment]
    with caplog.at_level(logging.ERROR):
        answer = await server.client.post(f"/v1/sessions/{session['id']}/events", json={"events": [message()]})
    assert "secret" not in refusal(answer, 500, "api_error")
    records = [record for record in caplog.records if record.name.startswith("agents.api")]
    assert len(records) == 1
    assert answer.headers["request-id"] in records[0].getMessage()


async def test_details_carry_the_error_code(server: Server) -> None:
    answer = await server.client.post("/v1/environments", json={"name": "e", "metadata": {"k": "v" * 513}})
    refusal(answer, 400)
    assert answer.json()["error"]["details"] == {"error_code": "invalid_metadata"}


async def test_an_unknown_beta_and_query_parameters_are_ignored(server: Server) -> None:
    answer = await server.client.get("/v1/agents?beta=true&x=1", headers={"anthropic-beta": "no-such-beta"})
    assert answer.status_code == 200


async def test_a_client_that_leaves_before_its_body_came_is_no_error(caplog: pytest.LogCaptureFixture) -> None:
    server = Server(Settings())
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": "POST",
        "path": "/v1/agents",
        "raw_path": b"/v1/agents",
        "query_string": b"",
        "headers": [],
        "client": ("127.0.0.1", 1),
        "root_path": "",
    }
    await server.app(scope, receive, send)
    await server.client.aclose()
    assert sent == []
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


async def test_a_body_that_never_comes_is_answered_408(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agents.api.edge._BODY_SECONDS", 0.01)
    sent: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()

    async def never() -> Any:
        await asyncio.Event().wait()

    async def send(message: Any) -> None:
        sent.append(message)

    edge = bare_edge(app)
    await edge({"type": "http", "method": "POST", "path": "/", "headers": []}, never, send)
    assert sent[0]["status"] == 408


def test_only_this_machines_own_peers_are_admitted() -> None:
    guard = PeerGuard(ManualClock(), lambda: frozenset({"10.0.0.5", "fe80::1"}))
    assert guard.admits(("127.0.0.1", 1))
    assert guard.admits(("127.9.9.9", 1))
    assert guard.admits(("::1", 1))
    assert guard.admits(("10.0.0.5", 1))
    assert guard.admits(("::ffff:10.0.0.5", 1))
    assert guard.admits(("fe80::1%eth0", 1))
    assert not guard.admits(("10.0.0.6", 1))
    assert not guard.admits(("", 0))
    assert not guard.admits(None)


def test_the_machines_addresses_are_listed_again_after_a_while() -> None:
    clock, addresses = ManualClock(), {"10.0.0.5"}
    guard = PeerGuard(clock, lambda: frozenset(addresses))
    assert not guard.admits(("10.0.0.6", 1))
    addresses.add("10.0.0.6")
    assert not guard.admits(("10.0.0.6", 1))
    clock.advance(31)
    assert guard.admits(("10.0.0.6", 1))


def test_the_guard_stands_only_while_the_host_is_loopback_behind_the_fast_proxy() -> None:
    clock = ManualClock()
    assert guard_for(Settings(host="127.0.0.1", proxy="haproxy"), clock) is not None
    assert guard_for(Settings(host="localhost", proxy="haproxy"), clock) is not None
    assert guard_for(Settings(host="127.0.0.1", proxy="direct"), clock) is None
    assert guard_for(Settings(host="0.0.0.0", proxy="haproxy"), clock) is None
    assert not is_loopback("example.com")


def test_own_addresses_hold_the_loopback() -> None:
    assert "127.0.0.1" in own_addresses()


async def test_a_foreign_peer_is_refused_with_403() -> None:
    sent: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        raise AssertionError("must not be reached")

    async def receive() -> Any:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    guard = PeerGuard(ManualClock(), frozenset)
    edge = bare_edge(app, guard)
    scope = {"type": "http", "method": "GET", "path": "/-/healthz", "headers": [], "client": ("203.0.113.9", 5)}
    await edge(scope, receive, send)
    assert sent[0]["status"] == 403


async def test_requests_above_the_bound_are_refused_at_once_and_probes_are_not(make_server: Any) -> None:
    server = await make_server(gateway={"max_ongoing_requests": 1})
    session = await server.session()
    entered, go_on = asyncio.Event(), asyncio.Event()

    async def slow(*_: Any, **__: Any) -> list[Any]:
        entered.set()
        await go_on.wait()
        return []

    server.host.send = slow
    path = f"/v1/sessions/{session['id']}/events"
    first = asyncio.create_task(server.client.post(path, json={"events": [message()]}))
    async with asyncio.timeout(5):
        await entered.wait()
    refused = await server.client.get("/v1/agents")
    refusal(refused, 529, "overloaded_error")
    assert refused.headers["retry-after"] == "1"
    assert (await server.client.get("/-/healthz")).status_code == 200
    go_on.set()
    assert (await first).status_code == 200
    assert (await server.client.get("/v1/agents")).status_code == 200


async def test_bodies_held_at_once_are_bounded_and_counted_out_again(
    make_server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agents.api.edge._FULL_BODIES", 1)
    server = await make_server(gateway={"max_body_bytes": 1024})
    session = await server.session()
    entered, go_on = asyncio.Event(), asyncio.Event()

    async def slow(*_: Any, **__: Any) -> list[Any]:
        entered.set()
        await go_on.wait()
        return []

    server.host.send = slow
    path = f"/v1/sessions/{session['id']}/events"
    large = {"events": [{"type": "user.message", "content": [{"type": "text", "text": "x" * 800}]}]}
    first = asyncio.create_task(server.client.post(path, json=large))
    async with asyncio.timeout(5):
        await entered.wait()
    refusal(await server.client.post(path, json=large), 529, "overloaded_error")
    go_on.set()
    assert (await first).status_code == 200
    assert (await server.client.post(path, json=large)).status_code == 200


@pytest.mark.parametrize("answered", [False, True])
async def test_a_request_whose_client_goes_is_stopped_unless_its_answer_has_begun(answered: bool) -> None:
    began, gone, ended = asyncio.Event(), asyncio.Event(), asyncio.Event()
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        if not began.is_set():
            return {"type": "http.request", "body": b"{}"}
        await gone.wait()
        return {"type": "http.disconnect"}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    async def waits(scope: Any, receive: Any, send: Any) -> None:
        del scope
        await receive()
        if answered:
            await send({"type": "http.response.start", "status": 200, "headers": []})
        began.set()
        try:
            await ended.wait()
            await send({"type": "http.response.body", "body": b""})
        except asyncio.CancelledError:
            sent.append({"type": "cancelled"})
            raise

    scope = {"type": "http", "method": "POST", "path": "/v1/agents", "headers": [], "state": {}}
    request = asyncio.create_task(bare_edge(waits)(scope, receive, send))
    await began.wait()
    gone.set()
    if answered:
        ended.set()
    async with asyncio.timeout(10):
        await request
    kinds = [message["type"] for message in sent]
    assert kinds == (["http.response.start", "http.response.body"] if answered else ["cancelled"])
