"""When a cron schedule fires: the only module that knows the library which reads cron expressions.

Schedules match literal wall-clock times (spec A.11): a local time that a day in spring does not have does not fire, one
that a day in autumn has twice fires twice. The library's own rules for such days are those of Debian's cron, which
moves the first and fires the second once; so it is given local times without a zone, and the zone is applied here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from hashlib import blake2b
from zoneinfo import ZoneInfo, available_timezones

from agents.errors import InvalidRequest

EXPRESSION_CHARS = 256  # ours: every field may list some values
_VALUE = r"(?:[0-9]{1,2}|[A-Za-z]{3})"
_ITEM = rf"(?:\*|{_VALUE}(?:-{_VALUE})?)(?:/[0-9]{{1,2}})?"
_FIELD = re.compile(rf"{_ITEM}(?:,{_ITEM})*")
_FIELDS = ("minute", "hour", "day of month", "month", "day of week")
_LONGEST_REPEAT = timedelta(hours=3)
"""No zone of our time sets its clocks back by more than two hours (Antarctica/Troll)."""

_JITTER_SHARE = 0.15  # spec A.11: 15 % of the interval, within these bounds
_LEAST_JITTER = timedelta(seconds=5)
MOST_JITTER = timedelta(minutes=9)


@dataclass(frozen=True, slots=True)
class CronSchedule:
    """A cron expression in a time zone; make one with ``checked_schedule``."""

    expression: str
    timezone: str

    def after(self, moment: datetime) -> datetime | None:
        """Return the first instant (UTC) later than *moment* that matches; None when none does within 50 years."""
        zone = ZoneInfo(self.timezone)
        local = moment.astimezone(zone).replace(tzinfo=None)
        found: list[datetime] = []
        for each in _matches(self.expression, local - _LONGEST_REPEAT if _repeats_soon(zone, moment) else local):
            found += [instant for instant in _instants(each, zone) if instant > moment]
            if found and each > local:
                break
        return min(found, default=None)

    def upcoming(self, moment: datetime, most: int) -> list[datetime]:
        """Return the next *most* instants later than *moment*."""
        found: list[datetime] = []
        following = self.after(moment)
        while following is not None and len(found) < most:
            found.append(following)
            following = self.after(following)
        return found

    def due(self, occurrence: datetime, seed: str) -> datetime:
        """Return when *occurrence* is to be fired: somewhat later, always by the same part of the interval for *seed*.

        It follows from the two alone, so that whoever fires next comes to the same moment.
        """
        following = self.after(occurrence)
        interval = following - occurrence if following is not None else MOST_JITTER / _JITTER_SHARE
        most = min(max(interval * _JITTER_SHARE, _LEAST_JITTER), MOST_JITTER)
        part = int.from_bytes(blake2b(seed.encode(), digest_size=4).digest(), "big") / 2**32
        return occurrence + timedelta(milliseconds=int(most / timedelta(milliseconds=1) * part))


def checked_schedule(expression: str, timezone: str, now: datetime) -> CronSchedule:
    """Return a schedule. Raises InvalidRequest when it is none, or never fires."""
    if timezone not in _zones():
        raise InvalidRequest(
            f"schedule.timezone: {timezone[:60]!r} is not in the IANA time zone database;"
            ' write it as "America/Los_Angeles" or "UTC"'
        )
    _check_fields(expression)
    schedule = CronSchedule(" ".join(expression.split()), timezone)
    if schedule.after(now) is None:
        raise InvalidRequest("schedule.expression: never matches; no month has that day")
    return schedule


def _check_fields(expression: str) -> None:
    from cronsim import CronSim, CronSimError

    where = "schedule.expression"
    if len(expression) > EXPRESSION_CHARS:
        raise InvalidRequest(f"{where}: must have at most {EXPRESSION_CHARS} characters, not {len(expression)}")
    fields = expression.split()
    if len(fields) != len(_FIELDS):
        raise InvalidRequest(
            f'{where}: must have the five fields {", ".join(_FIELDS)}, such as "0 9 * * 1-5", not {len(fields)}'
        )
    for name, field in zip(_FIELDS, fields, strict=True):
        if not _FIELD.fullmatch(field):
            raise InvalidRequest(
                f"{where}: {field[:40]!r} is not a {name}; write numbers, ranges (1-5), steps (*/15), lists (1,15) or *"
            )
    try:
        CronSim(expression, datetime(2000, 1, 1))
    except CronSimError as error:
        raise InvalidRequest(f"{where}: {error}") from None


def _matches(expression: str, local: datetime) -> Iterator[datetime]:
    """Yield the matching local times later than *local*, none of them with a zone."""
    from cronsim import CronSim

    return CronSim(expression, local)


def _repeats_soon(zone: ZoneInfo, moment: datetime) -> bool:
    now, soon = moment.astimezone(zone).utcoffset(), (moment + _LONGEST_REPEAT).astimezone(zone).utcoffset()
    return now is not None and soon is not None and soon < now


def _instants(local: datetime, zone: ZoneInfo) -> list[datetime]:
    """Return the instants at which the clocks of *zone* show *local*: one, two in autumn, none in spring."""
    both = [local.replace(tzinfo=zone, fold=fold).astimezone(UTC) for fold in (0, 1)]
    return [each for each in dict.fromkeys(both) if each.astimezone(zone).replace(tzinfo=None) == local]


@cache
def _zones() -> frozenset[str]:
    return frozenset(available_timezones())
