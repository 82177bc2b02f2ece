"""What is told has the names and the fields of the SDK's own types, and sessions tell what happens to them."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, get_args

import pytest
from anthropic.types.beta.beta_webhook_event import BetaWebhookEvent
from anthropic.types.beta.beta_webhook_event_data import BetaWebhookEventData

from agents.ids import new_event_id
from agents.sessions.events import Event, EventType, SessionRecord
from agents.webhooks.announcing import Announcement
from agents.webhooks.names import EVENT_NAMES
from agents.webhooks.session_news import session_news

T0 = datetime(2026, 11, 22, tzinfo=UTC)
NOT_HERE = ("user_profile.", "external_key.")
"""Of what this platform does not have."""
MORE = {"session.thread_": {"session_thread_id": "sthr_1"}, "vault_credential.": {"vault_id": "vlt_1"}}
RECORD = SessionRecord(
    id="sesn_1",
    partition=1,
    created_at=T0,
    updated_at=T0,
    agent={"name": "a"},
    agent_id="agent_1",
    agent_version=1,
    environment_id="env_1",
    environment={},
    thread_id="sthr_1",
    workspace_id="team-a",
)


def sdk_names() -> set[str]:
    members = get_args(get_args(BetaWebhookEventData)[0])
    return {get_args(member.model_fields["type"].annotation)[0] for member in members}


def test_the_names_are_those_of_the_sdk() -> None:
    assert {name for name in sdk_names() if not name.startswith(NOT_HERE)} == EVENT_NAMES


@pytest.mark.parametrize("name", sorted(EVENT_NAMES))
def test_a_message_has_what_the_sdk_wants_of_its_name(name: str) -> None:
    more = next((fields for prefix, fields in MORE.items() if name.startswith(prefix)), {})
    news = Announcement(name, "x_1", "team-a", T0, more)
    event = BetaWebhookEvent.model_validate_json(news.body(), strict=False)
    assert (event.id, event.type, event.created_at) == (news.id, "event", T0)
    assert event.data.to_dict() == {
        "type": name,
        "id": "x_1",
        "organization_id": "default",
        "workspace_id": "team-a",
        **more,
    }


def names(*events: tuple[EventType, dict[str, Any]], created: bool = False, **changes: Any) -> list[str]:
    logged = [Event(new_event_id(), type_, body, T0) for type_, body in events]
    return [each.name for each in session_news(replace(RECORD, **changes), logged, created=created)]


def stopped(reason: str) -> tuple[EventType, dict[str, Any]]:
    return EventType.SESSION_IDLE, {"stop_reason": {"type": reason}, "stop_details": None}


def test_a_session_tells_its_life() -> None:
    assert names(created=True) == ["session.created"]
    assert names((EventType.SESSION_RUNNING, {})) == ["session.status_run_started", "session.running"]
    assert names(stopped("end_turn")) == ["session.status_idled", "session.idled"]
    assert names((EventType.SESSION_RESCHEDULED, {})) == ["session.status_rescheduled"]
    assert names((EventType.SESSION_UPDATED, {"title": "t"})) == ["session.updated"]
    assert names((EventType.SESSION_TERMINATED, {}), archived_at=T0) == [
        "session.status_terminated",
        "session.archived",
    ]


@pytest.mark.parametrize("reason", ["requires_action", "budget_reached"])
def test_why_it_is_idle_is_told_apart(reason: str) -> None:
    assert names(stopped(reason)) == ["session.status_idled", "session.idled", f"session.{reason}"]


def test_what_happens_within_a_turn_is_not_told() -> None:
    within = [EventType.AGENT_MESSAGE, EventType.AGENT_TOOL_USE, EventType.MODEL_REQUEST_END, EventType.USER_MESSAGE]
    assert names(*((type_, {}) for type_ in within)) == []


def test_an_archive_is_told_once() -> None:
    assert names(archived_at=T0, updated_at=T0.replace(year=2027)) == []


def test_a_thread_is_named() -> None:
    event = Event(new_event_id(), EventType.THREAD_IDLE, {"session_thread_id": "sthr_2", "agent_name": "a"}, T0)
    [news] = session_news(RECORD, [event], created=False)
    assert (news.name, news.object_id, news.workspace_id) == ("session.thread_idled", "sesn_1", "team-a")
    assert news.more == {"session_thread_id": "sthr_2"}
