"""The owner of a session may die at any point around calls that servers run (laws 1, 2 and 5).

Bug class this catches: a call of a server that runs twice, has no result or two, or a result that is not true; an offer
that the next owner does not know of.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest

from agents.brains.port import BrainRequest
from agents.brains.scripted import Scripted, text, tool_use
from agents.economics.meter import MeterKind
from agents.hands.servers.port import SERVER_INTENT, Caller, Offer, ServerCall, ServerLost, ServerResult, ToolServer
from agents.ids import EventId, new_event_id
from agents.sessions.events import Event, EventType
from agents.sessions.state import SessionState

from .conftest import ASK, message
from .crash_points import Life, Reborn
from .serving import CHARGE, FIND, mcp_toolset

pytestmark = pytest.mark.usefixtures("quiet")


class LastingServer:
    """One that outlives every harness: it runs each call once, at once."""

    def __init__(self, destination: str | None) -> None:
        """*destination* is SERVER_INTENT for a server elsewhere, which answers nobody who asks again; a replica's name
        for a hand that has room, which remembers; None for a hand whose calls have to wait before they go to one."""
        self.effects: Counter[str] = Counter()
        self.destination = destination

    async def run(self, call: ServerCall, ledger: Callable[[str], Awaitable[str | None]]) -> ServerResult:
        if self.destination == SERVER_INTENT:
            if call.again:
                raise ServerLost("whoever sent it is gone")
        elif call.again:
            assert call.intent == "replica-1", "a call that waited has not been sent"
        else:
            assert call.intend is not None and call.intent == (self.destination or "")
            await call.intend("replica-1")
        assert await ledger(call.call_id) == (self.destination or "replica-1")
        if call.call_id not in self.effects:
            self.effects[call.call_id] += 1
        return ServerResult(call.call_id, [{"type": "text", "text": f"ran {call.tool}"}])


class _MortalServers:
    def __init__(self, life: Life, server: LastingServer, ledger: Callable[[str], Awaitable[str | None]]) -> None:
        self._life = life
        self._ledger = ledger
        self._server = server

    async def offer(self, server: ToolServer, caller: Caller) -> Offer:
        await self._life.reach("offer")
        assert caller.versions in ({}, {"crm": "1.4"})
        return Offer([FIND, CHARGE], "crm@1.4")

    async def call(self, call: ServerCall, caller: Caller) -> ServerResult:
        await self._life.reach("before a server call")
        result = await self._server.run(call, self._ledger)
        await self._life.reach("after a server call")
        return result

    def destination(self, server: ToolServer, hand: str) -> str | None:
        assert (server.url, hand) == ("hand://crm", "crm@1.4")
        return self._server.destination

    def cancel(self, calls: Sequence[ServerCall], caller: Caller) -> None:
        pass

    async def close(self) -> None:
        pass


class Scene(Reborn):
    """One session with an MCP server, and the lives of its owner."""

    def __init__(self, crashes: Callable[[int, str], bool], destination: str | None) -> None:
        super().__init__(_answers, crashes)
        self.server = LastingServer(destination)
        record = self.world.new_record(mcp_toolset(charge=ASK))
        servers = [{"type": "url", "name": "crm", "url": "hand://crm"}]
        self.record = replace(record, agent={**record.agent, "mcp_servers": servers})

    def _ports(self, life: Life) -> Any:
        return replace(super()._ports(life), servers=_MortalServers(life, self.server, self._intent))

    async def _intent(self, call_id: str) -> str | None:
        record = (await self.world.store.log.load(self.session)).record
        return record.dispatched.get(EventId(call_id))


def _answers(request: BrainRequest) -> Scripted:
    if any(message["role"] == "assistant" for message in request.messages):
        return [text("done")]
    return [tool_use("mcp__crm__find", {"who": "a"}), tool_use("mcp__crm__charge"), tool_use("mcp__crm__find")]


async def story(scene: Reborn) -> None:
    await scene.create()
    await scene.send({**message("go"), "id": new_event_id()})
    log = await scene.wait_for("session.status_idle")
    (asked,) = [event["id"] for event in log if event.get("evaluated_permission") == "ask"]
    answer = {"type": "user.tool_confirmation", "tool_use_id": asked, "result": "allow", "id": new_event_id()}
    await scene.send(answer)
    await scene.wait_for("session.status_idle", 2)


async def told(
    crashes: Callable[[int, str], bool], destination: str | None = SERVER_INTENT
) -> tuple[Scene, list[Event]]:
    scene = Scene(crashes, destination)
    await scene.tell(story)
    return scene, list((await scene.world.store.log.load(scene.session)).events)


async def check(scene: Scene, log: list[Event]) -> None:
    uses = [event for event in log if event.type is EventType.AGENT_MCP_TOOL_USE]
    results = {event.body["mcp_tool_use_id"]: event for event in log if event.type is EventType.AGENT_MCP_TOOL_RESULT}
    assert len(uses) == len(results) == sum(event.type is EventType.AGENT_MCP_TOOL_RESULT for event in log) == 3
    for use in uses:
        outcome = (results[use.id].hidden or {})["call"]["outcome"]
        # Of a call whose sender died, a server elsewhere can not tell whether it will still come.
        elsewhere = scene.server.destination == SERVER_INTENT
        assert outcome == "ok" or (outcome == "ambiguous" and use.body["name"] == "charge" and elsewhere)
        assert scene.server.effects[use.id] == 1 or outcome == "ambiguous"
    stored = SessionState.restore(await scene.world.store.log.load(scene.session))
    assert stored.record.dispatched == {} and stored.hand_versions == {"crm": "1.4"}
    assert list(stored.primary.offers["crm"].tools) == [FIND, CHARGE]
    rows = await scene.world.meter.totals()
    assert sum(row.count for row in rows if row.kind is MeterKind.TOOL_CALL) == 3


@pytest.mark.parametrize("destination", [SERVER_INTENT, "replica-1", None])
async def test_the_owner_may_die_at_any_point_around_served_calls(destination: str | None) -> None:
    undisturbed, log = await told(lambda _, __: False, destination)
    await check(undisturbed, log)
    ambiguous = 0
    for number in range(len(undisturbed.points)):
        scene, log = await told(lambda index, _, number=number: index == number, destination)
        await check(scene, log)
        assert scene.lives == 2 and [event.type for event in log[-3:]] == [
            EventType.THREAD_IDLE,
            EventType.SESSION_USAGE,
            EventType.SESSION_IDLE,
        ]
        ambiguous += any((event.hidden or {}).get("call", {}).get("outcome") == "ambiguous" for event in log)
    if destination == SERVER_INTENT:
        assert ambiguous > 0, "once it may have been sent, nobody knows"
    else:
        assert ambiguous == 0, "a hand's replica knows"


@pytest.mark.parametrize("destination", [SERVER_INTENT, "replica-1", None])
async def test_the_owner_may_die_after_every_commit_around_served_calls(destination: str | None) -> None:
    scene, log = await told(lambda _, point: point == "after append", destination)
    await check(scene, log)
    assert scene.lives > 5
