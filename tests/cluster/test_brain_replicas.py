"""Brain replicas on a real platform: one that dies in mid-answer is replaced, and an unread answer is not written.

Bug class this catches: what only Serve, real processes and real sockets show - a replica's death, its
replacement's way into the harnesses' tables, cancellation through three processes to the model server.
"""

from __future__ import annotations

import asyncio

import psutil
import pytest

from tests.cluster.instance import Instance
from tests.conformance.requirements import requirement
from tests.conformance.scene import END, REQUEST, START, Scene, message, of_type, says, text_of

# The first test waits for the platform; a busy machine takes a minute.
pytestmark = pytest.mark.timeout(240)


def brain_replicas(instance: Instance) -> list[psutil.Process]:
    return [each for each in instance.processes() if "ServeReplica:hecaton-brain" in " ".join(each.cmdline())]


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
