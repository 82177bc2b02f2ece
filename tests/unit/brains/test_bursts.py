"""When more replicas than usual may run.

Bug class this catches: a burst for a moment's load, one that never ends, one that flutters.
"""

from __future__ import annotations

import pytest

from agents.brains.bursts import BurstGate


@pytest.fixture
def gate() -> BurstGate:
    return BurstGate(4, 10, load_factor=1.5, start_seconds=30)


def test_it_opens_when_the_load_has_wanted_clearly_more_for_a_while(gate: BurstGate) -> None:
    assert [gate.allowed(7, 4, now) for now in (0, 29.9, 30)] == [4, 4, 10]


def test_a_moment_without_such_a_load_begins_the_while_anew(gate: BurstGate) -> None:
    assert [gate.allowed(wanted, 4, now) for wanted, now in ((7, 0), (6, 20), (7, 21), (7, 50), (7, 51))] == [
        4,
        4,
        4,
        4,
        10,
    ]


def test_it_closes_when_the_usual_replicas_are_enough_and_no_more_are_left(gate: BurstGate) -> None:
    gate.allowed(7, 4, 0)
    gate.allowed(7, 4, 30)
    assert gate.allowed(4.1, 7, 31) == 10
    assert gate.allowed(1, 5, 32) == 10, "those beyond are not taken back yet"
    assert gate.allowed(4, 4, 33) == 4
    assert [gate.allowed(7, 4, now) for now in (34, 63, 64)] == [4, 4, 10]


def test_replicas_beyond_the_usual_are_a_burst_whoever_began_it(gate: BurstGate) -> None:
    assert gate.allowed(5, 7, 0) == 10
    assert gate.bursting


def test_without_money_for_more_there_is_none() -> None:
    gate = BurstGate(4, 4, load_factor=1.5, start_seconds=0)
    assert gate.allowed(99, 4, 0) == 4
    assert not gate.bursting
