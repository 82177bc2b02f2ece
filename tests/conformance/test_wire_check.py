"""The suite's own checks must be able to fail: a wrong shape is noticed."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from anthropic.types.beta import BetaEnvironment
from pydantic import ValidationError

from tests.conformance.requirements import REQUIREMENTS, requirement
from tests.conformance.wire_check import check_answer, check_event, conforms

HEADERS = {"request-id": "req_1", "content-type": "application/json"}
PACKAGES = {"type": "packages", "apt": [], "cargo": [], "gem": [], "go": [], "npm": [], "pip": []}
ENVIRONMENT: dict[str, Any] = {
    "id": "env_1",
    "type": "environment",
    "name": "e",
    "config": {"type": "cloud", "networking": {"type": "unrestricted"}, "packages": PACKAGES},
    "description": None,
    "metadata": {},
    "scope": "organization",
    "created_at": "2026-11-21T00:00:00Z",
    "updated_at": "2026-11-21T00:00:00Z",
    "archived_at": None,
}


def error(status: int, kind: str, **more: Any) -> None:
    body = {"type": "error", "error": {"type": kind, "message": "m"}, "request_id": "req_1", **more}
    check_answer("GET", "/v1/agents", status, HEADERS, orjson.dumps(body))


@requirement("environments:create:default")
def test_a_shape_that_is_not_the_models_is_noticed() -> None:
    conforms(BetaEnvironment, ENVIRONMENT, complete=True)
    missing = {key: value for key, value in ENVIRONMENT.items() if key != "archived_at"}
    deep = {**ENVIRONMENT, "config": {**ENVIRONMENT["config"], "color": "red"}}
    for wrong in ({**ENVIRONMENT, "color": "red"}, deep, missing):
        with pytest.raises(AssertionError, match="keys"):
            conforms(BetaEnvironment, wrong, complete=True)
    for wrong in ({**ENVIRONMENT, "name": 1}, {**ENVIRONMENT, "type": "place"}, {**ENVIRONMENT, "metadata": None}):
        with pytest.raises(ValidationError):
            conforms(BetaEnvironment, wrong, complete=True)


@requirement("events:order:text-turn")
def test_an_event_that_is_not_the_models_is_noticed() -> None:
    event = {"id": "sevt_1", "type": "agent.thinking", "processed_at": "2026-11-21T00:00:00Z"}
    check_event(event)
    with pytest.raises(AssertionError, match="thought"):
        check_event({**event, "thought": "x"})
    with pytest.raises(ValidationError):
        check_event({**event, "type": "agent.dreaming"})
    with pytest.raises(ValidationError):
        check_event({**event, "processed_at": "yesterday"})


FILE: dict[str, Any] = {
    "id": "file_1",
    "type": "file",
    "filename": "notes.txt",
    "mime_type": "text/plain",
    "size_bytes": 1,
    "created_at": "2026-11-21T00:00:00Z",
    "downloadable": False,
    "expires_at": None,
    "scope": None,
}


@requirement("transport:calls")
def test_every_answer_of_the_api_has_a_model_that_it_is_held_to() -> None:
    def answered(where: str, body: Any) -> None:
        method, _, path = where.partition(" ")
        check_answer(method, path, 200, HEADERS, orjson.dumps(body))

    page = {"data": [FILE], "next_page": None}
    answered("POST /v1/files", FILE)
    answered("GET /v1/files/file_1", FILE)
    answered("GET /v1/files", page)
    answered("DELETE /v1/files/file_1", {"id": "file_1", "type": "file_deleted"})
    answered("GET /v1/environments/env_1/keys", {"data": []})
    answered("GET /-/webhooks/whk_1", {})
    missing = {key: value for key, value in FILE.items() if key != "expires_at"}
    for wrong in ({**FILE, "color": "red"}, missing):
        for where, body in (("GET /v1/files/file_1", wrong), ("GET /v1/files", {**page, "data": [wrong]})):
            with pytest.raises(AssertionError, match="keys"):
                answered(where, body)
    for where in ("GET /v1/dreams", "PUT /v1/files", "POST /v1/files/file_1/copy", "GET /v2/files"):
        with pytest.raises(AssertionError, match="no model"):
            answered(where, page)


@requirement("transport:request-id", "transport:conflict-no-retry", "transport:retry-after")
def test_an_envelope_that_lacks_a_part_is_noticed() -> None:
    error(404, "not_found_error")
    for status, kind, more in (
        (404, "invalid_request_error", {}),
        (404, "not_found_error", {"request_id": "req_2"}),
        (404, "not_found_error", {"hint": "x"}),
    ):
        with pytest.raises(AssertionError):
            error(status, kind, **more)
    for status, kind in ((409, "conflict_error"), (429, "rate_limit_error")):
        with pytest.raises((AssertionError, KeyError)):
            error(status, kind)


@requirement("transport:ids")
def test_a_test_cannot_name_a_requirement_that_does_not_exist() -> None:
    with pytest.raises(KeyError):
        requirement("transport:nope")
    assert "transport:ids" in REQUIREMENTS
