"""Section 0 and E of the specification: what holds for every call."""

from __future__ import annotations

import re
import secrets
from datetime import timedelta, timezone
from http.client import HTTPConnection
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from anthropic import Anthropic, AsyncAnthropic

from tests.conformance.platform import MAX_QUEUED, LivePlatform
from tests.conformance.requirements import requirement
from tests.conformance.scene import MODEL, Scene, message, of_type, says, text_of, toolset

_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")


@pytest.fixture(scope="module")
def agent_id(client: Anthropic) -> str:
    return client.beta.agents.create(name="transport", model=MODEL).id


@pytest.fixture(scope="module")
def session_id(client: Anthropic, agent_id: str) -> str:
    """A session that is there: of one that is not, nothing else is looked at."""
    place = client.beta.environments.create(name=f"transport-{secrets.token_hex(6)}").id
    return client.beta.sessions.create(agent=agent_id, environment_id=place).id


@requirement("transport:auth:bearer", "transport:auth:x-api-key")
@pytest.mark.parametrize(
    "name, prefix", [("authorization", "Bearer "), ("authorization", "bearer "), ("x-api-key", "")]
)
def test_a_key_is_accepted_in_either_header(platform: LivePlatform, name: str, prefix: str) -> None:
    answer = httpx.get(f"{platform.url}/v1/agents", headers={name: prefix + platform.key})
    assert answer.status_code == 200


@requirement("transport:auth:refused")
@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"authorization": "Bearer wrong"},
        {"x-api-key": "wrong"},
        {"authorization": "Basic conformance-key"},
        {"authorization": "Bearer"},
        {"x-api-key": ""},
    ],
    ids=["none", "bearer", "x-api-key", "basic", "empty-bearer", "empty-key"],
)
@pytest.mark.parametrize("path", ["/v1/agents", "/v1/sessions/sesn_x/events/stream", "/v1/nothing"])
def test_a_missing_or_wrong_key_is_a_401(platform: LivePlatform, headers: dict[str, str], path: str) -> None:
    answer = httpx.get(platform.url + path, headers=headers)
    assert answer.status_code == 401
    body = answer.json()
    assert body["error"]["type"] == "authentication_error"
    assert body["request_id"] == answer.headers["request-id"]


@requirement("transport:headers:version", "transport:headers:beta", "transport:headers:ignored", "transport:beta-query")
@pytest.mark.parametrize(
    "headers",
    [
        {"anthropic-version": "2023-06-01"},
        {"anthropic-version": "2026-10-21"},
        {"anthropic-beta": "managed-agents-2026-04-01"},
        {"anthropic-beta": "managed-agents-2026-04-01,files-api-2025-04-14"},
        {"anthropic-workspace-id": "wrkspc_1", "x-stainless-retry-count": "1", "x-stainless-timeout": "600"},
    ],
    ids=lambda headers: "+".join(headers.values())[:40],
)
def test_known_headers_and_the_old_beta_parameter_change_nothing(http: httpx.Client, headers: dict[str, str]) -> None:
    plain = http.get("/v1/agents", params={"limit": 1}).json()
    answer = http.get("/v1/agents", params={"limit": 1, "beta": "true"}, headers=headers)
    assert answer.status_code == 200
    assert set(answer.json()) == set(plain)


@requirement("transport:headers:beta")
async def test_the_sdk_may_add_betas_of_its_own(aclient: AsyncAnthropic, agent_id: str) -> None:
    agent = await aclient.beta.agents.retrieve(agent_id, betas=["skills-2025-10-02"])
    assert agent.id == agent_id


@requirement("transport:request-id")
def test_every_answer_has_its_own_request_id_that_the_sdk_shows(client: Anthropic, agent_id: str) -> None:
    first, second = client.beta.agents.retrieve(agent_id), client.beta.agents.retrieve(agent_id)
    assert first._request_id and second._request_id and first._request_id != second._request_id
    with pytest.raises(Exception) as caught:
        client.beta.agents.retrieve("agent_none")
    assert caught.value.request_id == caught.value.body["request_id"]  # type: ignore[attr-defined]


@requirement("transport:empty-post")
@pytest.mark.parametrize("content", [b"", b"{}"], ids=["empty", "object"])
def test_an_action_takes_an_empty_body(client: Anthropic, http: httpx.Client, content: bytes) -> None:
    made = client.beta.agents.create(name="to archive", model=MODEL)
    headers = {"content-type": "application/json"}
    answer = http.post(f"/v1/agents/{made.id}/archive", content=content, headers=headers)
    assert answer.status_code == 200 and answer.json()["archived_at"]


