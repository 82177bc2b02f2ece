"""Requests by route, method and status, and how long they took; a route is the template of a path, never a path."""

from __future__ import annotations

from starlette.types import Message, Scope

from agents.clock import Clock
from agents.telemetry import catalogue
from agents.telemetry.recorder import Recorder

NO_ROUTE = "none"
"""Stands for the route of a request that was refused before its path was looked at, or whose path there is not."""
_CLIENT_GONE = 499
"""Nginx's word for a client that has left before it was answered."""


class HttpMetrics:
    """The figures of one replica's requests."""

    def __init__(self, recorder: Recorder, clock: Clock) -> None:
        self._recorder = recorder
        self._clock = clock

    def request(self) -> MeasuredRequest:
        """Begin to measure a request."""
        return MeasuredRequest(self._recorder, self._clock)


class MeasuredRequest:
    """One request, from its head on."""

    __slots__ = ("_began", "_clock", "_recorder", "_seconds", "_status")

    def __init__(self, recorder: Recorder, clock: Clock) -> None:
        self._recorder = recorder
        self._clock = clock
        self._began = clock.monotonic()
        self._status = _CLIENT_GONE
        self._seconds: float | None = None

    def answered(self, start: Message) -> None:
        """Take note how the answer begins; one that is streamed has taken as long as that."""
        self._status = start["status"]
        if any(name == b"content-type" and value.startswith(b"text/event-stream") for name, value in start["headers"]):
            self._seconds = self._clock.monotonic() - self._began

    def ended(self, scope: Scope) -> None:
        """Count the request; *scope* says which route it took."""
        route = getattr(scope.get("endpoint"), "path", NO_ROUTE)
        seconds = self._clock.monotonic() - self._began if self._seconds is None else self._seconds
        self._recorder.count(catalogue.HTTP_REQUESTS, route, scope["method"], str(self._status))
        self._recorder.observe(catalogue.HTTP_SECONDS, seconds, route)
