"""Where a session's calls go: to its own host for as long as that makes sense, else evenly over the others."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from agents.hands.incarnation import host_name, host_number, host_of, new_incarnation
from agents.hands.placement import HostPlace, HostState, choose, is_gone
from agents.hands.port import Workspace


def up(incarnation: str, **more: Any) -> HostPlace:
    return HostPlace(HostState.UP, incarnation, ("127.0.0.1", 1, b""), **more)


A, B, C = "sandbox-host-0/a", "sandbox-host-1/b", "sandbox-host-2/c"
TABLE = {host_of(each): up(each) for each in (A, B, C)}


def test_a_new_session_always_gets_the_same_host_and_many_are_spread_evenly() -> None:
    places = [choose(TABLE, Workspace(f"sesn_{number}"), patient=True) for number in range(3000)]
    assert places == [choose(dict(reversed(TABLE.items())), Workspace(f"sesn_{n}"), patient=True) for n in range(3000)]
    assert all(900 < count < 1100 for count in Counter(places).values())


def test_when_a_host_leaves_only_its_own_sessions_move() -> None:
    without = {**TABLE, "sandbox-host-0": up(A, leaving=True)}
    for number in range(300):
        workspace = Workspace(f"sesn_{number}")
        before, after = choose(TABLE, workspace, patient=True), choose(without, workspace, patient=True)
        assert after != A and (before == A or after == before)


@pytest.mark.parametrize("own", [A, B, C])
def test_a_session_stays_with_its_host(own: str) -> None:
    assert choose(TABLE, Workspace("sesn_1", host=own), patient=True) == own


def test_a_session_goes_to_the_next_process_of_its_host() -> None:
    assert choose(TABLE, Workspace("sesn_1", host="sandbox-host-1/before"), patient=True) == B


@pytest.mark.parametrize(
    ("state", "patient"), [(HostState.REPLACED, None), (HostState.UNKNOWN, None), (HostState.SILENT, B)]
)
def test_the_own_host_is_waited_for_while_there_is_patience(state: HostState, patient: str | None) -> None:
    incarnation = B if state is HostState.SILENT else None
    table = {**TABLE, "sandbox-host-1": HostPlace(state, incarnation)}
    workspace = Workspace("sesn_1", host=B)
    assert choose(table, workspace, patient=True) == patient
    assert choose(table, workspace, patient=False) in (A, C)


def test_a_silent_host_gets_no_new_session_and_one_that_is_no_more_is_not_waited_for() -> None:
    table = {**TABLE, "sandbox-host-1": HostPlace(HostState.SILENT, B)}
    assert {choose(table, Workspace(f"sesn_{n}"), patient=True) for n in range(100)} == {A, C}
    assert choose({"sandbox-host-0": up(A)}, Workspace("sesn_1", host=B), patient=True) == A


def test_without_hosts_there_is_no_place() -> None:
    assert choose({}, Workspace("sesn_1"), patient=False) is None
    assert choose({"sandbox-host-0": up(A, leaving=True)}, Workspace("sesn_1", host=A), patient=False) is None


def test_an_incarnation_is_gone_only_when_that_is_known() -> None:
    name = host_of(B)
    assert not is_gone({name: up(B)}, B)
    assert not is_gone({name: HostPlace(HostState.SILENT, B)}, B)
    assert not is_gone({name: HostPlace(HostState.UNKNOWN)}, B)
    assert is_gone({name: up("sandbox-host-1/later")}, B)
    assert is_gone({name: HostPlace(HostState.REPLACED)}, B)
    assert is_gone({}, B)


def test_names_and_incarnations_lead_back_to_each_other() -> None:
    assert host_of(new_incarnation(host_name(7))) == host_name(7) and host_number(host_name(7)) == 7
    assert new_incarnation("h") != new_incarnation("h")
    assert host_number("harness-1") is host_number("sandbox-host-x") is None
