"""The two things that are compared, behind the same three calls: the platform over HTTP, and the floor."""

from __future__ import annotations

import asyncio
import contextlib
import json
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from agents.experiments.running.raw_http import Connection, events_of
from benchmarks.deployment import ROOT
from benchmarks.raw_http import IDLE, Api, user_message


@dataclass(frozen=True, slots=True)
class Load:
    """Fresh sessions under load: seconds of each, seconds of all, CPU seconds of the client."""

    seconds: list[float]
    elapsed: float
    client_cpu: float = 0.0

    @property
    def rate(self) -> float:
        return len(self.seconds) / self.elapsed


class PlatformDriver:
    """Turns over HTTP: from just before the POST to the idle event on the stream."""

    def __init__(self, url: str, api: Api, session_body: bytes) -> None:
        self._url = url
        self._api = api
        self._body = session_body

    @classmethod
    async def open(cls, url: str) -> PlatformDriver:
        api = await Api.open(url)
        return cls(url, api, await api.set_up())

    async def _turns(self, text: str, turns: int) -> tuple[list[float], bytes]:
        """Run turns in a new session; returns the seconds of each and all that was streamed."""
        message = user_message(text)
        session = await self._api.new_session(self._body)
        stream = await self._api.stream(session)
        seconds: list[float] = []
        place = 0
        for _ in range(turns):
            started = time.perf_counter()
            await self._api.send(session, message)
            place = await stream.until(IDLE, place)
            seconds.append(time.perf_counter() - started)
        stream.close()
        return seconds, bytes(stream.body)

    async def repeat(self, text: str, turns: int) -> list[float]:
        seconds, _ = await self._turns(text, turns + 1)
        return seconds[1:]

    async def first_turns(self, text: str, sessions: int) -> list[float]:
        return [(await self._turns(text, 1))[0][0] for _ in range(sessions)]

    async def events(self, text: str, turns: int) -> list[dict[str, Any]]:
        """Run turns in one session and return its events (the last turn's end is cut off with its idle event)."""
        _, streamed = await self._turns(text, turns)
        return events_of(streamed)

    async def live(self, text: str, sessions: int) -> list[Connection]:
        """Run one turn in each of *sessions* new sessions and leave their streams open; returns these."""
        message = user_message(text)
        streams: list[Connection] = []
        for _ in range(sessions):
            session = await self._api.new_session(self._body)
            stream = await self._api.stream(session)
            await self._api.send(session, message)
            await stream.until(IDLE)
            streams.append(stream)
        return streams

    async def stages(self, text: str, turns: int) -> list[dict[str, float]]:
        """Milliseconds between the steps of one-tool turns, by the events' own times and the client's clock."""
        message = user_message(text)
        session = await self._api.new_session(self._body)
        stream = await self._api.stream(session)
        found: list[dict[str, float]] = []
        place = 0
        for _ in range(turns + 1):
            sent = time.time()
            await self._api.send(session, message)
            accepted = time.time()
            end = await stream.until(IDLE, place)
            seen = time.time()
            found.append(_stages(sent, accepted, events_of(bytes(stream.body[place:end])), seen))
            place = end
        stream.close()
        return found[1:]

    async def load(self, text: str, sessions: int, concurrency: int) -> Load:
        """Run fresh sessions from a process of its own."""
        command = [sys.executable, "-m", "benchmarks.load", "--url", self._url, "--text", text]
        command += ["--sessions", str(sessions), "--concurrency", str(concurrency)]
        process = await asyncio.create_subprocess_exec(*command, cwd=ROOT, stdout=subprocess.PIPE)
        output, _ = await process.communicate()
        if process.returncode:
            raise SystemExit("the load generator failed")
        answer = json.loads(output)
        return Load(answer["seconds"], answer["elapsed"], answer["cpu"])

    def close(self) -> None:
        self._api.close()


def _stages(sent: float, accepted: float, events: list[dict[str, Any]], seen: float) -> dict[str, float]:
    """The steps of one turn; the body of the idle event itself is not there yet, its neighbour's time stands for it."""

    def times(kind: str) -> list[float]:
        return [datetime.fromisoformat(e["processed_at"]).timestamp() for e in events if e["type"] == kind]

    started, answered = times("span.model_request_start"), times("span.model_request_end")
    (result,) = times("agent.tool_result")
    (idle,) = times("session.thread_status_idle")
    return {
        "POST until answered (beside the turn)": accepted - sent,
        "POST -> turn begins": started[0] - sent,
        "first model request": answered[0] - started[0],
        "tool call": result - answered[0],
        "second model request": answered[1] - started[1],
        "idle -> seen by the client": seen - idle,
    }


class FloorDriver:
    """The floor's process, asked line by line."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self.pid = process.pid

    async def _ask(self, do: str, **arguments: Any) -> dict[str, Any]:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"do": do, **arguments}).encode() + b"\n")
        return await self._read()

    async def _read(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = await self._process.stdout.readline()
        if not line:
            raise SystemExit("the floor's process ended")
        return json.loads(line)

    async def repeat(self, text: str, turns: int) -> list[float]:
        return (await self._ask("repeat", text=text, turns=turns))["seconds"]

    async def first_turns(self, text: str, sessions: int) -> list[float]:
        return (await self._ask("fresh", text=text, sessions=sessions, concurrency=1))["seconds"]

    async def load(self, text: str, sessions: int, concurrency: int) -> Load:
        answer = await self._ask("fresh", text=text, sessions=sessions, concurrency=concurrency)
        return Load(answer["seconds"], answer["elapsed"])

    @classmethod
    @contextlib.asynccontextmanager
    async def running(cls, stub_url: str) -> AsyncIterator[FloorDriver]:
        command = [sys.executable, "-m", "benchmarks.floor", "--stub", stub_url]
        process = await asyncio.create_subprocess_exec(
            *command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, limit=16 * 1024**2
        )
        driver = cls(process)
        try:
            await driver._read()
            yield driver
        finally:
            assert process.stdin is not None
            process.stdin.close()
            try:
                await asyncio.wait_for(process.wait(), 30)
            except TimeoutError:
                process.kill()
