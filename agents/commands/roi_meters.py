"""What a running server's meters say, for ``hecaton roi --from-meters``: its sessions, and its books of calls."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, cast

from anthropic import Anthropic

from agents.clock import parse_day_or_time, rfc3339
from agents.commands.failures import CommandFailed
from agents.commands.timeline import part
from agents.economics.roi.inputs import Scenario
from agents.economics.roi.metered import MeteredUse, Side, with_meters

_DAYS = 30
_PAGE = 100


def metered_scenario(
    client: Anthropic, scenario: Scenario, side: Side, *, since: str | None, until: str | None
) -> Scenario:
    """Return *scenario* with what the server did from *since* on, before *until*.

    Raises CommandFailed for a bad time, InvalidRequest when no session began then.
    """
    end = _moment("--until", until) or datetime.now(UTC)
    begin = _moment("--since", since) or end - timedelta(days=_DAYS)
    if begin >= end:
        raise CommandFailed("--since must be before --until", exit_code=2)
    return with_meters(scenario, _used(client, begin, end), side)


def _used(client: Anthropic, begin: datetime, end: datetime) -> MeteredUse:
    sessions: set[str] = set()
    tokens = cents = 0
    for session in client.beta.sessions.list(
        created_at_gte=begin, created_at_lt=end, include_archived=True, limit=_PAGE
    ):
        usage = part(session.to_dict(mode="json"), "usage")
        sessions.add(session.id)
        tokens += sum(int(usage.get(f"{kind}_tokens") or 0) for kind in ("input", "cache_read_input", "output"))
        tokens += sum(int(written or 0) for written in part(usage, "cache_creation").values())
        cents += int(part(usage, "list_cost").get("amount", 0))
    window: dict[str, object] = {"by": "session", "since": rfc3339(begin), "until": rfc3339(end)}
    answer = cast("dict[str, Any]", client.get("/-/usage", cast_to=object, options={"params": window}))
    # Of these sessions, as tokens and cost are: not of those from before or deleted since, nor of MCP clients.
    rows: list[dict[str, Any]] = [row for row in answer["data"] if row["group"] in sessions]
    return MeteredUse(
        hours=Decimal((end - begin) // timedelta(microseconds=1)) / 3_600_000_000,
        sessions=len(sessions),
        tokens=tokens,
        list_cents=cents,
        cpu_us=sum(row["cpu_us"] for row in rows),
        moved_bytes=sum(row["bytes_in"] + row["bytes_out"] for row in rows),
        provider_micro_usd=sum(row["provider_micro_usd"] for row in rows),
    )


def _moment(option: str, text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        return parse_day_or_time(text)
    except ValueError as error:
        raise CommandFailed(f"{option} {text}: {error}", exit_code=2) from None
