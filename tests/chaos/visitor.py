"""One scripted session from its creation to its last turn, driven as an application would."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

from tests.chaos.api import Api, Gone
from tests.chaos.follow import MODES, Follower
from tests.chaos.log_checks import TOOL_RESULTS
from tests.chaos.plan import CLOSINGS, KINDS
from tests.chaos.record import Json, Visit
from tests.chaos.resource_plan import MOUNT, REPOSITORY, RUBRIC, STORE
from tests.chaos.scene import BEGINNING, Scene
from tests.chaos.script import Script
from tests.unit.repositories.git_server import TOKEN

_PAUSES = (0.2, 3.0)
"""Shortest and longest pause of a client between two turns, in seconds."""


def visits(sessions: int) -> list[Visit]:
    """Deal kinds and ways of following evenly, in all combinations."""
    return [
        Visit(number, KINDS[number % len(KINDS)], MODES[number // len(KINDS) % len(MODES)])
        for number in range(sessions)
    ]


class Visitor:
    """The client of one session."""

    def __init__(self, api: Api, scene: Scene, script: Script, visit: Visit, seed: int) -> None:
        self._api = api
        self._scene = scene
        self._script = script
        self._visit = visit
        self._token = f"{seed}.{visit.number}"
        self._draws = random.Random(f"visit {self._token}")
        self._calls: dict[str, Json] = {}
        """Tool calls seen so far, by event id."""

    async def run(self) -> None:
        """Live through the session; the outcome is in the visit."""
        visit = self._visit
        try:
            await self._create()
            async with aclosing(Follower(self._api, visit).events()) as events:
                for turn in range(self._script.turns):
                    await self._turn(events, turn)
                    await asyncio.sleep(self._draws.uniform(*_PAUSES))
                for turn in range(self._script.turns, self._script.turns + CLOSINGS):
                    if await self._turn(events, turn):
                        break
            visit.outcome = "done"
        except Gone as gone:
            visit.outcome = str(gone)
        except asyncio.CancelledError:
            visit.outcome = f"stuck in turn {len(visit.sent)} of {self._script.turns}+"
            raise

    async def _create(self) -> None:
        visit, title = self._visit, f"chaos {self._token}"
        if self._script.begun:
            visit.session_id = await self._run_deployment()
            return
        client = self._api.client.beta.sessions

        scene = self._scene
        environment = scene.elsewhere if visit.kind == "elsewhere" else scene.environment
        more: Any = await self._resources()

        async def create() -> str:
            made = await client.create(agent=scene.agents[visit.kind], environment_id=environment, title=title, **more)
            return made.id

        visit.session_id = await self._api.get("create session", "", create)

    async def _resources(self) -> Json:
        if self._visit.kind != "mounted":
            return {}
        stores = self._api.client.beta.memory_stores
        made = await self._api.get("create memory store", "", lambda: stores.create(name=STORE))
        self._visit.store_id = made.id
        file = {"type": "file", "file_id": self._scene.file, "mount_path": MOUNT}
        repository = {"type": "github_repository", "url": self._scene.repository, "mount_path": REPOSITORY}
        repository["authorization_token"] = TOKEN
        return {"resources": [file, repository, {"type": "memory_store", "memory_store_id": made.id}]}

    async def _run_deployment(self) -> str:
        """Have the deployment run until one run has made a session; returns it."""
        run = self._api.client.beta.deployments.run
        while time.monotonic() < self._api.end:
            made = await self._api.get("run deployment", "", lambda: run(self._scene.deployment))
            if made.session_id is not None:
                return made.session_id
            await asyncio.sleep(self._draws.uniform(*_PAUSES))
        raise Gone("no run of the deployment made a session")

    async def _turn(self, events: AsyncGenerator[Json, None], number: int) -> bool:
        """Begin a turn and follow the session until it is idle after it; says whether no call failed meanwhile."""
        text = await self._begin(number)
        taken, well = False, True
        async for event in events:
            kind = event["type"]
            taken = taken or (kind in _BEGINNINGS and _text(event) == text)
            if kind in ("agent.tool_use", "agent.custom_tool_use", "agent.mcp_tool_use"):
                self._calls[event["id"]] = event
                await self._interrupt(event)
            elif kind in TOOL_RESULTS and event.get("is_error"):
                well = False
            elif kind == "session.status_idle" and taken:
                stop = event["stop_reason"]
                if stop["type"] != "requires_action":
                    if stop["type"] != "end_turn":
                        raise Gone(f"the session stopped with {stop['type']}")
                    return well
                await self._answer(stop["event_ids"])
        raise Gone("the event stream ended for good")

    async def _begin(self, number: int) -> str:
        """Send a message, or an outcome, unless it came with the session; returns its text."""
        if self._script.begun and number == 0:
            self._visit.sent.append(BEGINNING)
            return BEGINNING
        text = f"chaos-{self._visit.kind} {self._token} turn {number}"
        if number == self._script.outcome:
            self._visit.outcomes.append(text)
            rubric = {"type": "text", "content": RUBRIC}
            await self._send({"type": "user.define_outcome", "description": text, "rubric": rubric})
        else:
            self._visit.sent.append(text)
            await self._send({"type": "user.message", "content": [{"type": "text", "text": text}]})
        return text

    async def _interrupt(self, call: Json) -> None:
        label = self._script.interrupted
        if label and not self._visit.interrupted and f"/{label} " in str(call["input"].get("command", "")):
            self._visit.interrupted = True
            await asyncio.sleep(self._draws.uniform(0, 1.5))
            await self._send({"type": "user.interrupt"})

    async def _answer(self, asked: list[str]) -> None:
        answers: list[Json] = []
        for event_id in asked:
            call = self._calls[event_id]
            if call["type"] == "agent.custom_tool_use":
                block = {"type": "text", "text": f"rain in {call['input']['city']}"}
                answers.append({"type": "user.custom_tool_result", "custom_tool_use_id": event_id, "content": [block]})
                continue
            if call.get("evaluated_permission") != "ask":
                continue  # a worker's to answer
            refused = bool(self._script.denied) and f"/{self._script.denied} " in call["input"].get("command", "")
            if refused:
                self._visit.denied.append(event_id)
            answer = {"type": "user.tool_confirmation", "tool_use_id": event_id}
            answers.append({**answer, "result": "deny" if refused else "allow"})
        if answers:
            await self._send(*answers)

    async def _send(self, *events: Json) -> None:
        """Send events once: after a failure only what the session does not have yet."""
        session_id, wire = self._visit.session_id, list[Any](events)
        send = self._api.client.beta.sessions.events.send

        async def call() -> bool:
            await send(session_id, events=wire)
            return True

        async def arrived() -> bool | None:
            log = await self._api.log(session_id)
            return True if all(any(_same(event, sent) for event in log) for sent in events) else None

        await self._api.until_done(f"send {events[0]['type']}", session_id, call, arrived)


_BEGINNINGS = ("user.message", "user.define_outcome")
_REFERENCES = ("custom_tool_use_id", "tool_use_id")


def _same(event: Json, sent: Json) -> bool:
    """Whether a listed event is the one that was sent."""
    if event["type"] != sent["type"]:
        return False
    for reference in _REFERENCES:
        if reference in sent:
            return event.get(reference) == sent[reference]
    return sent["type"] == "user.interrupt" or _text(event) == _text(sent)


def _text(event: Json) -> str:
    if event["type"] == "user.define_outcome":
        return event["description"]
    return "".join(block.get("text", "") for block in event["content"] or ())
