"""A harness looks at what its sessions commit: loops, costly and stuck turns, slow brains, and who is told."""

from __future__ import annotations

import asyncio
import base64
import itertools
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import orjson
import pytest

from agents.brains.assembly import TokenUsage
from agents.brains.scripted import Hold, reply, text, tool_use
from agents.governance.anomalies.anomaly import Anomaly, AnomalyKind
from agents.governance.anomalies.detector import AnomalyDetector
from agents.governance.anomalies.store_sink import DETECTED
from agents.governance.audit.entries import EntryQuery
from agents.hands.port import ToolResult
from agents.sessions.harness import Harness
from agents.telemetry import catalogue
from tests.unit.waiting import until

from .conftest import CUSTOM, World, make_world, message

REPEATS = 5


class Told:
    """A sink that keeps what it is told."""

    def __init__(self) -> None:
        self.anomalies: list[Anomaly] = []

    def note(self, anomaly: Anomaly) -> None:
        self.anomalies.append(anomaly)

    @property
    def kinds(self) -> list[AnomalyKind]:
        return [each.finding.kind for each in self.anomalies]


class Watched:
    """A world whose harness has a detector."""

    def __init__(self, **changes: Any) -> None:
        self.told = Told()
        made = make_world(**changes)
        self.detector = AnomalyDetector(
            made.settings,
            made.ports.metrics.recorder,
            made.clock,
            "harness-0",
            made.store.audit,
            made.store.webhooks,
            more=[self.told],
        )
        ports = replace(made.ports, observers=[self.detector.watch])
        harness = Harness(ports, owner="harness-0")
        self.detector.watch.own(lambda: harness.running, lambda: harness.inherited)
        self.world: World = replace(made, ports=ports, harness=harness)

    async def turn(self, *answers: Any) -> str:
        self.world.brain.add(*answers)
        session = await self.world.create()
        await self.world.send(session, message("go"))
        await self.world.idle(session)
        return session


@pytest.fixture
async def watched() -> AsyncIterator[Watched]:
    made = Watched()
    await made.world.harness.start()
    yield made
    await made.world.harness.stop()


def again(times: int) -> list[Any]:
    return [[tool_use("bash", {"command": "make"})] for _ in range(times)]


async def test_a_session_that_repeats_its_call_is_found_and_counted(watched: Watched) -> None:
    session = await watched.turn(*again(REPEATS + 2), text("I give up"))
    [anomaly] = watched.told.anomalies
    assert anomaly.finding.kind is AnomalyKind.LOOP
    assert (anomaly.finding.session_id, anomaly.observer) == (session, "harness-0")
    assert "bash" in anomaly.finding.words
    counted = watched.world.ports.metrics.recorder.snapshot()[catalogue.ANOMALIES.name]
    assert counted["loop",] == (1.0,)
    assert counted["stuck_session",] == (0.0,)


async def test_polling_until_the_result_changes_is_no_loop(watched: Watched) -> None:
    count = itertools.count()
    watched.world.hands.answer = lambda call: ToolResult(call.call_id, [{"type": "text", "text": f"{next(count)} %"}])
    await watched.turn(*again(4 * REPEATS), text("done"))
    assert watched.told.anomalies == []


async def test_a_user_who_asks_for_the_same_again_makes_no_loop(watched: Watched) -> None:
    world = watched.world
    session = await world.create()
    for turn in range(1, 2 * REPEATS):
        world.brain.add(*again(1), text("done"))
        await world.send(session, message("again"))
        await world.idle(session, turn)
    assert watched.told.anomalies == []


async def test_custom_tools_loop_too(watched: Watched) -> None:
    world = watched.world
    session = await world.create(CUSTOM)
    world.brain.add([tool_use("weather", {"city": "Oslo"})])
    await world.send(session, message("go"))
    for turn in range(1, REPEATS + 1):
        log = await world.idle(session, turn)
        call = next(event["id"] for event in reversed(log) if event["type"] == "agent.custom_tool_use")
        last = turn == REPEATS
        world.brain.add(text("done") if last else [tool_use("weather", {"city": "Oslo"})])
        answer = {"type": "user.custom_tool_result", "custom_tool_use_id": call, "is_error": True}
        await world.send(session, {**answer, "content": [{"type": "text", "text": "no such city"}]})
    await world.idle(session, REPEATS + 1)
    assert watched.told.kinds == [AnomalyKind.LOOP]


async def test_a_next_owner_goes_on_looking_at_calls_that_were_open(watched: Watched) -> None:
    world = watched.world
    world.hands.gates["bash"] = asyncio.Event()
    world.brain.add(*again(REPEATS), text("done"))
    session = await world.create()
    await world.send(session, message("go"))
    await world.hands.started(1)
    await world.harness.stop()
    world.hands.gates["bash"].set()
    harness = Harness(world.ports, owner="harness-0")
    await harness.start()
    watched.world = replace(world, harness=harness)
    await watched.world.idle(session)
    await harness.stop()
    assert watched.told.kinds == [AnomalyKind.LOOP]


