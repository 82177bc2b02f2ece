"""What may go wrong between a worker and its server, and must not cost a call that is under way."""

from __future__ import annotations

import pytest

from tests.unit.waiting import until
from tests.unit.workers.conftest import Rack, SeenHands
from tests.unit.workers.fake_server import SESSION, FakeServer

OUTAGES = [
    pytest.param(503, id="nobody-home"),
    pytest.param(429, id="too-many"),
    pytest.param("refused", id="no-connection"),
]


async def ends_well(rack: Rack, server: FakeServer) -> None:
    """Let the call that sleeps end; its result is that of a call that nothing has happened to."""
    rack.clock.advance(60)
    await until(server.results)
    assert server.results() == {"call_1": "slept"}
    assert [item.state.value for item in server.items] == ["active"], "one item, served all along"


@pytest.mark.parametrize("fault", OUTAGES)
@pytest.mark.parametrize("what", ["stream", "events"])
async def test_a_call_outlives_a_passing_failure_of_whatever_else_is_asked(
    rack: Rack, server: FakeServer, what: str, fault: int | str
) -> None:
    async with rack.in_a_call():
        server.fail(what, fault, fault)
        before = server.asked_for("stream")
        server.break_streams()
        await until(lambda: server.streaming() and server.asked_for("stream") > before)
        await ends_well(rack, server)


async def test_an_error_that_a_stream_ends_with_is_not_taken_for_the_servers_last_word(
    rack: Rack, server: FakeServer
) -> None:
    async with rack.in_a_call():
        server.break_streams(error="the session's owner is gone; reconnect")
        await until(server.streaming)
        await ends_well(rack, server)


async def test_a_result_is_sent_until_the_server_has_it(rack: Rack, server: FakeServer) -> None:
    server.queue()
    server.call("call_1", "echo slept")
    server.fail("send", 503, "refused", 529)
    async with rack.working():
        await until(server.results)
        assert server.asked_for("send") == 4 and server.results() == {"call_1": "slept"}


async def test_hands_are_told_of_a_host_with_the_sessions_files_once_there_was_a_result(
    rack: Rack, server: FakeServer
) -> None:
    """Told before, they would tell the model of a host that was restarted."""
    hands = SeenHands()
    server.queue()
    server.call("call_1", "echo slept")
    async with rack.working(hands):
        await until(server.results)
        server.idle()
    async with rack.working(hands):
        server.queue()
        server.call("call_2", "echo slept")
        await until(lambda: len(server.results()) == 2)
    assert [each.host for each in hands.seen] == [None, hands.incarnation]


async def test_no_request_waits_for_ever_for_a_server_that_is_gone_without_a_word(
    rack: Rack, server: FakeServer
) -> None:
    server.queue()
    server.call("call_1", "echo slept")
    async with rack.working():
        await until(server.results)
    stream, others = server.patience.pop("stream"), server.patience
    assert stream == 90 and others == dict.fromkeys(
        ["poll", "ack", "heartbeat", "session", "events", "send", "stop"], 30
    )


async def test_a_session_that_is_over_has_nothing_run(rack: Rack, server: FakeServer) -> None:
    server.queue()
    server.call("call_1", "echo late")
    server.say(SESSION, type="session.status_terminated")
    async with rack.working():
        await until(lambda: server.items[0].state.value == "stopped")
    assert server.results() == {}


async def test_a_session_that_the_server_refuses_is_given_back(rack: Rack, server: FakeServer) -> None:
    server.queue()
    server.fail("stream", 404)
    async with rack.working():
        await until(lambda: server.items[0].state.value == "stopped")
