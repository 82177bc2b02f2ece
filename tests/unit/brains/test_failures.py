"""The table of a model server's errors."""

from __future__ import annotations

import pickle
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest

from agents.brains.failures import from_connection, from_status, from_stream_error
from agents.brains.port import Refusal

ORIGIN = "http://model"


def body(error_type: str, message: str = "why") -> dict[str, Any]:
    return {"type": "error", "error": {"type": error_type, "message": message}}


@pytest.mark.parametrize(
    ("status", "error_type", "kind", "transient"),
    [
        (529, "overloaded_error", "overloaded", True),
        (503, "overloaded_error", "overloaded", True),
        (429, "rate_limit_error", "rate_limited", True),
        (500, "api_error", "request_failed", True),
        (502, "", "request_failed", True),
        (504, "timeout_error", "request_failed", True),
        (408, "timeout_error", "request_failed", True),
        (402, "billing_error", "billing", False),
        (400, "billing_error", "billing", False),
        (400, "invalid_request_error", "request_failed", False),
        (401, "authentication_error", "request_failed", False),
        (403, "permission_error", "request_failed", False),
        (404, "not_found_error", "request_failed", False),
        (413, "request_too_large", "request_failed", False),
        (422, "", "request_failed", False),
        (400, "api_error", "request_failed", False),
    ],
)
def test_a_status_has_its_kind(status: int, error_type: str, kind: str, transient: bool) -> None:
    failure = from_status(status, body(error_type), {}, origin=ORIGIN)
    assert (failure.kind, failure.transient) == (kind, transient)
    assert str(status) in failure.message
    assert "why" in failure.message
    assert ORIGIN in failure.message


@pytest.mark.parametrize(("status", "refused"), [(400, True), (404, True), (413, True), (401, False), (500, False)])
def test_a_request_at_fault_is_told_in_the_servers_own_words(status: int, refused: bool) -> None:
    failure = pickle.loads(pickle.dumps(from_status(status, body("some_error", "not sk-1"), {}, origin=ORIGIN)))
    assert failure.refusal == (Refusal(status, "not sk-1") if refused else None)


def test_a_bill_that_is_unpaid_is_no_fault_of_the_request_and_the_key_is_not_told() -> None:
    assert from_status(400, body("billing_error"), {}, origin=ORIGIN).refusal is None
    refusal = from_status(400, body("", "not sk-1"), {}, origin=ORIGIN, secret="sk-1").refusal
    assert refusal == Refusal(400, "not [key]")


@pytest.mark.parametrize("odd", [None, "<html>", [], {}, {"error": "text"}, {"error": None}, {"error": {"type": 5}}])
def test_a_body_of_any_shape_is_survived(odd: object) -> None:
    assert from_status(500, odd, {}, origin=ORIGIN).transient


def test_the_key_is_cut_out_of_the_message() -> None:
    failure = from_status(
        401, body("authentication_error", "bad key sk-secret!"), {}, origin=ORIGIN, secret="sk-secret"
    )
    assert "sk-secret" not in failure.message


def test_a_long_message_is_shortened() -> None:
    assert len(from_status(400, body("x", "y" * 10_000), {}, origin=ORIGIN).message) < 1000


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "7"}, 7.0),
        ({"retry-after": "0.5"}, 0.5),
        ({"retry-after-ms": "1500", "retry-after": "7"}, 1.5),
        ({"retry-after-ms": "soon", "retry-after": "7"}, 7.0),
        ({"retry-after": "-3"}, 0.0),
        ({"retry-after": "1e9"}, 3600.0),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "tomorrow"}, None),
        ({}, None),
    ],
)
def test_retry_after_is_read(headers: dict[str, str], seconds: float | None) -> None:
    assert from_status(429, None, headers, origin=ORIGIN).retry_after == seconds


def test_retry_after_may_be_a_date() -> None:
    moment = format_datetime(datetime.now(UTC) + timedelta(seconds=100), usegmt=True)
    seconds = from_status(429, None, {"retry-after": moment}, origin=ORIGIN).retry_after
    assert seconds is not None
    assert 90 < seconds <= 100


def test_a_date_without_a_zone_is_no_reason_to_fail() -> None:
    headers = {"retry-after": "Wed, 21 Oct 2026 07:28:00 -0000"}
    assert from_status(429, None, headers, origin=ORIGIN).retry_after in (None, 0.0)


@pytest.mark.parametrize(
    ("error_type", "kind", "transient"),
    [
        ("overloaded_error", "overloaded", True),
        ("rate_limit_error", "rate_limited", True),
        ("api_error", "request_failed", True),
        ("something_new", "request_failed", True),
        ("billing_error", "billing", False),
        ("invalid_request_error", "request_failed", False),
    ],
)
def test_an_error_event_has_its_kind(error_type: str, kind: str, transient: bool) -> None:
    failure = from_stream_error(body(error_type))
    assert (failure.kind, failure.transient) == (kind, transient)


def test_late_and_unreachable_are_told_apart() -> None:
    assert "in time" in from_connection(TimeoutError(), ORIGIN).message
    assert "reached" in from_connection(ConnectionError(), ORIGIN).message
