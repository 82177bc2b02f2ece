"""When schedules fire, days on which clocks are set included (spec A.11: literal wall-clock times)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from agents.deployments.schedule import CronSchedule, checked_schedule
from agents.errors import InvalidRequest

NOW = datetime(2026, 11, 21, 8, 30, 15, tzinfo=UTC)


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def fires(expression: str, zone: str, after: str, most: int) -> list[datetime]:
    return CronSchedule(expression, zone).upcoming(at(after), most)


@pytest.mark.parametrize(
    ("expression", "after", "expected"),
    [
        ("0 9 * * 1-5", "2026-11-20T09:00", ["2026-11-23T09:00", "2026-11-24T09:00"]),
        ("*/20 * * * *", "2026-11-20T09:59:59", ["2026-11-20T10:00", "2026-11-20T10:20"]),
        ("0 0 * * 7", "2026-11-20T09:00", ["2026-11-22T00:00", "2026-11-29T00:00"]),
        ("0 0 * * 0", "2026-11-20T09:00", ["2026-11-22T00:00", "2026-11-29T00:00"]),
        # Where both are restricted, either day matches (POSIX).
        ("0 0 24 * 0", "2026-11-21T00:00", ["2026-11-22T00:00", "2026-11-24T00:00"]),
        ("0 0 29 2 *", "2026-11-21T00:00", ["2028-02-29T00:00", "2032-02-29T00:00"]),
    ],
)
def test_a_schedule_fires_when_its_fields_match(expression: str, after: str, expected: list[str]) -> None:
    assert fires(expression, "UTC", after, 2) == [at(each) for each in expected]


def test_a_local_time_follows_the_season() -> None:
    new_york = fires("0 20 * * *", "America/New_York", "2026-10-31T12:00", 2)
    assert new_york == [at("2026-11-01T00:00"), at("2026-11-02T01:00")]


def test_a_time_that_a_spring_day_does_not_have_does_not_fire() -> None:
    found = fires("30 2 * * *", "America/New_York", "2026-03-07T12:00", 1)
    assert found == [at("2026-03-09T06:30")]


def test_a_time_that_an_autumn_day_has_twice_fires_twice() -> None:
    found = fires("*/30 1 * * *", "America/New_York", "2026-11-01T04:59", 5)
    assert found == [
        at("2026-11-01T05:00"),
        at("2026-11-01T05:30"),
        at("2026-11-01T06:00"),
        at("2026-11-01T06:30"),
        at("2026-11-02T06:00"),
    ]


@pytest.mark.parametrize(
    ("zone", "around"),
    [
        ("America/New_York", "2026-03-08T07:00"),
        ("America/New_York", "2026-11-01T06:00"),
        ("Australia/Lord_Howe", "2026-04-04T15:00"),  # by half an hour
        ("Australia/Lord_Howe", "2026-10-03T15:30"),
        ("Antarctica/Troll", "2026-03-29T01:00"),  # by two hours
        ("Antarctica/Troll", "2026-10-25T01:00"),
        ("Africa/Casablanca", "2026-02-15T02:00"),
    ],
)
@pytest.mark.parametrize(("minutes", "hours"), [((0,), None), ((15, 45), (1, 2)), ((30,), (2,)), ((5,), (0, 1, 2, 3))])
def test_it_fires_at_each_instant_whose_local_time_matches(
    zone: str, around: str, minutes: tuple[int, ...], hours: tuple[int, ...] | None
) -> None:
    """Every minute of the days around a change of clocks, one by one: the slow way to say the same."""
    begin = at(around) - timedelta(hours=18)
    wanted: list[datetime] = []
    for offset in range(1, 36 * 60):
        local = (begin + timedelta(minutes=offset)).astimezone(ZoneInfo(zone))
        if local.minute in minutes and (hours is None or local.hour in hours):
            wanted.append(begin + timedelta(minutes=offset))
    hour = "*" if hours is None else ",".join(map(str, hours))
    schedule = CronSchedule(f"{','.join(map(str, minutes))} {hour} * * *", zone)
    assert schedule.upcoming(begin, len(wanted)) == wanted


@pytest.mark.parametrize(
    "expression",
    [
        "",
        "@daily",
        "* * * *",
        "0 * * * * *",
        "60 * * * *",
        "0 9 * * 8",
        "0 9 L * *",
        "0 9 15W * *",
        "0 9 * * 1#2",
        "0 9 * * 5L",
        "0 9 ? * 1",
        "0 9 5-1 * *",
        "*/0 * * * *",
        "0 0 30 2 *",
        "0 9 * * *" + ",1" * 200,
    ],
)
def test_what_is_no_posix_cron_expression_is_refused(expression: str) -> None:
    with pytest.raises(InvalidRequest, match=r"^schedule\.expression: "):
        checked_schedule(expression, "UTC", NOW)


@pytest.mark.parametrize("zone", ["", "Mars/Base", "america/new_york", "../etc/passwd", "America", "EST5EDT4"])
def test_only_zones_of_the_database_are_taken(zone: str) -> None:
    with pytest.raises(InvalidRequest, match=r"^schedule\.timezone: "):
        checked_schedule("0 9 * * *", zone, NOW)


def test_spaces_are_made_plain() -> None:
    assert checked_schedule(" 0  9 * * MON-FRI ", "UTC", NOW).expression == "0 9 * * MON-FRI"


@pytest.mark.parametrize(
    ("expression", "most"), [("* * * * *", 9), ("*/5 * * * *", 45), ("0 * * * *", 540), ("0 0 1 1 *", 540)]
)
def test_jitter_is_a_part_of_the_interval_and_the_same_each_time(expression: str, most: float) -> None:
    schedule, occurrence = CronSchedule(expression, "UTC"), at("2026-01-01T00:00")
    late = [schedule.due(occurrence, f"depl_{number}") - occurrence for number in range(200)]
    assert late == [schedule.due(occurrence, f"depl_{number}") - occurrence for number in range(200)]
    assert timedelta() <= min(late) < timedelta(seconds=most / 10)
    assert timedelta(seconds=most * 0.9) < max(late) <= timedelta(seconds=most)
