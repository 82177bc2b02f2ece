"""When an answer's first token came (ours), also where its events come together at the end."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from agents.brains.first_token import FirstToken, with_first_token

EVENTS = [{"type": kind} for kind in ("message_start", "ping", "content_block_start", "content_block_stop")]
STOP = {"type": "message_stop"}


class Seconds:
    now = 100.0

    def __call__(self) -> float:
        return self.now


async def slowly(seconds: Seconds) -> AsyncIterator[dict[str, Any]]:
    for event in (*EVENTS, STOP):
        seconds.now += 1
        yield event


async def test_it_is_when_the_first_block_begins() -> None:
    seconds = Seconds()
    first = FirstToken(seconds)
    async for event in slowly(seconds):
        first.see(event)
    assert first.at == 103


async def test_an_answer_that_comes_at_once_says_when_it_was() -> None:
    replica = Seconds()
    events = [event async for event in with_first_token(slowly(replica), replica)]
    assert [event["type"] for event in events] == [*(event["type"] for event in EVENTS), "message_stop"]
    asker = Seconds()
    first = FirstToken(asker)
    first.see(events[0])
    asker.now += 60
    for event in events[1:]:
        first.see(event)
    assert first.at == 102, "two seconds after its opening was here"


async def test_what_a_models_server_says_of_it_is_not_believed() -> None:
    seconds = Seconds()
    first = FirstToken(seconds)
    for event in (*EVENTS, {"type": "message_stop", "hecaton_first_token_seconds": "soon"}):
        first.see(event)
    assert first.at == 100


async def test_another_brain_begins_anew() -> None:
    seconds = Seconds()
    first = FirstToken(seconds)
    for event in EVENTS:
        first.see(event)
    seconds.now += 5
    first.see(EVENTS[0])
    assert first.at is None


async def test_an_answer_without_a_block_has_none() -> None:
    seconds = Seconds()
    assert [event async for event in with_first_token(_only_stop(), seconds)] == [STOP]


async def _only_stop() -> AsyncIterator[dict[str, Any]]:
    yield STOP
