"""Calls to count."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from agents.economics.hand_calls import CallRecord

NOVEMBER = datetime(2026, 11, 21, 8, 30, 0, 123457, tzinfo=UTC)


def call(key: str, **changes: Any) -> CallRecord:
    values: dict[str, Any] = {
        "key": key,
        "at": NOVEMBER,
        "tenant": "acme",
        "session": "sesn_1",
        "hand": "crm",
        "version": "1.0",
        "tool": "get_customer",
        "outcome": "ok",
        "cached": False,
        "queue_ms": 2,
        "run_ms": 30,
        "cpu_us": 500,
        "bytes_in": 10,
        "bytes_out": 100,
        "micro_usd": 2000,
        "provider_micro_usd": 1600,
    }
    return CallRecord(**values | changes)
