"""What many clients do to a live stack: sessions of every kind, on two brains, with every kind of tool."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from tests.added_hands import hand_body
from tests.conformance.scene import ALLOW, CUSTOM, MODEL, Json, Scene, fails, message, of_type, says, toolset
from tests.operations.sessions_at_work import sibling

PATIENCE = 120.0
AT_ONCE = 8
_PAGE = 100

T = TypeVar("T")

HAND = """
from mcp.server.mcpserver import MCPServer
server = MCPServer("crm", log_level="ERROR")

@server.tool()
def find(who: str) -> str:
    return "found " + who
"""
CALL_USD = 0.002
CONTRACT = f"""
hand: crm
version: "1"
tools:
  find:
    input: {{type: object, properties: {{who: {{type: string}}}}, required: [who]}}
    side_effects: idempotent
price: {{per_call: "{CALL_USD}"}}
"""


@dataclass(frozen=True, slots=True)
class Kind:
    """Sessions of one kind, and what their model is told to do in their first turn (tests/stub_model/rules.py)."""

    count: int
    directive: str


CHANGES_A_FILE = 'tools=1 command="date +%N | tee last"'
LOOPS = Kind(1, 'rounds=6 command="echo again"')
KINDS = (
    Kind(4, "text=hello chunks=4 gap=0.02"),
    Kind(8, CHANGES_A_FILE),
    Kind(4, 'parallel=3 command="echo here"'),
    Kind(2, 'tools=1 command="exit 3"'),
    Kind(10, 'tools=1 tool=mcp__crm__find input=\'{"who": "Ada"}\''),
    Kind(6, 'tools=1 tool=weather input=\'{"city": "Oslo"}\''),
    LOOPS,
)
OVERLOADED = 2
"""Sessions whose model is overloaded once."""
RESTLESS = 3
"""Sessions that have turn after turn until they are told to stop, each with a call that changes a file."""
SESSIONS = sum(kind.count for kind in KINDS) + OVERLOADED + RESTLESS


class LiveLoad:
    """Clients of one platform."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self.begun = 0
        """Sessions that have ended their first turn."""
        self.progress = asyncio.Condition()
        self.enough = asyncio.Event()
        """Tells the restless sessions to stop."""

    async def prepare(self) -> None:
        """Add the hand that sessions call."""
        body = hand_body("crm", HAND, contract=CONTRACT, min_replicas=1)
        answer = await self._scene.http.post("/-/hands", json=body)
        assert answer.status_code == 200, answer.text

    async def run(self) -> None:
        """Hold all the sessions, some of them at a time; returns when it is enough."""
        agents = [await self._agent(self._scene, model) for model in (MODEL, "second")]
        directives = [kind.directive for kind in KINDS for _ in range(kind.count)]
        jobs = [lambda d=d, n=n: self._converse(agents[n % 2], d) for n, d in enumerate(directives)]
        jobs += [self._overloaded] * OVERLOADED
        async with asyncio.TaskGroup() as group:
            for number in range(RESTLESS):
                group.create_task(self._restless(agents[number % 2]))
            await some_at_a_time(jobs)

    async def reached(self, begun: int) -> None:
        """Return when so many sessions have begun."""
        async with asyncio.timeout(PATIENCE), self.progress:
            await self.progress.wait_for(lambda: self.begun >= begun)

    async def _overloaded(self) -> None:
        scene = sibling(self._scene)
        await scene.answers(fails(529, "overloaded_error"), says("at last"))
        await self._converse(await self._agent(scene, MODEL), "text=bye")

    async def _restless(self, agent: str) -> None:
        session = await self._scene.session(agent=agent)
        while not self.enough.is_set():
            await talk(self._scene, session, f"stub: {CHANGES_A_FILE}")

    async def _converse(self, agent: str, directive: str) -> None:
        session = await self._scene.session(agent=agent)
        await talk(self._scene, session, f"stub: {directive}")
        async with self.progress:
            self.begun += 1
            self.progress.notify_all()
        await talk(self._scene, session, "stub: text=bye")

    @staticmethod
    async def _agent(scene: Scene, model: str) -> str:
        crm: Json = {"type": "mcp_toolset", "mcp_server_name": "crm", "default_config": ALLOW}
        servers = [{"type": "url", "name": "crm", "url": "hand://crm"}]
        return await scene.agent(toolset(), crm, CUSTOM, model=model, mcp_servers=servers)


async def talk(scene: Scene, session: str, words: str | None) -> None:
    """Say something (None: nothing) and see to it, as its client, that the session comes to its turn's end."""
    async with asyncio.timeout(PATIENCE), scene.stream(session) as stream:
        if words is not None:
            await scene.send(session, message(words))
        elif (idle := await standing(scene, session)) is not None and await _ended(scene, session, idle):
            return
        while True:
            event = await stream.next(PATIENCE)
            if event["type"] == "session.status_idle" and await _ended(scene, session, event):
                return


async def standing(scene: Scene, session: str) -> Json | None:
    """Return the event by which a session is idle; None when it is at work."""
    states = states_of(await scene.log(session))
    return states[-1] if states and states[-1]["type"] == "session.status_idle" else None


async def _ended(scene: Scene, session: str, idle: Json) -> bool:
    """Whether the turn is over; else answer what it waits for."""
    if idle["stop_reason"] == {"type": "end_turn"}:
        return True
    assert idle["stop_reason"]["type"] == "requires_action", idle
    for use in idle["stop_reason"]["event_ids"]:
        content = [{"type": "text", "text": "rain"}]
        await scene.send(session, {"type": "user.custom_tool_result", "custom_tool_use_id": use, "content": content})
    return False


async def all_logs(scene: Scene) -> dict[str, list[Json]]:
    """Return the logs of all sessions of the platform."""
    listed = await scene.get("/v1/sessions", {"limit": _PAGE})
    assert listed["next_page"] is None
    ids = [each["id"] for each in listed["data"]]
    return dict(zip(ids, await some_at_a_time([lambda id=id: scene.log(id) for id in ids]), strict=True))


async def some_at_a_time(jobs: Sequence[Callable[[], Awaitable[T]]], most: int = AT_ONCE) -> list[T]:
    """Run all of them, *most* at a time; returns what they return, in order."""
    places = asyncio.Semaphore(most)

    async def run(job: Callable[[], Awaitable[T]]) -> T:
        async with places:
            return await job()

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(run(job)) for job in jobs]
    return [task.result() for task in tasks]


def states_of(log: Sequence[Json]) -> list[Json]:
    """The changes of a session's state."""
    return [event for event in log if event["type"].startswith("session.status_")]


def requests_of(log: Sequence[Json]) -> list[Json]:
    """The ends of a session's model requests."""
    return of_type(log, "span.model_request_end")