@requirement("transport:query:arrays")
@pytest.mark.parametrize("query", ["statuses[]=idle&statuses[]=running", "statuses%5B%5D=idle&statuses%5B%5D=running"])
def test_array_parameters_are_bracketed_and_repeated(http: httpx.Client, query: str) -> None:
    assert http.get(f"/v1/sessions?{query}").status_code == 200
    refused = http.get(f"/v1/sessions?{query}&statuses[]=asleep")
    assert refused.status_code == 400 and "statuses" in refused.json()["error"]["message"]


@requirement("transport:query:ranges")
@pytest.mark.parametrize("bound", ["2026-11-21T00:00:00+00:00", "2026-11-21T00:00:00Z", "2026-11-21T05:30:00.5+05:30"])
def test_time_bounds_take_iso_8601_with_any_offset(http: httpx.Client, bound: str) -> None:
    assert http.get("/v1/agents", params={"created_at[gte]": bound}).status_code == 200
    refused = http.get("/v1/agents", params={"created_at[gte]": "yesterday"})
    assert refused.status_code == 400 and "created_at[gte]" in refused.json()["error"]["message"]


@requirement("transport:query:ranges")
def test_the_sdks_datetimes_are_understood(client: Anthropic, agent_id: str) -> None:
    made = client.beta.agents.retrieve(agent_id).created_at
    zone = timezone(timedelta(hours=-7))
    found = client.beta.agents.list(created_at_gte=made.astimezone(zone), created_at_lte=made)
    assert agent_id in [agent.id for agent in found.data]


@requirement("transport:query:booleans")
def test_booleans_are_true_and_false(http: httpx.Client) -> None:
    assert http.get("/v1/agents", params={"include_archived": "true"}).status_code == 200
    assert http.get("/v1/agents", params={"include_archived": "false"}).status_code == 200
    assert http.get("/v1/agents", params={"include_archived": "1"}).status_code == 400


@requirement("transport:timestamps", "transport:ids")
async def test_times_are_utc_and_ids_carry_their_prefix(scene: Scene) -> None:
    await scene.answers(says("hi"))
    session = await scene.session()
    events = await scene.turn(session)
    resource = await scene.retrieve(session)
    agent = await scene.get(f"/v1/agents/{resource['agent']['id']}")
    environment = await scene.get(f"/v1/environments/{resource['environment_id']}")
    moments = [event["processed_at"] for event in events]
    moments += [each[key] for each in (resource, agent, environment) for key in ("created_at", "updated_at")]
    assert [moment for moment in moments if not _TIME.fullmatch(moment)] == []
    ids = [resource["id"], agent["id"], environment["id"], events[0]["id"], events[1]["session_thread_id"]]
    assert [each.partition("_")[0] for each in ids] == ["sesn", "agent", "env", "sevt", "sthr"]


@requirement("transport:metadata")
@pytest.mark.parametrize(
    "bag, good",
    [
        ({f"k{n}": "v" for n in range(16)}, True),
        ({f"k{n}": "v" for n in range(17)}, False),
        ({"k" * 64: "v" * 512}, True),
        ({"k" * 65: "v"}, False),
        ({"k": "v" * 513}, False),
        ({"k": 1}, False),
        ({"k": None}, False),
    ],
    ids=["16", "17", "longest", "key", "value", "number", "null"],
)
@pytest.mark.parametrize("kind", ["agents", "environments"])
def test_metadata_bags_are_bounded(http: httpx.Client, kind: str, bag: dict[str, Any], good: bool) -> None:
    name = f"bag-{secrets.token_hex(6)}"
    body = {"name": name, "metadata": bag} | ({"model": MODEL} if kind == "agents" else {})
    answer = http.post(f"/v1/{kind}", json=body)
    if good:
        assert answer.status_code == 200 and answer.json()["metadata"] == bag
    else:
        assert answer.status_code == 400 and "metadata" in answer.json()["error"]["message"]


