"""What a gateway is told about the sessions that it watches at a harness."""

from __future__ import annotations

from typing import Any

from actors.gateway_connection import GatewayConnection
from actors.link_server import no_calls
from actors.replies import Reply
from agents.errors import Fenced
from agents.sessions.bus import Bus
from agents.sessions.host import THREADS, Frame

SESSION = "sesn_1"
FRAME = Frame("agent.message", b"{}", seq=1, event_id="sevt_1")


class FakeStream:
    def __init__(self) -> None:
        self.sent: list[Any] = []

    def send(self, message: Any) -> None:
        self.sent.append(message)


class Harness:
    """The harness's side of one gateway's link."""

    def __init__(self) -> None:
        self.bus = Bus()
        self.owned = True
        self.stream = FakeStream()
        self.gateway = GatewayConnection(self.stream, no_calls, self.bus, self._check_owner)  # type: ignore[arg-type]

    def _check_owner(self, session_id: str) -> None:
        if not self.owned:
            raise Fenced(f"{session_id} is not owned here")

    def watch(self, number: int = 1, *previews: str) -> Any:
        self.gateway.received(("watch", number, SESSION, frozenset(previews)))
        return self.stream.sent.pop()


def test_a_watched_sessions_frames_are_sent_until_it_is_no_longer_watched() -> None:
    harness = Harness()
    assert harness.watch(1, THREADS) == ("reply", 1, Reply(True))
    harness.bus.publish(SESSION, [FRAME])
    assert harness.stream.sent == [("frames", SESSION, [FRAME.packed()])]
    harness.gateway.received(("unwatch", SESSION))
    harness.bus.publish(SESSION, [FRAME])
    assert len(harness.stream.sent) == 1 and not harness.bus.watched(SESSION)


def test_a_gateway_that_knows_no_threads_is_sent_what_it_takes() -> None:
    """Bug class this catches: during a roll one session with threads breaks a gateway's link, for all its sessions."""
    harness = Harness()
    harness.watch(1, "agent.message")
    own = Frame("agent.message", b"{}", seq=2, event_id="sevt_2", thread="sthr_1")
    preview = Frame("event_delta", b"{}", event_id="sevt_3", preview="agent.message", thread="sthr_1")
    shown = Frame("session.thread_status_idle", b"{}", seq=3, event_id="sevt_4", thread="sthr_1", crossposted=True)
    harness.bus.publish(SESSION, [own, preview])
    harness.bus.publish(SESSION, [FRAME, shown])
    [(_, _, packed)] = harness.stream.sent
    assert packed == [(each.type, each.data, each.seq, each.event_id, None, False) for each in (FRAME, shown)]


def test_a_session_that_is_not_owned_here_is_not_watched() -> None:
    harness = Harness()
    harness.owned = False
    kind, number, reply = harness.watch()
    assert (kind, number) == ("reply", 1) and isinstance(reply.error, Fenced)
    assert not harness.bus.watched(SESSION)


def test_a_severed_session_is_said_to_have_moved_and_may_be_watched_again() -> None:
    harness = Harness()
    harness.watch()
    harness.bus.sever(SESSION)
    assert harness.stream.sent == [("moved", SESSION)] and not harness.bus.watched(SESSION)
    harness.gateway.received(("unwatch", SESSION))
    assert harness.watch(2, THREADS) == ("reply", 2, Reply(True))
    harness.bus.publish(SESSION, [FRAME])
    assert harness.stream.sent[-1] == ("frames", SESSION, [FRAME.packed()])


async def test_a_gateway_that_is_gone_watches_nothing() -> None:
    harness = Harness()
    harness.watch(1, "agent.message")
    assert harness.bus.wants(SESSION, "agent.message")
    await harness.gateway.closed()
    assert not harness.bus.watched(SESSION)
