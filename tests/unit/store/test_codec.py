"""Rows hold exactly what records hold."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from agents.errors import InvalidRequest
from agents.sessions.events import SessionRecord
from agents.store.codec import (
    clamped,
    decode,
    encode,
    findable,
    micros,
    moment_at,
    session_of,
    session_row,
    snapshot_row,
)


@pytest.mark.parametrize(
    "moment",
    [
        datetime(1, 1, 1, tzinfo=UTC),
        datetime(1969, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC),
        datetime(2026, 11, 21, 8, 30, 0, 123_457, tzinfo=UTC),
        datetime(9999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC),
    ],
)
def test_a_time_survives_to_the_microsecond(moment: datetime) -> None:
    assert moment_at(micros(moment)) == moment


def test_one_moment_is_one_number_in_every_zone() -> None:
    moment = datetime(2026, 11, 21, 8, 0, tzinfo=UTC)
    assert micros(moment.astimezone(timezone(timedelta(hours=9)))) == micros(moment)
    assert moment_at(micros(moment)).tzinfo is UTC


def test_text_keeps_key_order_and_every_character() -> None:
    value = {"z": "\x00 \u2028 ☃ 𝕏", "a": {"y": 1, "b": 2.5}, "m": [None, True, 2**63 - 1]}
    assert decode(encode(value)) == value
    assert list(decode(encode(value))) == ["z", "a", "m"]
    assert "\x00" not in encode(value)


def test_what_every_commit_rewrites_has_no_resources() -> None:
    now = datetime(2026, 11, 21, tzinfo=UTC)
    resources = ({"id": "sesrsc_1", "wire": {"type": "file"}, "private": {"key": ["mk_1", "sealed"]}},)
    record = SessionRecord(
        id="sesn_1",
        partition=1,
        created_at=now,
        updated_at=now,
        agent={},
        agent_id="agent_1",
        agent_version=1,
        environment_id="env_1",
        environment={},
        thread_id="sthr_1",
        resources=resources,
    )
    row, snapshot = session_row(record, "digest"), snapshot_row(record)
    assert "sesrsc_1" not in str(row) and "sesrsc_1" in str(snapshot)
    assert session_of({**row, **snapshot}).resources == resources


@pytest.mark.parametrize("value", ["\ud800", {"a": {1, 2}}, {1: 2}, 2**70])
def test_what_json_cannot_hold_is_an_invalid_request(value: object) -> None:
    with pytest.raises(InvalidRequest, match="cannot be stored"):
        encode(value)


def test_only_keys_that_a_database_can_hold_are_looked_for() -> None:
    assert findable("sesn_1") and findable("☃\n") and findable(2**63 - 1)
    assert not findable("a\x00") and not findable("\ud800") and not findable(2**63)
    assert clamped(2**70) == 2**63 - 1 and clamped(-(2**70)) == -(2**63 - 1) and clamped(5) == 5
