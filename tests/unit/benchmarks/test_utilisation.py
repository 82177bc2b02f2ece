"""What the utilisation benchmark concludes from the stub's count, and what theory lets it expect."""

from __future__ import annotations

from dataclasses import replace

import pytest

from benchmarks.samples import ratio_of_means
from benchmarks.utilisation import Turn, Window, dollars, hands_seconds
from tests.stub_model.occupancy import Occupancy

TURN = Turn(think=1.0, hands=2.0, rounds=3)


class Hand:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.time = 100.0

    def __call__(self) -> float:
        return self.time


def test_requests_are_cut_by_the_readings_between_which_they_fall() -> None:
    clock = Hand()
    occupancy = Occupancy(clock)
    first, second = occupancy.request(), occupancy.request()
    first.__enter__()
    clock.time = 101.0
    begin = occupancy.reading()
    second.__enter__()
    clock.time = 104.0
    middle = occupancy.reading()
    first.__exit__(None, None, None)
    clock.time = 106.0
    second.__exit__(None, None, None)
    clock.time = 109.0
    end = occupancy.reading()
    window = Window([begin, middle, end], hands=[], cpu=0.0, others_cpu=0.0)
    assert window.busy(places=2) == [pytest.approx(1.0), pytest.approx(2 / 5 / 2)]
    assert (window.seconds, window.requests, end["most"]) == (8.0, 2, 2)


def test_a_request_that_fails_is_at_its_end_too() -> None:
    clock = Hand()
    occupancy = Occupancy(clock)
    with pytest.raises(ValueError), occupancy.request():
        clock.time += 1.0
        raise ValueError
    clock.time += 1.0
    reading = occupancy.reading()
    assert (reading["busy_seconds"], reading["ended"]) == (1.0, 1)


def test_a_place_that_is_held_through_tools_is_used_for_the_thinking_alone() -> None:
    assert TURN.thinking_share == pytest.approx(4 / (4 + 6))
    assert replace(TURN, rounds=0).thinking_share == 1.0
    assert TURN.seconds == 10.0


def test_the_load_keeps_all_places_in_use_though_a_tool_follows_every_request() -> None:
    assert TURN.sessions(places=8, saturation=1.5) == 36
    assert replace(TURN, rounds=0).sessions(places=8, saturation=1.5) == 12


def test_a_gpu_is_paid_by_the_hour_used_or_not() -> None:
    assert dollars(gpu_hour=7.2, turns_per_second=2.0) == pytest.approx(1.0)


def test_hands_are_timed_from_answer_to_request_within_a_turn() -> None:
    def event(kind: str, second: int) -> dict[str, str]:
        return {"type": kind, "processed_at": f"2026-01-01T00:00:{second:02}Z"}

    turn = [event("span.model_request_start", 0), event("span.model_request_end", 1)]
    turn += [event("agent.tool_use", 1), event("agent.tool_result", 2)]
    turn += [event("span.model_request_start", 3), event("span.model_request_end", 9)]
    assert list(hands_seconds([*turn, event("session.status_idle", 9), *turn])) == [2.0, 2.0]


def test_a_ratio_of_means_lies_in_its_interval() -> None:
    ratio, low, high = ratio_of_means([1.0, 1.0, 4.0], [1.0, 2.0, 3.0])
    assert low <= ratio == 1 <= high
