"""Two workspaces on one live server, by the official SDK and by every operation that the server describes (ours)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import anthropic
import httpx
import pytest
from anthropic import Anthropic

from tests.conformance.platform import KEY, LivePlatform, in_process
from tests.conformance.requirements import requirement
from tests.conformance.scene import MODEL

SECURE = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
}
TEXT: Any = [{"type": "text", "text": "hi"}]
_OWNED = ("agent_id", "environment_id", "session_id", "vault_id", "file_id", "deployment_id", "deployment_run_id")


@dataclass
class Tenant:
    """A workspace with one object of each kind."""

    http: httpx.Client
    sdk: Anthropic
    key: dict[str, Any]
    ids: dict[str, str] = field(default_factory=lambda: {})


def made_key(platform: LivePlatform, scope: str, workspace: str) -> dict[str, Any]:
    body = {"name": f"{scope} of {workspace}", "scope": scope, "workspace_id": workspace}
    answer = httpx.post(f"{platform.url}/-/keys", json=body, headers={"x-api-key": KEY}, timeout=20)
    assert answer.status_code == 200, answer.text
    return answer.json()


def tenant(platform: LivePlatform, workspace: str) -> Tenant:
    key = made_key(platform, "developer", workspace)
    it = Tenant(
        httpx.Client(base_url=platform.url, headers={"x-api-key": key["key"]}, timeout=20),
        Anthropic(base_url=platform.url, api_key=key["key"], max_retries=0, timeout=20),
        key,
    )
    beta = it.sdk.beta
    agent, place = beta.agents.create(name="a", model=MODEL), beta.environments.create(name="production")
    vault = beta.vaults.create(display_name="v")
    session = beta.sessions.create(agent=agent.id, environment_id=place.id, vault_ids=[vault.id])
    file = beta.files.upload(file=("a.txt", b"a"))
    gone = beta.environments.create(name="gone")
    deployment = beta.deployments.create(
        name="d", agent=agent.id, environment_id=gone.id, initial_events=[{"type": "user.message", "content": TEXT}]
    )
    beta.environments.archive(gone.id)  # so that its run makes no session
    it.ids = {
        "agent_id": agent.id,
        "environment_id": place.id,
        "vault_id": vault.id,
        "session_id": session.id,
        "deployment_id": deployment.id,
        "deployment_run_id": beta.deployments.run(deployment.id).id,
    }
    it.ids["file_id"] = file.id
    return it


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LivePlatform]:
    """A server of its own: what is revoked here must not be missed elsewhere."""
    with in_process(tmp_path_factory.mktemp("workspaces"), access={"key_cache_seconds": 0}) as made:
        yield made


@pytest.fixture(scope="module")
def tenants(shared: LivePlatform) -> Iterator[tuple[Tenant, Tenant]]:
    pair = tenant(shared, "mine"), tenant(shared, "theirs")
    yield pair
    for each in pair:
        each.http.close()
        each.sdk.close()


def described(http: httpx.Client) -> list[tuple[str, str]]:
    """Every method and path of the API's description that names an object of a workspace."""
    paths: dict[str, dict[str, Any]] = http.get("/openapi.json").json()["paths"]
    return [
        (method.upper(), path)
        for path, methods in paths.items()
        for method in methods
        if path.startswith("/v1/") and any(f"{{{name}}}" in path for name in _OWNED)
    ]


@requirement("transport:keys:workspaces")
def test_no_operation_tells_whether_another_workspaces_object_exists(tenants: tuple[Tenant, Tenant]) -> None:
    mine, theirs = tenants
    absent = {name: f"{value[:-6]}000000" for name, value in theirs.ids.items()}
    others = {"thread_id": "x", "work_id": "x", "key_id": "x", "credential_id": "x", "resource_id": "x"}
    tried = described(mine.http)
    assert len(tried) >= 40
    for method, path in tried:
        told: list[tuple[int, str]] = []
        for ids in (theirs.ids, absent):
            answer = mine.http.request(method, path.format_map({**others, **ids}), json={})
            message = answer.json()["error"]["message"]
            for name in _OWNED:
                message = message.replace(ids[name], "ID")
            told.append((answer.status_code, message))
        assert told[0] == told[1] and told[0][0] == 404, f"{method} {path}: {told}"
    assert theirs.sdk.beta.sessions.retrieve(theirs.ids["session_id"]).archived_at is None


@requirement("transport:keys:workspaces")
def test_lists_and_references_stay_within_the_workspace(tenants: tuple[Tenant, Tenant]) -> None:
    mine, theirs = tenants
    beta = mine.sdk.beta
    every = (beta.agents, beta.environments, beta.vaults, beta.sessions, beta.files)
    every += (beta.deployments, beta.deployment_runs)
    assert sorted(each.id for resource in every for each in resource.list()) == sorted(mine.ids.values())
    with pytest.raises(anthropic.NotFoundError):
        beta.sessions.create(agent=theirs.ids["agent_id"], environment_id=mine.ids["environment_id"])
    with pytest.raises(anthropic.NotFoundError):
        beta.sessions.create(agent=mine.ids["agent_id"], environment_id=theirs.ids["environment_id"])
    with pytest.raises(anthropic.NotFoundError):
        beta.sessions.create(
            agent=mine.ids["agent_id"],
            environment_id=mine.ids["environment_id"],
            resources=[{"type": "file", "file_id": theirs.ids["file_id"]}],
        )
    document: Any = {"type": "document", "source": {"type": "file", "file_id": theirs.ids["file_id"]}}
    with pytest.raises(anthropic.NotFoundError):
        message: Any = {"type": "user.message", "content": [document]}
        beta.sessions.events.send(mine.ids["session_id"], events=[message])


@requirement("transport:keys:made")
def test_a_key_opens_what_its_scope_says_until_it_is_revoked(shared: LivePlatform) -> None:
    made = made_key(shared, "read-only", "brief")
    reader = Anthropic(base_url=shared.url, api_key=made["key"], max_retries=0, timeout=20)
    assert list(reader.beta.agents.list()) == []
    with pytest.raises(anthropic.PermissionDeniedError, match="developer"):
        reader.beta.agents.create(name="a", model=MODEL)
    answer = httpx.delete(f"{shared.url}/-/keys/{made['id']}", headers={"x-api-key": KEY}, timeout=20)
    assert answer.json()["status"] == "archived"
    with pytest.raises(anthropic.AuthenticationError, match="revoked"):
        reader.beta.agents.list()


@requirement("transport:headers:secure")
def test_answers_carry_secure_headers_and_a_stream_keeps_its_word_on_caches(
    shared: LivePlatform, tenants: tuple[Tenant, Tenant]
) -> None:
    mine, _ = tenants
    for path in ("/v1/agents", "/v1/nothing", "/-/healthz", "/openapi.json"):
        answer = mine.http.get(path)
        assert {name: answer.headers[name] for name in SECURE} == SECURE
        assert answer.headers["cache-control"] == "no-store"
        assert "strict-transport-security" not in answer.headers
    with mine.http.stream("GET", f"/v1/sessions/{mine.ids['session_id']}/events/stream") as stream:
        assert stream.headers["cache-control"] == "no-cache, no-transform"
        assert stream.headers["x-content-type-options"] == "nosniff"
        assert next(stream.iter_lines())