async def test_a_turn_that_costs_far_more_than_others_is_told_of_once() -> None:
    rules = {"min_samples": 10, "session_cost_floor_usd": 0.0001}
    watched = Watched(anomalies=rules)
    await watched.world.harness.start()
    cheap, dear = TokenUsage(output_tokens=100), TokenUsage(output_tokens=1000)
    for _ in range(12):
        await watched.turn(reply(text("a"), usage=cheap))
    assert watched.told.anomalies == []
    calls = [reply(tool_use("bash", {"command": f"{number}"}), usage=dear) for number in range(3)]
    session = await watched.turn(*calls, text("done"))
    await watched.world.harness.stop()
    assert [(each.finding.kind, each.finding.session_id) for each in watched.told.anomalies] == [
        (AnomalyKind.SESSION_COST_SPIKE, session)
    ]


async def test_a_turn_that_gets_nowhere_is_stuck_until_it_ends(watched: Watched) -> None:
    world, gate = watched.world, asyncio.Event()
    world.brain.add(text(Hold(gate), "late"))
    session = await world.create()
    await world.send(session, message("go"))
    await world.brain.asked(1)
    watched.detector.watch.check()
    assert watched.told.anomalies == []
    world.clock.advance(601)
    watched.detector.watch.check()
    gate.set()
    await world.idle(session)
    await world.quiet()
    watched.detector.watch.check()
    begun, ended = watched.told.anomalies
    assert (begun.finding.kind, begun.finding.session_id) == (AnomalyKind.STUCK_SESSION, session)
    assert (begun.event, ended.event, ended.id) == ("anomaly.detected", "anomaly.ended", begun.id)


async def test_latencies_are_looked_at_as_they_are_recorded(watched: Watched) -> None:
    recorder, clock = watched.world.ports.metrics.recorder, watched.world.clock
    for second in range(4000):
        slow = 2.0 if second > 3700 else 1.0
        recorder.observe(catalogue.TOOL_CALL_SECONDS, slow, "crm")
        recorder.observe(catalogue.TOOL_CALL_SECONDS, slow, "custom")
        recorder.observe(catalogue.HTTP_SECONDS, slow, "/v1/agents")
        recorder.observe(catalogue.MODEL_REQUEST_SECONDS, 1.0, "qwen@1")
        clock.advance(1)
    watched.detector.watch.check()
    assert [(each.finding.kind, each.finding.subject) for each in watched.told.anomalies] == [
        (AnomalyKind.LATENCY_SPIKE, "hand crm"),
        (AnomalyKind.LATENCY_SPIKE, "route /v1/agents"),
    ]


async def test_a_fault_of_the_watch_costs_no_session_anything(
    watched: Watched, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(anomaly: Anomaly) -> None:
        raise RuntimeError("broken")

    monkeypatch.setattr(watched.told, "note", broken)
    session = await watched.turn(*again(REPEATS + 2), text("done"))
    assert (await watched.world.types(session))[-1] == "session.status_idle"
    assert "has failed to look at a commit" in caplog.text


async def test_a_detector_that_is_off_looks_at_nothing() -> None:
    watched = Watched(anomalies={"enabled": False})
    await watched.world.harness.start()
    await watched.turn(*again(REPEATS), text("done"))
    await watched.world.harness.stop()
    assert watched.told.anomalies == []


async def test_an_anomaly_is_posted_to_the_webhooks() -> None:
    got: list[dict[str, Any]] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        length = next(line for line in head.split("\r\n") if line.startswith("content-length"))
        got.append(orjson.loads(await reader.readexactly(int(length.split(": ")[1]))))
        writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        secret = "whsec_" + base64.b64encode(bytes(32)).decode()
        watched = Watched(
            anomalies={"webhooks": {"pager": url}, "webhook_secrets": {"pager": secret}},
            network={"allow_private": ["127.0.0.0/8"]},
        )
        await watched.world.harness.start()
        watched.detector.start()
        session = await watched.turn(*again(REPEATS), text("done"))
        await until(lambda: got)
        await watched.detector.stop()
        await watched.world.harness.stop()
    [event] = got
    assert (event["type"], event["data"]["type"]) == ("event", "anomaly.detected")
    assert (event["data"]["kind"], event["data"]["session_id"]) == ("loop", session)
    assert event["data"]["id"] == watched.told.anomalies[0].id


async def test_an_anomaly_is_in_the_audit_trail(watched: Watched) -> None:
    watched.detector.start()
    session = await watched.turn(*again(REPEATS), text("done"))
    await watched.detector.stop()
    trail = watched.world.store.audit
    [entry] = await trail.entries(EntryQuery(action=DETECTED))
    assert (entry.actor, entry.object) == ("hecaton", session)
    assert orjson.loads(entry.body)["detail"]["id"] == watched.told.anomalies[0].id
