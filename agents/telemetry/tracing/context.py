"""The context of a trace on its way from one process to the next: W3C ``traceparent``, in headers and on links.

Two variables hold it, so that none of the ports between the parts has to carry it: what a process hands on with the
next call on a link, and what came with the call that it serves.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Generator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

_TRACEPARENT = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
_SAMPLED = 1


@dataclass(frozen=True, slots=True)
class TraceContext:
    """A span somewhere, under which others belong."""

    trace_id: int
    span_id: int
    sampled: bool

    def traceparent(self) -> str:
        """Return it as the header's value."""
        return f"00-{self.trace_id:032x}-{self.span_id:016x}-{self.sampled:02x}"


def parse_traceparent(text: str | None) -> TraceContext | None:
    """Read the header's value; None when it is missing or malformed, as the standard asks."""
    match = _TRACEPARENT.fullmatch(text.strip()) if text else None
    if match is None or match[1] == "ff" or (match[1] == "00" and match[5]):
        return None
    trace_id, span_id = int(match[2], 16), int(match[3], 16)
    return TraceContext(trace_id, span_id, bool(int(match[4], 16) & _SAMPLED)) if trace_id and span_id else None


Told = Callable[[str, int, int, str | None], None]
"""Hears what the far side of a link did: by whose link, from when to when (microseconds), and what went wrong."""


@dataclass(frozen=True, slots=True)
class HandedOn:
    """What goes with the calls that are made meanwhile."""

    context: TraceContext
    told: Told | None = None


_handed_on: ContextVar[HandedOn | None] = ContextVar("handed_on", default=None)
_arrived: ContextVar[TraceContext | None] = ContextVar("arrived", default=None)


@contextmanager
def handing_on(context: TraceContext | None, told: Told | None = None) -> Generator[None]:
    """Send *context* with every call that is made in here on a link; None sends nothing."""
    token = _handed_on.set(None if context is None else HandedOn(context, told))
    try:
        yield
    finally:
        _handed_on.reset(token)


def handed_on() -> HandedOn | None:
    """Return what goes with a call that is made now."""
    return _handed_on.get()


def arrive(traceparent: str) -> None:
    """Take note, for the present task, of what came with the call that it serves."""
    _arrived.set(parse_traceparent(traceparent))


def arrived() -> TraceContext | None:
    """Return what came with the call that is being served; in one process with its caller, what the caller hands on."""
    context = _arrived.get()
    if context is not None:
        return context
    near = _handed_on.get()
    return None if near is None else near.context
