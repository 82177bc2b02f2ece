"""When new sessions go to the monolith, and when back.

Bug class this catches: a breaker that flaps, that opens on a handful of requests, that sends sessions to a monolith
which is not there, that never comes back.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from agents.settings_sections import StandbySettings
from agents.standby.breaker import Health, Mode, Switch, broken_bound, forced, judged

BOUNDS = StandbySettings(
    enabled=True, min_requests=10, max_error_rate=0.3, pause_seconds=60, longest_pause_seconds=200, trial_seconds=30
)
WELL, BAD, SILENT = Health(20, 6), Health(20, 7), Health()
AWAY = Health(outage="no sandbox host is up for 15 s")


def opened(**changes: object) -> Switch:
    return replace(Switch(Mode.MONOLITH, since=100.0, reason="bad", pause=60.0, switches=1), **changes)  # type: ignore[arg-type]


def on_trial(**changes: object) -> Switch:
    return replace(opened(mode=Mode.TRIAL), **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("health", "said"),
    [
        (WELL, None),
        (BAD, "7 of 20 requests were lost, and 30% may"),
        (Health(9, 9), None),
        (Health(10, 10), "10 of 10 requests were lost, and 30% may"),
        (SILENT, None),
        (AWAY, "no sandbox host is up for 15 s"),
    ],
)
def test_a_bound_is_broken_by_many_losses_among_enough_requests_or_by_a_part_that_is_away(
    health: Health, said: str | None
) -> None:
    assert broken_bound(BOUNDS, health) == said


def test_while_the_bounds_are_kept_nothing_changes() -> None:
    switch = Switch()
    assert judged(switch, BOUNDS, WELL, 100.0) is switch


@pytest.mark.parametrize("health", [BAD, AWAY])
def test_a_broken_bound_sends_new_sessions_to_the_monolith_if_there_is_one(health: Health) -> None:
    switch = judged(Switch(), BOUNDS, health, 100.0)
    assert switch == Switch(Mode.MONOLITH, 100.0, broken_bound(BOUNDS, health) or "", 60.0, 1)
    away = Switch()
    assert judged(away, BOUNDS, replace(health, standby=False), 100.0) is away


def test_after_the_pause_a_trial_begins_unless_a_part_is_still_away() -> None:
    switch = opened()
    assert judged(switch, BOUNDS, BAD, 159.9) is switch
    assert judged(switch, BOUNDS, AWAY, 500.0) is switch
    assert judged(switch, BOUNDS, BAD, 160.0).mode is Mode.TRIAL, "what the old sessions lost meanwhile is no trial"


def test_a_trial_that_goes_well_for_long_enough_and_often_enough_brings_the_parts_back() -> None:
    switch = on_trial()
    for health, now in ((WELL, 129.9), (Health(9, 0), 1000.0)):
        assert judged(switch, BOUNDS, health, now) is switch
    back = judged(switch, BOUNDS, WELL, 130.0)
    assert (back.mode, back.since, back.switches) == (Mode.DECOUPLED, 130.0, 1)


def test_each_trial_that_fails_doubles_the_pause_up_to_a_bound() -> None:
    switch, pauses = opened(), list[float]()
    for _ in range(4):
        trial = judged(switch, BOUNDS, SILENT, switch.since + switch.pause)
        switch = judged(trial, BOUNDS, BAD, trial.since + 1)
        pauses.append(switch.pause)
    assert pauses == [120, 200, 200, 200] and switch.switches == 5
    assert judged(Switch(switches=5), BOUNDS, BAD, 0.0).pause == 60, "once the parts were back it begins anew"


@pytest.mark.parametrize("switch", [opened(), on_trial()])
def test_without_a_monolith_everything_goes_to_the_parts(switch: Switch) -> None:
    back = judged(switch, BOUNDS, Health(standby=False), 101.0)
    assert (back.mode, back.reason) == (Mode.DECOUPLED, "the monolith is away")


@pytest.mark.parametrize("mode", ["decoupled", "monolith"])
def test_what_somebody_has_said_holds_until_it_is_left_to_itself(mode: str) -> None:
    said = forced(on_trial(), mode, BOUNDS, 110.0)  # type: ignore[arg-type]
    assert (said.mode, said.forced, said.reason) == (Mode(mode), True, "by command")
    for health in (WELL, BAD, AWAY, Health(standby=False)):
        assert judged(said, BOUNDS, health, 9999.0) is said
    free = forced(said, None, BOUNDS, 10_000.0)
    assert (free.mode, free.forced, free.since) == (Mode(mode), False, 10_000.0)
    assert judged(free, BOUNDS, AWAY if mode == "decoupled" else SILENT, 10_060.0).mode is not Mode(mode)


def test_the_monolith_gets_nothing_all_or_what_a_trial_leaves() -> None:
    assert [each.share(0.2) for each in (Switch(), opened(), on_trial())] == [0.0, 1.0, 0.8]
