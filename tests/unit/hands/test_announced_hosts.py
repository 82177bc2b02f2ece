"""What the fleet knows of hosts that announce themselves: nothing is called gone that may live."""

from __future__ import annotations

from dataclasses import replace

import pytest

from agents.clock import ManualClock
from agents.errors import Unavailable
from agents.hands.announced_hosts import AnnouncedHosts
from agents.hands.host_fleet import HostReport
from agents.hands.placement import HostState, is_gone

FIRST = HostReport("monolith-0/a", ("127.0.0.1", 4000, b"t"), False, {"live": 1})
NEXT = replace(FIRST, incarnation="monolith-0/b", address=("127.0.0.1", 4001, b"u"))


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def hosts(clock: ManualClock) -> AnnouncedHosts:
    made = AnnouncedHosts(clock)
    clock.advance(10)
    return made


def test_nothing_is_told_before_every_host_had_the_time_to_announce_itself(clock: ManualClock) -> None:
    hosts = AnnouncedHosts(clock)
    hosts.announce(FIRST)
    with pytest.raises(Unavailable):
        hosts.table()
    clock.advance(10)
    assert list(hosts.table()) == ["monolith-0"]


def test_a_host_is_up_then_silent_and_gone_long_after_it_was_heard_of(
    clock: ManualClock, hosts: AnnouncedHosts
) -> None:
    hosts.announce(FIRST)
    place = hosts.table()["monolith-0"]
    assert (place.state, place.incarnation, place.address) == (HostState.UP, FIRST.incarnation, FIRST.address)
    assert hosts.figures() == {"monolith-0": {"live": 1}}
    clock.advance(11)
    assert hosts.table()["monolith-0"].state is HostState.SILENT
    assert hosts.figures() == {"monolith-0": None}
    assert not is_gone(hosts.table(), FIRST.incarnation)
    clock.advance(120)
    assert is_gone(hosts.table(), FIRST.incarnation)


def test_the_next_incarnation_ends_the_one_before_it(hosts: AnnouncedHosts) -> None:
    hosts.announce(FIRST)
    hosts.announce(NEXT)
    assert is_gone(hosts.table(), FIRST.incarnation) and not is_gone(hosts.table(), NEXT.incarnation)
    hosts.withdraw(FIRST.incarnation)
    assert not is_gone(hosts.table(), NEXT.incarnation), "the farewell of the one before it came late"
    hosts.withdraw(NEXT.incarnation)
    assert is_gone(hosts.table(), NEXT.incarnation)


def test_a_host_that_leaves_says_so(hosts: AnnouncedHosts) -> None:
    hosts.announce(replace(FIRST, leaving=True))
    assert hosts.table()["monolith-0"].leaving
