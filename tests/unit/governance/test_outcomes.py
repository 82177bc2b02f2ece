"""What calls did, held against what was promised.

Bug class this catches: a version that breaks its promises and stays, or is taken back for bad luck.
"""

from __future__ import annotations

import pytest

from agents.governance.contract import Sla
from agents.governance.outcomes import Tally, breach, latency_class, longest_of, objectives
from agents.hands.servers.port import Outcome

SLA = Sla(p95_seconds=1.0, availability=0.99, error_rate=0.05, min_calls=20)


def tally(*calls: tuple[Outcome, float, int]) -> Tally:
    found = Tally()
    for outcome, seconds, count in calls:
        found.add(outcome, latency_class(seconds), count)
    return found


@pytest.mark.parametrize("seconds", [0.001, 0.0011, 0.05, 0.8, 1.0, 59.0, 3600.0])
def test_a_class_of_latencies_is_right_to_a_tenth(seconds: float) -> None:
    longest = longest_of(latency_class(seconds))
    assert longest / 1.1 <= seconds * 1.000001
    assert seconds <= longest * 1.000001
    assert latency_class(longest) == latency_class(seconds)
    assert latency_class(0) == 0
    assert latency_class(1e12) == latency_class(1e13)


def test_what_was_measured_stands_beside_what_was_promised() -> None:
    counted = tally(("ok", 0.1, 90), ("tool_error", 0.1, 4), ("ok", 3.0, 3), ("failed", 0.0, 2), ("ambiguous", 9.0, 1))
    availability, errors, latency = objectives(SLA, counted)
    assert (availability.measured, availability.bad, availability.calls) == (0.97, 3, 100)
    assert availability.used == pytest.approx(3.0)
    assert (errors.measured, errors.bad) == (4 / 97, 4)
    assert errors.used == pytest.approx(4 / 97 / 0.05)
    assert latency.measured == pytest.approx(0.1, rel=0.1)
    assert (latency.bad, latency.used) == (3, pytest.approx(3 / 97 / 0.05))


def test_the_95th_of_100_is_the_latency_that_counts() -> None:
    assert tally(("ok", 0.1, 95), ("ok", 5.0, 5)).p95_seconds == pytest.approx(0.1, rel=0.1)
    assert tally(("ok", 0.1, 94), ("ok", 5.0, 6)).p95_seconds == pytest.approx(5.0, rel=0.1)
    assert tally(("failed", 5.0, 3)).p95_seconds is None


def test_without_calls_nothing_is_measured_and_nothing_used_up() -> None:
    assert [(each.measured, each.used) for each in objectives(SLA, Tally())] == [(None, 0.0)] * 3
    assert breach(SLA, Tally()) is None


@pytest.mark.parametrize(
    ("calls", "why"),
    [
        ([("failed", 0.0, 19)], None),
        ([("failed", 0.0, 20)], "20 of 20 calls were not answered, and 0.01 of them may"),
        ([("ok", 0.1, 19), ("failed", 0.0, 1)], None),
        ([("ok", 0.1, 18), ("ambiguous", 0.0, 2)], None),
        ([("ok", 0.1, 17), ("ambiguous", 0.0, 3)], "3 of 20 calls were not answered, and 0.01 of them may"),
        ([("ok", 0.1, 96), ("tool_error", 0.1, 4)], None),
        ([("ok", 0.1, 92), ("tool_error", 0.1, 8)], None),
        ([("ok", 0.1, 80), ("tool_error", 0.1, 20)], "20 of 100 answered calls were errors of its tools, and 0.05"),
        ([("ok", 0.1, 30), ("ok", 2.0, 10)], "10 of 40 calls took more than 1 s, and 0.05 of them may"),
        ([("ok", 0.1, 99_000), ("failed", 0.0, 1_010)], None),
        ([("ok", 0.1, 98_000), ("failed", 0.0, 1_300)], "1300 of 99300 calls were not answered"),
    ],
)
def test_a_promise_is_broken_by_more_than_chance_explains(
    calls: list[tuple[Outcome, float, int]], why: str | None
) -> None:
    found = breach(SLA, tally(*calls))
    assert found is None if why is None else str(found).startswith(why)


def test_who_may_always_fail_breaks_no_promise() -> None:
    lenient = Sla(availability=0.0, error_rate=1.0, p95_seconds=3600.0)
    assert breach(lenient, tally(("tool_error", 1.0, 50), ("failed", 1.0, 50))) is None
