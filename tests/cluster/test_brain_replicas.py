"""Brain replicas on a real platform: one that dies in mid-answer is replaced, and an unread answer is not written.

Bug class this catches: what only Serve, real processes and real sockets show - a replica's death, its
replacement's way into the harnesses' tables, cancellation through three processes to the model server.
"""

from __future__ import annotations

import asyncio

import httpx
import psutil
import pytest

from tests.cluster.instance import Instance
from tests.conformance.requirements import requirement
from tests.conformance.scene import END, REQUEST, START, Scene, message, of_type, says, text_of

# The first test waits for the platform; a busy machine takes a minute.
pytestmark = pytest.mark.timeout(240)


def brain_replicas(instance: Instance) -> list[psutil.Process]:
    return instance.running("ServeReplica:hecaton-brain")


@requirement("platform:brain-lost", "streams:deltas:broken")
async def test_a_brain_that_dies_in_mid_answer_is_replaced_without_a_trace(scene: Scene, instance: Instance) -> None:
    await scene.answers(says(["half ", scene.gate("never")]), says(["who", "le"]))
    session = await scene.session()
    async with asyncio.timeout(90), scene.stream(session, {"event_deltas[]": "agent.message"}) as stream:
        await scene.send(session, message())
        await stream.until("event_delta")
        [replica] = brain_replicas(instance)
        replica.kill()
        await stream.until("session.status_idle")
    log = await scene.log(session)
    assert [event["type"] for event in log] == [*START, "user.message", *REQUEST, *END]
    [said] = of_type(log, "agent.message")
    assert text_of(said) == "whole"
    first, second = (event["event"]["id"] for event in of_type(stream.events, "event_start"))
    assert first != said["id"] == second
    assert (
        "".join(
            event["delta"]["content"]["text"]
            for event in of_type(stream.events, "event_delta")
            if event["event_id"] == second
        )
        == "whole"
    )


async def chunks(instance: Instance) -> tuple[float, float]:
    """Chunks that replicas had and that they were sent, as all harnesses tell it on /metrics."""
    async with httpx.AsyncClient() as client:
        lines = (await client.get(f"{instance.url}/metrics", timeout=30)).text.splitlines()

    def total(name: str) -> float:
        return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(f"hecaton_brain_{name}{{"))

    return total("chunk_hits"), total("chunk_misses")


@requirement("platform:context")
async def test_a_brain_that_dies_between_turns_is_sent_all_that_was_said(scene: Scene, instance: Instance) -> None:
    await scene.answers(*(says(text) for text in ("one", "two", "three")))
    session = await scene.session()
    async with asyncio.timeout(180):
        await scene.turn(session)
        before = await chunks(instance)
        await scene.turn(session)
        after = await chunks(instance)
        assert (after[0] - before[0], after[1] - before[1]) == (2, 2), "the answer and what was said then had to travel"
        [replica] = brain_replicas(instance)
        replica.kill()
        await scene.turn(session)
    again = await chunks(instance)
    # Whoever died may have been sent the two new ones before it was known to be dead.
    assert again[1] - after[1] in (6, 8), "the system prompt and five messages"
    shown = [each["messages"] for each in await scene.shown(3)]
    assert [len(messages) for messages in shown] == [1, 3, 5]
    assert [said["content"][0]["text"] for said in shown[2]] == ["go", "one", "go", "two", "go"]


@requirement("events:interrupt:thinking")
@pytest.mark.parametrize("watched", [True, False])
async def test_an_interrupt_ends_the_request_at_the_model_server(scene: Scene, watched: bool) -> None:
    await scene.answers(says(["half ", scene.gate("never")]))
    session = await scene.session()
    previews = {"event_deltas[]": "agent.message"} if watched else None
    async with asyncio.timeout(60), scene.stream(session, previews) as stream:
        await scene.send(session, message())
        await scene.shown(1)
        if watched:
            await stream.until("event_delta")
        await scene.send(session, {"type": "user.interrupt"})
        await stream.until("session.status_idle")
    assert len(await scene.shown(1, closed=1)) == 1
    [end] = of_type(await scene.log(session), "span.model_request_end")
    assert end["is_error"] is True
    if watched:
        assert end["model_usage"]["input_tokens"] > 0, "what was asked was charged"
