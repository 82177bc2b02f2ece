"""What a test does on the stage: agents, sessions, scripted models, turns. Everything through the public API.

A scene has a mark of its own in its agents' system prompts, and the stub answers by that mark, so that
tests share one server without hearing each other.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any

import httpx
from anthropic import AsyncAnthropic

from tests.conformance.platform import LivePlatform
from tests.conformance.sse import PATIENCE, RawStream, raw_stream

Json = dict[str, Any]

MODEL = "claude-sonnet-5-5"
START = ["session.status_running", "session.thread_status_running"]
END = ["session.thread_status_idle", "session.usage", "session.status_idle"]
REQUEST = ["span.model_request_start", "agent.message", "span.model_request_end"]
CUSTOM: Json = {
    "type": "custom",
    "name": "weather",
    "description": "Tells the weather of a city.",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}


def toolset(default: Json | None = None, **configs: Json) -> Json:
    """The built-in toolset; ``bash={"enabled": False}`` configures one tool."""
    made: Json = {"type": "agent_toolset_20260401"}
    if default is not None:
        made["default_config"] = default
    if configs:
        made["configs"] = [{"name": name, **config} for name, config in configs.items()]
    return made


ASK: Json = {"permission_policy": {"type": "always_ask"}}
ALLOW: Json = {"permission_policy": {"type": "always_allow"}}


def message(text: str = "go") -> Json:
    return {"type": "user.message", "content": [{"type": "text", "text": text}]}


def says(text: str | Sequence[str | Json], **more: Any) -> Json:
    """A scripted text answer."""
    return {"content": [{"type": "text", "text": text}], **more}


def calls(*uses: tuple[str, Json], text: str | None = None, **more: Any) -> Json:
    """A scripted answer with tool calls."""
    opening = [{"type": "text", "text": text}] if text else []
    return {"content": [*opening, *({"type": "tool_use", "name": n, "input": i} for n, i in uses)], **more}


def bash(command: str, **more: Any) -> tuple[str, Json]:
    return "bash", {"command": command, **more}


def fails(status: int, error_type: str, **more: Any) -> Json:
    return {"status": status, "error_type": error_type, **more}


def of_type(events: Sequence[Json], *kinds: str) -> list[Json]:
    return [event for event in events if event["type"] in kinds]


def text_of(event: Json) -> str:
    """The text of a message or a tool result."""
    return "".join(block["text"] for block in event["content"] or () if block["type"] == "text")


class Scene:
    """One test's part of the server."""

    def __init__(
        self,
        platform: LivePlatform,
        client: AsyncAnthropic,
        http: httpx.AsyncClient,
        environment_id: str,
        patience: float = PATIENCE,
    ) -> None:
        """*patience* is how long it waits for what a session shall do, in seconds."""
        self.platform = platform
        self.patience = patience
        self.client = client
        self.http = http
        self.environment_id = environment_id
        self.mark = f"mark{secrets.token_hex(6)}"

    # -- the model -------------------------------------------------------------------------------

    async def answers(self, *answers: Json) -> None:
        """Queue what the model says in this scene."""
        await asyncio.to_thread(self.platform.stub.script, *answers, match=self.mark)

    async def shown(self, count: int = 0, *, closed: int = 0) -> list[Json]:
        """Wait until the model was asked so often; returns the bodies it was shown."""
        found = await asyncio.to_thread(self.platform.stub.seen, count, closed=closed, match=self.mark, timeout=10)
        return [each["body"] for each in found]

    async def release(self, gate: str) -> None:
        await asyncio.to_thread(self.platform.stub.release, f"{self.mark}-{gate}")

    def gate(self, name: str) -> Json:
        return {"gate": f"{self.mark}-{name}"}

    # -- resources -------------------------------------------------------------------------------

    async def agent(self, *tools: Json, **params: Any) -> str:
        """Create an agent with this scene's mark; returns its id."""
        params = {"name": "actor", "model": MODEL, "system": f"Scene {self.mark}.", "tools": list(tools), **params}
        return (await self.client.beta.agents.create(**params)).id

    async def session(self, *tools: Json, **params: Any) -> str:
        """Create an agent with *tools* (none by default) and a session of it; returns the session's id."""
        params = {"environment_id": self.environment_id, **params}
        if "agent" not in params:
            params["agent"] = await self.agent(*tools)
        return (await self.client.beta.sessions.create(**params)).id

    # -- raw calls -------------------------------------------------------------------------------

    async def get(self, path: str, params: Any = None) -> Json:
        """GET a path as raw JSON; raises AssertionError unless it is a 200."""
        response = await self.http.get(path, params=params)
        assert response.status_code == 200, response.text
        return response.json()

    async def retrieve(self, session_id: str) -> Json:
        return await self.get(f"/v1/sessions/{session_id}")

    async def send(self, session_id: str, *events: Json) -> list[Json]:
        """Send events through the SDK; returns their echoes as raw JSON."""
        raw = await self.client.beta.sessions.events.with_raw_response.send(session_id, events=list(events))  # type: ignore[arg-type]
        echoes: list[Json] = (await raw.json())["data"]  # type: ignore[index]
        assert [echo["type"] for echo in echoes] == [event["type"] for event in events]
        return echoes

    async def refused(self, session_id: str, *events: Json, status: int = 400) -> Json:
        """Send events that must be refused; returns the error."""
        response = await self.http.post(f"/v1/sessions/{session_id}/events", json={"events": list(events)})
        assert response.status_code == status, response.text
        return response.json()["error"]

    async def log(self, session_id: str, **params: Any) -> list[Json]:
        """The whole history, all pages, as raw JSON."""
        found: list[Json] = []
        while True:
            page = await self.get(f"/v1/sessions/{session_id}/events", params)
            found.extend(page["data"])
            if page["next_page"] is None:
                return found
            params["page"] = page["next_page"]

    def stream(self, session_id: str, params: Any = None, **headers: str) -> AbstractAsyncContextManager[RawStream]:
        return raw_stream(self.http, f"/v1/sessions/{session_id}/events/stream", params, headers)

    async def until(self, session_id: str, kind: str, count: int = 1) -> list[Json]:
        """Wait until the log holds *count* events of a type; returns the log."""
        async with asyncio.timeout(self.patience), self.stream(session_id) as stream:
            while True:
                log = await self.log(session_id)
                if len(of_type(log, kind)) >= count:
                    return log
                await stream.next(self.patience)

    async def idle(self, session_id: str, count: int = 1) -> list[Json]:
        return await self.until(session_id, "session.status_idle", count)

    async def turn(self, session_id: str, *events: Json) -> list[Json]:
        """Send events (a message by default) and wait for the idle that follows; returns the turn's new log."""
        before = await self.log(session_id)
        idles = len(of_type(before, "session.status_idle"))
        await self.send(session_id, *(events or (message(),)))
        return (await self.idle(session_id, idles + 1))[len(before) :]

    async def results(self, *uses: tuple[str, Json], tools: Sequence[Json] = ()) -> list[Json]:
        """Run one answer with these tool calls in a new session; returns the results in call order."""
        await self.answers(calls(*uses), says("done"))
        session = await self.session(*(tools or (toolset(),)))
        return ordered_results(await self.turn(session))


def ordered_results(log: Sequence[Json]) -> list[Json]:
    """The tool results of a log in the order of their calls."""
    found = {event["tool_use_id"]: event for event in of_type(log, "agent.tool_result")}
    return [found[event["id"]] for event in of_type(log, "agent.tool_use")]


async def collect(items: AsyncIterator[Any]) -> list[Any]:
    async with asyncio.timeout(PATIENCE):
        return [item async for item in items]
