"""Plays the arrivals of a round against a platform, as clients of its public API do.

An open loop begins each session when it is due, whatever became of the others: a platform that falls behind is asked
as much as one that does not. A closed loop begins one as soon as another has ended. A session is what an application
does: create it, open its stream, send the message, read until the turn is over.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace

import orjson

from agents.experiments.running.platform_api import PlatformApi, message
from agents.experiments.running.raw_http import Connection, Refused
from agents.experiments.running.watching import StreamView
from agents.experiments.trace_rows import UNFINISHED
from agents.experiments.work.arrivals import Arrival

MOST_SESSIONS = 1000
"""Sessions under way at a time: each holds two connections. Those beyond it wait, and their time counts from when they
were due all the same."""
_AT_WORK = "/v1/sessions?statuses%5B%5D=running&statuses%5B%5D=rescheduling&limit=1"
_REOPEN_SECONDS = 0.5
_AFTER_FAULT_SECONDS = 1.0


@dataclass(slots=True)
class Played:
    """One session as its client saw it; moments are seconds since the round began."""

    arrival: Arrival
    began: float | None = None
    first: float | None = None
    ended: float | None = None
    session: str = ""
    """Its id; empty when it could not be made."""
    retries: int = 0
    """Requests and streams that the client had to ask for again."""
    fault: str = ""
    """Why it ended otherwise than with the end of its turn."""
    announced: Mapping[str, float] = field(default_factory=lambda: {})
    """When the first piece of each answer came, by the id of its event."""


@dataclass(frozen=True, slots=True)
class Stretch:
    """How long a round is, in seconds."""

    seconds: float
    warm_up: float
    patience: float
    """How long after it sessions under way are waited for."""


class Driver:
    """One round's clients."""

    def __init__(
        self,
        api: PlatformApi,
        bodies: Mapping[str, Mapping[str, object]],
        text: Callable[[Arrival], str],
        stretch: Stretch,
        *,
        most_sessions: int = MOST_SESSIONS,
    ) -> None:
        """*bodies* create a session of each workload; *text* is what its user says."""
        self._api = api
        self._bodies = {workload: orjson.dumps(body) for workload, body in bodies.items()}
        self._text = text
        self._stretch = stretch
        self._places = asyncio.Semaphore(most_sessions)
        self._loop = asyncio.get_running_loop()
        self._zero = self._loop.time()
        self.zero = time.time()
        """When the round began, in seconds since 1970: what the server's times are held against."""
        self.played: list[Played] = []

    def now(self) -> float:
        """Return the seconds since the round began."""
        return self._loop.time() - self._zero

    async def open_loop(self, arrivals: Iterator[Arrival]) -> None:
        """Begin every session when it is due; returns when all have ended or patience has."""
        async with asyncio.TaskGroup() as group:
            for arrival in arrivals:
                await self.sleep_until(arrival.due)
                group.create_task(self._play(arrival))

    async def closed_loop(self, arrivals: Iterator[Arrival], sessions: int) -> None:
        """Keep *sessions* under way for the round's length, then let the last ones end, as long as patience lasts."""

        async def place() -> None:
            while (now := self.now()) < self._stretch.seconds:
                due = replace(next(arrivals), due=now, warm_up=now < self._stretch.warm_up)
                if (await self._play(due)).fault:
                    # Refused at once, it would be asked a thousand times a second.
                    await asyncio.sleep(_AFTER_FAULT_SECONDS)

        async with asyncio.TaskGroup() as group:
            for _ in range(sessions):
                group.create_task(place())

    async def sleep_until(self, moment: float) -> None:
        """Return at *moment*, seconds after the round's beginning."""
        await asyncio.sleep(moment - self.now())

    async def _play(self, arrival: Arrival) -> Played:
        played = Played(arrival)
        self.played.append(played)
        patience = self._zero + self._stretch.seconds + self._stretch.patience
        try:
            async with asyncio.timeout_at(patience), self._places:
                played.began = self.now()
                await self._session(played)
                played.ended = self.now()
        except TimeoutError:
            played.fault = UNFINISHED if self._loop.time() >= patience else "timeout"
        except Refused as refusal:
            played.fault = f"http_{refusal.status}" if refusal.status else "connection_lost"
        except OSError:
            played.fault = "connection_lost"
        return played

    async def _session(self, played: Played) -> None:
        made, retries = await self._api.ask("POST", "/v1/sessions", self._bodies[played.arrival.workload])
        played.session, played.retries = orjson.loads(made)["id"], retries
        view, sent = StreamView(), False
        played.announced = view.announced
        while not view.ended:
            try:
                async with self._api.stream(await self._stream_path(played.session, view, resume=sent)) as (
                    stream,
                    retries,
                ):
                    played.retries += retries
                    if not sent:
                        await self._send(played)
                        sent = True
                    await self._read(stream, view, played)
            except (Refused, OSError) as failure:
                if not sent or isinstance(failure, TimeoutError):
                    raise
            if not view.ended:
                # Cut off in mid-turn; the turn goes on, and so does the client, behind what it has seen.
                view.broken = False
                played.retries += 1
                await asyncio.sleep(_REOPEN_SECONDS)

    async def _stream_path(self, session: str, view: StreamView, *, resume: bool) -> str:
        path = f"/v1/sessions/{session}/events"
        if resume and not view.last:
            logged = (await self._api.get(f"{path}?limit=1"))["data"]
            view.last = logged[0]["id"] if logged else ""
        after = f"&after={view.last}" if view.last else ""
        return f"{path}/stream?event_deltas%5B%5D=agent.message{after}"

    async def _send(self, played: Played) -> None:
        body = orjson.dumps(message(self._text(played.arrival)))
        _, retries = await self._api.ask("POST", f"/v1/sessions/{played.session}/events", body)
        played.retries += retries

    async def _read(self, stream: Connection, view: StreamView, played: Played) -> None:
        """Read until the turn or the stream is over. Raises Refused when the connection was lost."""
        while True:
            view.read(stream.body, self.now())
            played.first = view.first_text
            if view.ended or view.broken or stream.complete:
                return
            await stream.change()


async def interrupt_unfinished(api: PlatformApi, played: list[Played], *, within: float = 60.0) -> bool:
    """End the turns that patience was too short for, so that the next round does not bear them.

    Returns whether none runs any more after *within* seconds. Raises Refused, OSError.
    """
    interrupt = {"events": [{"type": "user.interrupt"}]}
    left = [each.session for each in played if each.session and each.ended is None]
    running = bool(left)
    try:
        async with asyncio.timeout(within):
            for session in left:
                await api.post(f"/v1/sessions/{session}/events", interrupt)
            while running:
                await asyncio.sleep(_REOPEN_SECONDS)
                running = bool((await api.get(_AT_WORK))["data"])
    except TimeoutError:
        return False
    return True
