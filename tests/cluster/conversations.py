"""Sessions that are kept busy while a platform's parts die, come and go, and what their clients then hold them to."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager

import httpx

from tests.conformance.scene import Json, Scene, message, of_type, ordered_results, text_of, toolset
from tests.conformance.sse import RawStream, raw_stream

SESSIONS = 6
PATIENCE = 180.0
DIRECTIVE = 'stub: tools=2 delay=0.02 command="sleep 0.1; echo . >> f; wc -l < f" text=end'
_TOLD_EVENTS = 12
_TOLD_SECONDS = 15.0


class Conversation:
    """A session that is kept busy: one turn after the other, watched by a stream that stays open.

    With *reconnects* the stream is opened again behind the last event it showed, as a raw client may.
    """

    def __init__(self, scene: Scene, session: str, *, reconnects: bool) -> None:
        self.session = session
        self.turns = 0
        self.reconnections = 0
        self.progress = asyncio.Condition()
        self._scene = scene
        self._reconnects = reconnects
        self._seen: list[str] = []
        self._sent: set[str] = set()
        self._stopping = False
        self._doing, self._since = "opens its stream", time.monotonic()

    async def run(self) -> None:
        async with aclosing(self._events()) as events:
            await anext(events)
            while not self._stopping:
                await self._say()
                async for event in events:
                    self._now(f"has seen {event['type']}")
                    if event["type"] == "session.status_idle":
                        assert event["stop_reason"] == {"type": "end_turn"}, event
                        break
                async with self.progress:
                    self.turns += 1
                    self.progress.notify_all()

    async def _say(self) -> None:
        """Send what starts a turn; in words that were not said before, or its retry might be taken for theirs."""
        self._now("sends")
        [echo] = await self._scene.send(self.session, message(f"turn {self.turns}\n{DIRECTIVE}"))
        assert echo["id"] not in self._sent, "an earlier message's echo: this one was never taken in"
        self._sent.add(echo["id"])
        self._now("was answered")

    def stop(self) -> None:
        self._stopping = True

    def _now(self, doing: str) -> None:
        self._doing, self._since = doing, time.monotonic()

    async def _events(self) -> AsyncIterator[Json]:
        """Yield something when the stream stands, then every logged event of the session once."""
        while True:
            resume = {"last-event-id": self._seen[-1]} if self._seen else {}
            path = f"/v1/sessions/{self.session}/events/stream"
            try:
                async with raw_stream(self._scene.http, path, None, resume) as stream:
                    if not self._seen:
                        yield {}
                    async for event in self._logged(stream):
                        yield event
                raise AssertionError("the stream came to an end")
            except (httpx.TransportError, AssertionError):
                if not self._reconnects:
                    raise
            self.reconnections += 1

    async def _logged(self, stream: RawStream) -> AsyncIterator[Json]:
        while True:
            try:
                event = await stream.next(PATIENCE)
            except StopAsyncIteration:
                return
            assert event["type"] != "error", event
            if event["processed_at"] is not None:
                self._seen.append(event["id"])
                yield event

    async def check(self, *, hosts_die: bool) -> None:
        """Hold the whole history to what was shown and done."""
        log = await self._scene.log(self.session)
        assert [event["id"] for event in log] == self._seen, "the stream showed every event once and in order"
        results = ordered_results(log)
        assert len(of_type(log, "agent.tool_result")) == len(results) == 2 * self.turns
        trouble = of_type(log, "session.error", "session.status_rescheduled")
        assert not trouble, "\n".join(map(str, trouble))
        known = 0
        for place, result in enumerate(results):
            if result["is_error"]:
                # Only its own host's death makes a call ambiguous; the model is told so.
                assert hosts_die and "may have taken effect" in text_of(result), (place, text_of(result))
            else:
                known += 1
                # A note on a shell that was started anew may come first.
                lines = int(result["content"][-1]["text"])
                assert known <= lines <= place + 1, f"{lines} lines were written by {place + 1} calls"

    async def standing(self) -> str:
        """Say what the client waits for, and what the platform has of the session."""
        client = f"{self.turns} turns, {self.reconnections} reconnections, {self._doing} {_ago(self._since)}"
        try:
            async with asyncio.timeout(_TOLD_SECONDS):
                status = (await self._scene.retrieve(self.session))["status"]
                log = await self._scene.log(self.session)
        except (httpx.HTTPError, AssertionError, TimeoutError) as error:
            return f"{self.session}: {client}; the platform does not tell: {error!r}"
        last = [f"{event['processed_at']} {event['type']} {event['id']}" for event in log[-_TOLD_EVENTS:]]
        shown = self._seen[-1] if self._seen else None
        return "\n    ".join(
            [f"{self.session}: {client}; it is {status}, shown last was {shown}; its log ends:", *last]
        )


def _ago(moment: float) -> str:
    return f"{time.monotonic() - moment:.1f} s ago"


class Load:
    """Conversations under way."""

    def __init__(self, conversations: Sequence[Conversation]) -> None:
        self.conversations = conversations

    async def turns(self, more: int) -> None:
        """Return when every conversation has had *more* turns from now on."""
        await asyncio.gather(*(self._wait(each, each.turns + more) for each in self.conversations))

    @staticmethod
    async def _wait(conversation: Conversation, turns: int) -> None:
        async with conversation.progress:
            await conversation.progress.wait_for(lambda: conversation.turns >= turns)


@asynccontextmanager
async def load(scene: Scene, *, reconnects: bool = False, hosts_die: bool = False) -> AsyncIterator[Load]:
    """Keep sessions busy while the body runs, which may wait for their progress; then check each of them."""
    agent = await scene.agent(toolset())
    made = [Conversation(scene, await scene.session(agent=agent), reconnects=reconnects) for _ in range(SESSIONS)]
    async with asyncio.TaskGroup() as running:
        tasks = [running.create_task(each.run()) for each in made]
        under_way = Load(made)
        try:
            async with asyncio.timeout(PATIENCE):
                await under_way.turns(1)
                yield under_way
                await under_way.turns(1)
                for each in made:
                    each.stop()
                await asyncio.wait(tasks)
        except TimeoutError:
            raise AssertionError(await _evidence(scene, made)) from None
    for each in made:
        await each.check(hosts_die=hosts_die)


async def _evidence(scene: Scene, conversations: Sequence[Conversation]) -> str:
    """Say how everything stands when somebody waits in vain."""
    told = await asyncio.gather(*(each.standing() for each in conversations), _ready(scene))
    return "\n".join([f"not over after {PATIENCE:g} s", *told])


async def _ready(scene: Scene) -> str:
    try:
        async with asyncio.timeout(_TOLD_SECONDS):
            return f"readyz: {await scene.get('/-/readyz')}"
    except (httpx.HTTPError, AssertionError, TimeoutError) as error:
        return f"readyz does not answer: {error!r}"