@requirement("transport:errors:json")
@pytest.mark.parametrize(
    "body", [b"{", b"nope", b"[]", b"null", b'"text"', b"\xff", b'{"name": "\\ud800"}', b"[" * 5000]
)
def test_a_body_that_is_not_a_json_object_is_a_400(http: httpx.Client, session_id: str, body: bytes) -> None:
    for path in ("/v1/agents", "/v1/environments", "/v1/sessions", f"/v1/sessions/{session_id}/events"):
        assert http.post(path, content=body, headers={"content-type": "application/json"}).status_code == 400


_TOOL = {"type": "custom", "name": "t", "description": "d", "input_schema": {"type": "object"}}


@requirement("transport:errors:unknown-field", "transport:errors:wrong-type", "transport:errors:missing-field")
@pytest.mark.parametrize(
    "path, body, named",
    [
        ("agents", {"name": "a", "model": MODEL, "sistem": "x"}, "sistem"),
        ("agents", {"name": "a", "model": {"id": MODEL, "size": 1}}, "model.size"),
        (
            "agents",
            {"name": "a", "model": MODEL, "tools": [toolset(bash={"enable": True})]},
            "tools[0].configs[0].enable",
        ),
        ("agents", {"name": "a", "model": MODEL, "tools": [{**_TOOL, "strict": True}]}, "tools[0].strict"),
        ("agents", {"name": 7, "model": MODEL}, "name"),
        ("agents", {"name": "a", "model": MODEL, "tools": {}}, "tools"),
        ("agents", {"name": "a", "model": MODEL, "tools": [{"type": "nope"}]}, "tools[0].type"),
        (
            "agents",
            {"name": "a", "model": MODEL, "tools": [toolset(bash={"enabled": "yes"})]},
            "tools[0].configs[0].enabled",
        ),
        ("agents", {"name": "a", "model": MODEL, "metadata": []}, "metadata"),
        ("agents", {"model": MODEL}, "name"),
        ("agents", {"name": "a"}, "model"),
        ("agents", {"name": "a", "model": {"effort": "low"}}, "model.id"),
        ("environments", {}, "name"),
        ("environments", {"name": "e", "config": {"type": "cloud", "net": 1}}, "config.net"),
        ("environments", {"name": "e", "config": {"type": "moon"}}, "config.type"),
        ("sessions", {"environment_id": "env_x"}, "agent"),
        ("sessions", {"agent": "agent_x"}, "environment_id"),
        ("sessions", {"agent": "agent_x", "environment_id": "env_x", "budgets": {}}, "budgets"),
        ("sessions", {"agent": {"type": "agent", "id": "agent_x", "verson": 1}, "environment_id": "e"}, "agent.verson"),
        ("sessions/sesn_x/events", {}, "events"),
        ("sessions/sesn_x/events", {"events": [message()], "wait": True}, "wait"),
        ("sessions/sesn_x/events", {"events": [{**message(), "id": "sevt_1"}]}, "events[0].id"),
        ("sessions/sesn_x/events", {"events": [{"type": "user.message"}]}, "events[0].content"),
        ("sessions/sesn_x/events", {"events": [{"type": "user.massage"}]}, "events[0].type"),
    ],
    ids=lambda value: value if isinstance(value, str) and "/" not in value else "",
)
def test_a_faulty_field_is_named_with_its_path(
    http: httpx.Client, session_id: str, path: str, body: dict[str, Any], named: str
) -> None:
    answer = http.post(f"/v1/{path.replace('sesn_x', session_id)}", json=body)
    assert answer.status_code == 400
    assert re.search(rf"(^|; ){re.escape(named)}: ", answer.json()["error"]["message"]), answer.text


@requirement("transport:errors:unknown-id")
@pytest.mark.parametrize(
    "method, path",
    [
        ("GET", "/v1/agents/agent_x"),
        ("POST", "/v1/agents/agent_x"),
        ("POST", "/v1/agents/agent_x/archive"),
        ("GET", "/v1/agents/agent_x/versions"),
        ("GET", "/v1/environments/env_x"),
        ("POST", "/v1/environments/env_x"),
        ("DELETE", "/v1/environments/env_x"),
        ("POST", "/v1/environments/env_x/archive"),
        ("GET", "/v1/sessions/sesn_x"),
        ("POST", "/v1/sessions/sesn_x"),
        ("DELETE", "/v1/sessions/sesn_x"),
        ("POST", "/v1/sessions/sesn_x/archive"),
        ("GET", "/v1/sessions/sesn_x/events"),
        ("GET", "/v1/sessions/sesn_x/events/stream"),
        ("GET", "/v1/sessions/sesn_x/threads"),
        ("GET", "/v1/sessions/sesn_x/threads/sthr_x"),
        ("POST", "/v1/sessions/sesn_x/threads/sthr_x/archive"),
        ("GET", "/v1/sessions/sesn_x/threads/sthr_x/events"),
        ("GET", "/v1/sessions/sesn_x/threads/sthr_x/stream"),
    ],
)
def test_an_unknown_id_is_a_404(http: httpx.Client, method: str, path: str) -> None:
    assert http.request(method, path).status_code == 404


