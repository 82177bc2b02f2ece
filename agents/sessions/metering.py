"""Meter rows of a turn; keyed by event id, so that recording them twice counts once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime

from agents.brains.assembly import TokenUsage
from agents.economics.meter import MeterKind, MeterRow
from agents.hands.port import ToolResult
from agents.hands.servers.port import ServerResult
from agents.ids import EventId, SessionId


def model_request_row(
    request_id: str,
    session_id: str,
    model: str,
    usage: TokenUsage,
    *,
    seconds: float,
    micro_usd: int,
    at: datetime,
    brain: str = "",
) -> MeterRow:
    return MeterRow(
        key=request_id,
        session_id=SessionId(session_id),
        kind=MeterKind.MODEL_REQUEST,
        name=model,
        at=at,
        input_tokens=usage.input_tokens,
        output_tokens=usage.output_tokens,
        cache_read_input_tokens=usage.cache_read_input_tokens,
        cache_creation_5m_input_tokens=usage.cache_creation_5m,
        cache_creation_1h_input_tokens=usage.cache_creation_1h,
        seconds=seconds,
        micro_usd=micro_usd,
        brain=brain,
    )


def tool_call_rows(
    results: Iterable[ToolResult], session_id: str, names: Mapping[EventId, str], at: datetime
) -> list[MeterRow]:
    return [
        MeterRow(
            key=result.call_id,
            session_id=SessionId(session_id),
            kind=MeterKind.TOOL_CALL,
            name=names[EventId(result.call_id)],
            at=at,
            seconds=result.seconds,
        )
        for result in results
    ]


def served_call_row(result: ServerResult, session_id: str, name: str, at: datetime) -> MeterRow:
    return MeterRow(
        key=result.call_id,
        session_id=SessionId(session_id),
        kind=MeterKind.TOOL_CALL,
        name=name,
        at=at,
        seconds=result.consumption.run_seconds,
    )
