"""What servers offer is asked for, kept in the log, and missed without harm (spec C.4, law 2).

Bug class this catches: a server that is away and ends a turn, one that is reported at every request or never again,
a session that is moved to another version of a hand, tools that nobody can tell a model was shown.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from agents.brains.scripted import fail, text, tool_use
from agents.hands.servers.memory import MemoryServer
from agents.hands.servers.port import OfferedTool, ServerRefusedAuth, ServerUnreachable
from agents.ids import SessionId
from agents.sessions.events import EventType
from agents.sessions.state import SessionState
from tests.unit.waiting import until

from .conftest import message
from .serving import CHARGE, FIND, SCHEMA, ServedWorld, mcp_toolset

BOTH = ["mcp__crm__find", "mcp__crm__charge"]


@pytest.fixture
async def scene() -> AsyncIterator[ServedWorld]:
    made = ServedWorld(mail=MemoryServer([OfferedTool("send", "Sends.", SCHEMA)]))
    await made.start()
    yield made
    await made.stop()


async def turn(scene: ServedWorld, session: SessionId, number: int, *answers: Any) -> None:
    scene.brain.add(*(answers or [text("ok")]))
    await scene.world.send(session, message("go"))
    await scene.world.idle(session, number)


def offered(scene: ServedWorld) -> list[list[str]]:
    return [[tool["name"] for tool in request.tools] for request in scene.brain.requests]


async def test_a_server_that_is_away_is_told_once_and_again_after_it_was_there(scene: ServedWorld) -> None:
    session = await scene.create()
    down = ServerUnreachable("connection refused")
    for number, fault in enumerate([down, down, None, down], start=1):
        scene.crm.offer_fault = fault
        await turn(scene, session, number)
    assert offered(scene) == [[], [], BOTH, []]
    assert (
        await scene.errors(session)
        == [
            {
                "type": "mcp_connection_failed_error",
                "mcp_server_name": "crm",
                "message": "crm: connection refused",
                "retry_status": {"type": "retrying"},
            }
        ]
        * 2
    )


async def test_refused_credentials_are_an_error_of_their_own(scene: ServedWorld) -> None:
    session = await scene.create()
    scene.crm.offer_fault = ServerUnreachable("connection refused")
    await turn(scene, session, 1)
    scene.crm.offer_fault = ServerRefusedAuth("no vault has a credential for it")
    await turn(scene, session, 2)
    types = [error["type"] for error in await scene.errors(session)]
    assert types == ["mcp_connection_failed_error", "mcp_authentication_failed_error"]


async def test_a_server_that_was_away_is_not_waited_for_again_in_the_same_turn(scene: ServedWorld) -> None:
    session = await scene.create(mcp_toolset(), mcp_toolset("mail"))
    scene.crm.offer_fault = ServerUnreachable("connection refused")
    await turn(scene, session, 1, tool_use("mcp__mail__send"), text("ok"))
    assert offered(scene) == [["mcp__mail__send"]] * 2 and scene.crm.offers == 1
    await turn(scene, session, 2)
    assert scene.crm.offers == 2


@pytest.mark.parametrize(
    ("url", "setting"), [("http://deaf", "connect_timeout_seconds"), ("hand://deaf", "hand_start_seconds")]
)
async def test_a_server_that_does_not_answer_delays_a_turn_only_so_long(
    url: str, setting: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = ServedWorld()
    # Put back afterwards: settings that nobody gives are one object, which other tests have, too.
    monkeypatch.setitem(scene.world.ports.settings.mcp.__dict__, setting, 0.01)
    scene.servers.serve(url, MemoryServer(offer_gate=asyncio.Event()))
    await scene.start()
    session = await scene.create(mcp_toolset("deaf"), deaf=url)
    await turn(scene, session, 1)
    (error,) = await scene.errors(session)
    assert error["type"] == "mcp_connection_failed_error" and "0.01 s" in error["message"]
    await scene.stop()


async def test_an_interrupt_ends_the_wait_for_an_offer(scene: ServedWorld) -> None:
    scene.crm.offer_gate = asyncio.Event()
    session = await scene.create()
    await scene.world.send(session, message("go"))
    await until(lambda: scene.crm.offers)
    await scene.world.send(session, {"type": "user.interrupt"})
    assert (await scene.world.idle(session))[-1]["stop_reason"] == {"type": "end_turn"}


async def test_the_log_says_what_each_request_was_offered_and_only_when_it_is_news(scene: ServedWorld) -> None:
    session = await scene.create()
    await turn(scene, session, 1)
    await turn(scene, session, 2)
    scene.crm.tools = [FIND]
    await turn(scene, session, 3)
    scene.crm.offer_fault = ServerUnreachable("down")
    await turn(scene, session, 4)
    ends = await scene.events(session, EventType.MODEL_REQUEST_END)
    told = [(end.hidden or {}).get("offers", {"crm": "as before"})["crm"] for end in ends]
    tools = [each and [tool["name"] for tool in each["tools"]] if each != "as before" else each for each in told]
    assert tools == [["find", "charge"], "as before", ["find"], None]
    restored = SessionState.restore(await scene.world.store.log.load(session))
    assert restored.primary.offers == {} and restored.primary.failed_servers == {"crm": "mcp_connection_failed_error"}


async def test_a_request_that_failed_leaves_no_offer_behind(scene: ServedWorld) -> None:
    session = await scene.create()
    scene.brain.add(fail("request_failed", transient=False))
    await scene.world.send(session, message("go"))
    await scene.world.idle(session)
    restored = SessionState.restore(await scene.world.store.log.load(session))
    assert restored.primary.offers == {}
    await turn(scene, session, 2)
    restored = SessionState.restore(await scene.world.store.log.load(session))
    assert list(restored.primary.offers["crm"].tools) == [FIND, CHARGE]


@pytest.mark.parametrize(("url", "versions"), [("http://crm", {"crm": "1.4"}), ("http://crm@9", {})])
async def test_a_session_stays_with_the_version_of_a_hand_that_it_got(
    scene: ServedWorld, url: str, versions: dict[str, str]
) -> None:
    scene.servers.serve(url, scene.crm)
    scene.crm.hand = "crm@1.4"
    session = await scene.create(crm=url)
    await turn(scene, session, 1)
    await scene.owner_dies()
    await turn(scene, session, 2, tool_use("mcp__crm__find"), text("ok"))
    (caller,), (call,) = scene.crm.callers, scene.crm.calls
    assert caller.versions == versions and call.hand == "crm@1.4"
