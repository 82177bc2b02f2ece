"""Acts and the audit trail over HTTP (ours)."""

from __future__ import annotations

from typing import Any

import pytest
from api_fakes import Server, refusal

from agents.errors import Overloaded, Unavailable
from agents.governance.audit.entries import AuditEntry
from agents.sessions.events import EventType


async def _entries(server: Server, **asked: Any) -> list[dict[str, Any]]:
    answer = await server.client.get("/-/audit/entries", params={"order": "asc", **asked})
    assert answer.status_code == 200, answer.text
    return answer.json()["data"]


async def test_each_act_is_recorded_and_reading_is_not_but_for_the_trail_itself(server: Server) -> None:
    session = await server.session()
    await server.client.get("/v1/agents")
    await server.client.post(
        f"/v1/sessions/{session['id']}/events",
        json={"events": [{"type": "user.message", "content": [{"type": "text", "text": "hi"}]}]},
    )
    await server.client.delete("/v1/vaults/vlt_none", headers={"x-forwarded-for": "10.1.2.3"})
    await _entries(server)
    rows = await _entries(server)
    assert [(row["action"], row["outcome"]) for row in rows] == [
        ("createAgent", "ok"),
        ("createEnvironment", "ok"),
        ("createSession", "ok"),
        ("deleteVault", "not_found_error"),
        ("listAudit", "ok"),
    ]
    assert [row["object"] for row in rows[2:4]] == [session["id"], "vlt_none"]
    assert rows[3]["detail"] == {"forwarded_for": "10.1.2.3"}
    assert rows[0]["detail"] == {"fields": ["model", "name"], "values": {"name": "a"}}


async def test_secrets_never_get_into_an_entry(server: Server) -> None:
    vault = (await server.client.post("/v1/vaults", json={"display_name": "v"})).json()
    auth = {"type": "static_bearer", "token": "tok-s3cret", "mcp_server_url": "https://a.example/mcp"}
    await server.client.post(f"/v1/vaults/{vault['id']}/credentials", json={"auth": auth})
    rows = await _entries(server)
    assert rows[1]["action"] == "createCredential" and rows[1]["detail"]["fields"] == ["auth"]
    assert "s3cret" not in str(rows)


