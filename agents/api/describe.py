"""Parameters that several operations share, described for ``/openapi.json``."""

from __future__ import annotations

from typing import Any, get_args

from anthropic.types.beta import BetaManagedAgentsDeltaType
from anthropic.types.beta.sessions import BetaManagedAgentsSessionEventType

from agents.api.routes import Parameter

EVENT_TYPES: tuple[str, ...] = get_args(BetaManagedAgentsSessionEventType)
"""The values that ``types[]`` takes: the SDK's own list (spec B.2)."""
DELTA_TYPES: tuple[str, ...] = get_args(BetaManagedAgentsDeltaType)
STATUSES = ("rescheduling", "running", "idle", "terminated")
MAX_DELTA_VALUES = 100  # spec A.12
MAX_FILTER_VALUES = 100  # ours: more than there are values to filter by

_TEXT: dict[str, Any] = {"type": "string", "minLength": 1}

INCLUDE_ARCHIVED = Parameter("include_archived", {"type": "boolean", "default": False}, "List archived ones too.")
VERSION = Parameter("version", {"type": "integer", "minimum": 1}, "A version; by default the newest.")
AGENT_VERSION = Parameter("agent_version", {"type": "integer", "minimum": 1}, "With agent_id: only this version.")
PAGE = Parameter("page", _TEXT, "Opaque cursor of an earlier answer.")


def text(name: str, description: str) -> Parameter:
    return Parameter(name, _TEXT, description)


def limit(most: int, default: int) -> Parameter:
    return Parameter("limit", {"type": "integer", "minimum": 1, "maximum": most, "default": default}, "Page size.")


def page(most: int, default: int = 20) -> tuple[Parameter, Parameter]:
    return limit(most, default), PAGE


def created_at(*bounds: str) -> tuple[Parameter, ...]:
    schema = {"type": "string", "format": "date-time"}
    return tuple(Parameter(f"created_at[{bound}]", schema, "Bound on the creation time.") for bound in bounds)


def order(default: str) -> Parameter:
    return Parameter("order", {"type": "string", "enum": ["asc", "desc"], "default": default}, "Sort direction.")


def choices(name: str, allowed: tuple[str, ...], most: int, description: str) -> Parameter:
    items = {"type": "string", "enum": list(allowed)}
    return Parameter(f"{name}[]", {"type": "array", "items": items, "maxItems": most}, description)


STREAM = (
    choices("event_deltas", DELTA_TYPES, MAX_DELTA_VALUES, "Also send previews of these event types."),
    text("after", "Resume behind this event id; everything after it is replayed first."),
    Parameter("Last-Event-ID", _TEXT, "As after; what browsers send when they reconnect. It wins.", "header"),
)
