"""What must hold of the calls that the application made: the SDK's own retries were enough, but for a dead edge."""

from __future__ import annotations

from collections.abc import Iterator

from tests.chaos.record import ApiError, Outage, Run, Violation
from tests.chaos.schedule import NODE_DEATHS

EDGE_DEATHS = frozenset({"kill haproxy", "kill haproxy manager", "kill gateway", "stop gateway", *NODE_DEATHS})
"""After these there can be no proxy, or no gateway behind it, for a while."""
_BEFORE_SECONDS, _AFTER_SECONDS = 1.0, 20.0
"""An outage that begins so soon after such a death was its doing (the successor's first configurations included)."""
_EDGE_SECONDS = 2.0
"""A call may break a moment before the probe saw nothing, or after: it asks several times a second."""


def edge_outages(run: Run) -> list[Outage]:
    """Return the times in which nobody answered because the proxy or every gateway was dead."""
    deaths = [action.at for action in run.actions if action.kind in EDGE_DEATHS and not action.skipped]
    return [
        outage
        for outage in run.outages
        if any(at - _BEFORE_SECONDS <= outage.begin <= at + _AFTER_SECONDS for at in deaths)
    ]


def only_a_dead_edge_fails(run: Run) -> Iterator[Violation]:
    """No call failed past the SDK's retries, but those that met a time in which nobody could answer."""
    outages = edge_outages(run)
    for error in run.errors:
        if not any(_met(error, outage) for outage in outages):
            yield Violation("API errors", f"{error.session_id} {error.call}", error.error)


def _met(error: ApiError, outage: Outage) -> bool:
    return outage.begin - _EDGE_SECONDS <= error.at and error.began <= outage.until + _EDGE_SECONDS
