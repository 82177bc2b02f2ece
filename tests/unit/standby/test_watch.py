"""What the one who decides knows of the parts: windows, and since when something is away."""

from __future__ import annotations

from agents.clock import ManualClock
from agents.settings_sections import StandbySettings
from agents.standby.breaker import Health
from agents.standby.health import PathReport
from agents.standby.watch import PathWatch

BOUNDS = StandbySettings(enabled=True, window_seconds=60, outage_seconds=15)


def outage(watch: PathWatch, *, host: bool = True) -> str | None:
    return watch.health(0.0, host=host, standby=True).outage


def test_what_all_harnesses_report_adds_up_within_the_window_and_since_the_last_switch() -> None:
    clock = ManualClock()
    watch = PathWatch(BOUNDS, clock)
    watch.report("harness-0", PathReport(5, 1))
    clock.advance(30)
    switched = watch.now()
    watch.report("harness-0", PathReport(3, 2))
    watch.report("harness-1", PathReport(2, 0))
    assert watch.health(0.0, host=True, standby=False) == Health(10, 3, None, standby=False)
    assert watch.health(switched, host=True, standby=True) == Health(5, 2)
    clock.advance(31)
    watch.report("harness-1", PathReport())
    assert watch.health(0.0, host=True, standby=True) == Health(5, 2)


def test_what_was_never_there_is_not_away() -> None:
    clock = ManualClock()
    watch = PathWatch(BOUNDS, clock)
    for _ in range(20):
        assert outage(watch, host=False) is None
        clock.advance(1)


def test_a_part_that_is_away_for_long_is_an_outage_and_one_that_comes_back_is_none() -> None:
    clock = ManualClock()
    watch = PathWatch(BOUNDS, clock)
    assert outage(watch) is None
    assert outage(watch, host=False) is None
    clock.advance(14.9)
    assert outage(watch, host=False) is None
    clock.advance(0.1)
    assert outage(watch, host=False) == "no sandbox host is up for 15 s"
    assert outage(watch) is None
    assert outage(watch, host=False) is None, "it counts from the start again"


def test_harnesses_that_no_longer_report_are_away() -> None:
    clock = ManualClock()
    watch = PathWatch(BOUNDS, clock)
    watch.report("harness-0", PathReport())
    clock.advance(10)
    assert outage(watch) is None
    clock.advance(15)
    assert outage(watch) == "no harness reports for 15 s"


def test_a_brain_that_any_harness_lacks_for_long_is_away() -> None:
    clock = ManualClock()
    watch = PathWatch(BOUNDS, clock)
    for _ in range(6):
        watch.report("harness-0", PathReport(lacking=("qwen@1",)))
        watch.report("harness-1", PathReport())
        assert outage(watch) is None
        clock.advance(2.9)
    watch.report("harness-0", PathReport(lacking=("qwen@1",)))
    assert outage(watch) == "brain qwen@1 has no replica for 15 s"
    watch.report("harness-0", PathReport())
    assert outage(watch) is None