@requirement("transport:errors:unknown-id")
def test_sending_to_an_unknown_session_is_a_404(http: httpx.Client) -> None:
    assert http.post("/v1/sessions/sesn_x/events", json={"events": [message()]}).status_code == 404


@requirement("transport:errors:unknown-path", "transport:errors:method")
def test_unknown_paths_and_parts_to_come_are_404_and_wrong_methods_are_refused(http: httpx.Client) -> None:
    for path in (
        "/",
        "/v1",
        "/v2/agents",
        "/v1/agent",
        "/v1/agents/",
        "/v1/skills/x/versions",
    ):
        assert http.get(path).status_code == 404, path
    for path in (
        "/v1/sessions/sesn_x/resources",
        "/v1/messages/batches",
    ):
        assert http.get(path).status_code == 404, path
    answer = http.delete("/v1/agents")
    assert answer.status_code == 405 and "GET" in answer.headers["allow"]


@requirement("transport:body-cap")
def test_a_body_over_the_cap_is_refused_before_it_is_sent(platform: LivePlatform) -> None:
    place = urlsplit(platform.url)
    assert place.hostname and place.port
    line = HTTPConnection(place.hostname, place.port, timeout=10)
    line.putrequest("POST", "/v1/agents")
    line.putheader("authorization", f"Bearer {platform.key}")
    line.putheader("content-type", "application/json")
    line.putheader("content-length", str(32 * 1024 * 1024 + 1))
    line.endheaders(b"x")
    answer = line.getresponse()
    assert answer.status == 413 and answer.headers["request-id"]
    assert "request_too_large" in answer.read().decode()
    line.close()


@requirement("transport:body-cap")
def test_a_chunked_body_over_the_cap_is_refused_too(http: httpx.Client) -> None:
    piece = b" " * (1024 * 1024)
    answer = http.post("/v1/agents", content=(piece for _ in range(33)), headers={"content-type": "application/json"})
    assert answer.status_code == 413


@requirement("transport:retry-after")
async def test_a_429_says_when_to_come_back(scene: Scene) -> None:
    session = await scene.session()
    events = [message(f"{n}") for n in range(MAX_QUEUED + 1)]
    answer = await scene.http.post(f"/v1/sessions/{session}/events", json={"events": events})
    assert answer.status_code == 429 and int(answer.headers["retry-after"]) >= 1
    assert await scene.log(session) == []


@requirement("transport:repeats")
async def test_a_marked_repeat_of_the_same_bytes_is_answered_from_memory(scene: Scene) -> None:
    session = await scene.session()
    path, body = f"/v1/sessions/{session}/events", {"events": [message("once")]}
    first = (await scene.http.post(path, json=body)).json()
    again = (await scene.http.post(path, json=body, headers={"x-stainless-retry-count": "1"})).json()
    assert again == first
    await scene.idle(session)
    new = (await scene.http.post(path, json=body)).json()
    other = await scene.http.post(path, json={"events": [message("else")]}, headers={"x-stainless-retry-count": "1"})
    await scene.until(session, "user.message", 3)
    texts = [text_of(event) for event in of_type(await scene.log(session), "user.message")]
    assert texts == ["once", "once", "else"]
    assert len({first["data"][0]["id"], new["data"][0]["id"], other.json()["data"][0]["id"]}) == 3


@requirement("transport:repeats")
async def test_requests_with_one_idempotency_key_are_one_and_those_with_another_are_not(scene: Scene) -> None:
    session = await scene.session()
    path, body = f"/v1/sessions/{session}/events", {"events": [message("go on")]}
    one, again, two = [
        (await scene.http.post(path, json=body, headers={"idempotency-key": key})).json()["data"][0]["id"]
        for key in ("one", "one", "two")
    ]
    assert one == again != two