async def test_what_cannot_be_recorded_is_not_done(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    def full() -> None:
        raise Overloaded("full")

    monkeypatch.setattr(server.store.audit, "require_room", full)
    refusal(
        await server.client.post("/v1/agents", json={"model": "claude-opus-5-5", "name": "a"}), 529, "overloaded_error"
    )
    assert (await server.client.get("/v1/agents")).json()["data"] == []


async def test_an_act_that_was_done_is_answered_as_done_also_when_its_entry_has_to_wait(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(entry: AuditEntry) -> None:
        raise Unavailable("away")

    monkeypatch.setattr(server.store.audit, "record", away)
    assert (await server.client.post("/v1/agents", json={"model": "claude-opus-5-5", "name": "a"})).status_code == 200


async def test_a_handler_that_failed_is_recorded_as_such(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(server.store.agents, "insert", broken)
    answer = await server.client.post("/v1/agents", json={"model": "claude-opus-5-5", "name": "a"})
    assert answer.status_code == 500
    assert [(row["action"], row["outcome"]) for row in await _entries(server)] == [("createAgent", "internal_error")]


async def test_verification_goes_through_entries_and_then_sessions(server: Server) -> None:
    session = await server.session()
    await server.host.log(session["id"], EventType.AGENT_MESSAGE, {"content": []})
    await server.store.audit.seal()
    first = (await server.client.post("/-/audit/verify", json={})).json()
    assert (first["entries"], first["findings"]) == (4, [])
    second = (await server.client.post("/-/audit/verify", json=first["next"])).json()
    assert (second["sessions"], second["events"], second["unsealed"], second["next"]) == (1, 1, 0, None)
    server.store.log.sessions[session["id"]].events[0]["body"] = "{}"
    found = (await server.client.post("/-/audit/verify", json={"session_id": session["id"]})).json()["findings"]
    assert [(each["session"], each["seq"]) for each in found] == [(session["id"], 1)]
    assert [row["action"] for row in await _entries(server)].count("verifyAudit") == 2  # not each step of one
    refusal(await server.client.post("/-/audit/verify", json={"session_id": "sesn_x"}), 404, "not_found_error")
    for bad in ({"entries": {"after": -1, "hash": ""}}, {"sessions": {"after": "x" * 200}}, {"other": 1}):
        refusal(await server.client.post("/-/audit/verify", json=bad), 400, "invalid_request_error")


async def test_a_hold_needs_a_reason_and_keeps_a_session(server: Server) -> None:
    session = await server.session()
    refusal(
        await server.client.post("/-/audit/holds", json={"session_id": session["id"], "reason": ""}),
        400,
        "invalid_request_error",
    )
    held = await server.client.post("/-/audit/holds", json={"session_id": session["id"], "reason": "case"})
    assert held.json()["reason"] == "case"
    refusal(await server.client.delete(f"/v1/sessions/{session['id']}"), 409, "conflict_error")
    assert [row["session_id"] for row in (await server.client.get("/-/audit/holds")).json()["data"]] == [session["id"]]
    assert (await server.client.delete(f"/-/audit/holds/{session['id']}")).status_code == 200
    refusal(await server.client.delete(f"/-/audit/holds/{session['id']}"), 404, "not_found_error")
    assert (await server.client.delete(f"/v1/sessions/{session['id']}")).status_code == 200
    rows = await _entries(server, object=session["id"])
    assert [(row["action"], row["outcome"]) for row in rows[1:]] == [
        ("holdSession", "ok"),
        ("deleteSession", "conflict_error"),
        ("releaseSession", "ok"),
        ("releaseSession", "not_found_error"),
        ("deleteSession", "ok"),
    ]


async def test_an_export_is_what_verification_needs(server: Server) -> None:
    session = await server.session()
    event = await server.host.log(session["id"], EventType.AGENT_THINKING, {}, hidden={"block": "sealed away"})
    [standing] = (await server.client.get("/-/audit/sessions")).json()["data"]
    assert (standing["session_id"], standing["seq"], standing["leaves"]) == (session["id"], 1, [])
    answer = await server.client.get(f"/-/audit/sessions/{session['id']}/events")
    [row] = answer.json()["data"]
    assert (row["id"], len(row["hidden"]), len(row["link"])) == (event.id, 64, 64) and "sealed away" not in answer.text


async def test_only_admins_see_the_trail(make_server: Any) -> None:
    server = await make_server(api_key="k0")
    made = await server.client.post("/-/keys", json={"name": "dev", "scope": "developer"}, headers={"x-api-key": "k0"})
    key = made.json()
    refusal(await server.client.get("/-/audit/entries", headers={"x-api-key": key["key"]}), 403, "permission_error")
    server.client.headers["x-api-key"] = "k0"
    rows = await _entries(server)
    assert [(row["action"], row["outcome"]) for row in rows] == [
        ("createApiKey", "ok"),
        ("listAudit", "permission_error"),
    ]
    assert rows[1]["detail"]["key"] == key["id"] and key["key"] not in str(rows)


async def test_the_head_is_not_signed_without_a_key(server: Server) -> None:
    head = (await server.client.get("/-/audit/head")).json()
    assert (head["seq"], head["signature"], head["public_key"]) == (0, None, None)
    assert (await server.client.get("/-/audit/head")).json()["seq"] == 1


@pytest.mark.parametrize(
    "params", [{"since": "soon"}, {"limit": "2000"}, {"order": "up"}, {"after": "-1"}, {"actor": ""}]
)
async def test_a_bad_question_names_its_parameter(server: Server, params: dict[str, str]) -> None:
    answer = await server.client.get("/-/audit/entries", params=params)
    refusal(answer, 400, "invalid_request_error")
    assert next(iter(params)) in answer.json()["error"]["message"]
