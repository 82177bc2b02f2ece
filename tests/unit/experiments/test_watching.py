"""What a client sees in a session's stream, however its frames are cut into pieces."""

from __future__ import annotations

import pytest

from agents.experiments.running.watching import StreamView

OPEN = b": open\n\n"
RUNNING = b'event: session.status_running\nid: sevt_1\ndata: {"type":"session.status_running"}\n\n'
ANNOUNCED = b'event: event_start\ndata: {"type":"event_start","event":{"type":"agent.message","id":"sevt_7"}}\n\n'
DELTA = b'event: event_delta\ndata: {"type":"event_delta","event_id":"sevt_7"}\n\n'
MESSAGE = b'event: agent.message\nid: sevt_7\ndata: {"id":"sevt_7"}\n\n'
RESCHEDULED = b'event: session.status_rescheduled\nid: sevt_8\ndata: {"note":"event: session.status_idle"}\n\n'
IDLE = b'event: session.status_idle\nid: sevt_9\ndata: {"id":"sevt_9"}\n\n'


def read(*pieces: tuple[float, bytes]) -> StreamView:
    view, body = StreamView(), bytearray()
    for at, piece in pieces:
        body += piece
        view.read(body, at)
    return view


@pytest.mark.parametrize("cut", [1, 9, 40, 90])
def test_the_first_text_counts_from_when_its_frame_was_whole(cut: int) -> None:
    text = DELTA[:cut], DELTA[cut:]
    view = read((1.0, OPEN + RUNNING), (2.0, ANNOUNCED), (3.0, text[0]), (4.0, text[1]), (5.0, MESSAGE), (6.0, IDLE))
    assert view.first_text == (3.0 if not text[1] else 4.0)
    assert view.announced == {"sevt_7": 2.0}
    assert (view.ended, view.broken, view.last) == (True, False, "sevt_9")


def test_a_message_without_a_preview_is_first_text_too() -> None:
    assert read((1.0, RUNNING), (2.0, MESSAGE)).first_text == 2.0


def test_a_turn_that_is_tried_again_has_not_ended_whatever_its_events_quote() -> None:
    view = read((1.0, RUNNING + RESCHEDULED))
    assert not view.ended
    assert view.last == "sevt_8"


def test_a_server_that_gives_the_stream_up_says_so() -> None:
    assert read((1.0, RUNNING + b'event: error\ndata: {"type":"error"}\n\n')).broken
