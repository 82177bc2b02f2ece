"""What must hold of the calls that the application made: the SDK's own retries were enough, but for a dead proxy."""

from __future__ import annotations

from collections.abc import Iterator

from tests.chaos.record import Action, ApiError, Outage, Run, Violation

PROXY_DEATHS = frozenset({"kill haproxy", "kill haproxy manager"})
_BEFORE_SECONDS, _AFTER_SECONDS = 1.0, 20.0
"""An outage that begins so soon after a proxy's death was its doing (its successor's first configurations included)."""
_EDGE_SECONDS = 2.0
"""A call may break a moment before the probe saw nothing, or after: it asks several times a second."""


def proxy_outages(run: Run) -> list[Outage]:
    """Return the times in which nobody answered because the proxy was dead."""
    deaths = [action for action in run.actions if action.kind in PROXY_DEATHS and not action.skipped]
    return [outage for outage in run.outages if any(_follows(outage, death) for death in deaths)]


def _follows(outage: Outage, death: Action) -> bool:
    return death.at - _BEFORE_SECONDS <= outage.begin <= death.at + _AFTER_SECONDS


def only_the_proxy_fails(run: Run) -> Iterator[Violation]:
    """No call failed past the SDK's retries, but those that met a dead proxy."""
    outages = proxy_outages(run)
    for error in run.errors:
        if not any(_met(error, outage) for outage in outages):
            yield Violation("API errors", f"{error.session_id} {error.call}", error.error)


def _met(error: ApiError, outage: Outage) -> bool:
    return outage.begin - _EDGE_SECONDS <= error.at and error.began <= outage.until + _EDGE_SECONDS
