"""``/v1/environments`` (spec A.2)."""

from __future__ import annotations

import secrets
from typing import Any

import anthropic
import httpx
import pytest
from anthropic import Anthropic

from tests.conformance.requirements import requirement
from tests.conformance.scene import MODEL

EMPTY = {"type": "packages", "apt": [], "cargo": [], "gem": [], "go": [], "npm": [], "pip": []}
LIMITED = {"type": "limited", "allowed_hosts": [], "allow_mcp_servers": False, "allow_package_managers": False}


def name() -> str:
    return f"place-{secrets.token_hex(6)}"


def create(http: httpx.Client, **params: Any) -> dict[str, Any]:
    answer = http.post("/v1/environments", json={"name": name(), **params})
    assert answer.status_code == 200, answer.text
    return answer.json()


def update(http: httpx.Client, environment: dict[str, Any], **params: Any) -> httpx.Response:
    return http.post(f"/v1/environments/{environment['id']}", json=params)


@requirement("environments:create:default")
def test_a_name_makes_an_unrestricted_cloud_environment(http: httpx.Client) -> None:
    environment = create(http)
    assert environment["config"] == {"type": "cloud", "networking": {"type": "unrestricted"}, "packages": EMPTY}
    assert environment["type"] == "environment" and environment["metadata"] == {}
    assert environment["description"] is None and environment["archived_at"] is None
    assert environment == http.get(f"/v1/environments/{environment['id']}").json()


@requirement("environments:create:limited")
def test_limited_networking_comes_back_whole(client: Anthropic) -> None:
    environment = client.beta.environments.create(
        name=name(),
        description="few doors",
        config={"type": "cloud", "networking": {"type": "limited", "allowed_hosts": ["api.example.com"]}},
        metadata={"k": "v"},
    )
    assert environment.to_dict()["config"]["networking"] == {**LIMITED, "allowed_hosts": ["api.example.com"]}
    assert (environment.description, environment.metadata) == ("few doors", {"k": "v"})
    with pytest.raises(anthropic.BadRequestError):
        bad = {"type": "limited", "allowed_hosts": ["not a host"]}
        client.beta.environments.create(name=name(), config={"type": "cloud", "networking": bad})  # type: ignore[typeddict-item]


@requirement("environments:name-unique")
def test_a_taken_name_is_a_conflict(http: httpx.Client) -> None:
    first, second = create(http), create(http)
    answer = http.post("/v1/environments", json={"name": first["name"]})
    assert answer.status_code == 409 and answer.headers["x-should-retry"] == "false"
    assert update(http, second, name=first["name"]).status_code == 409
    assert update(http, second, name=second["name"]).status_code == 200


@requirement("environments:update")
def test_an_update_keeps_what_it_omits(http: httpx.Client) -> None:
    hosts = {"type": "limited", "allowed_hosts": ["a.example.com"], "allow_mcp_servers": True}
    environment = create(http, description="d", config={"type": "cloud", "networking": hosts})
    same = update(http, environment).json()
    assert same == environment
    renamed = update(http, environment, name=name(), description=None).json()
    assert renamed["description"] is None and renamed["config"] == environment["config"]
    switch = {"type": "cloud", "networking": {"type": "limited", "allow_package_managers": True}}
    changed = update(http, environment, config=switch).json()["config"]["networking"]
    assert changed == {**LIMITED, **hosts, "allow_package_managers": True}
    opened = update(http, environment, config={"type": "cloud", "networking": {"type": "unrestricted"}}).json()
    assert opened["config"]["networking"] == {"type": "unrestricted"}


@requirement("environments:update:metadata")
def test_null_and_empty_metadata_values_delete(http: httpx.Client) -> None:
    environment = create(http, metadata={"a": "1", "b": "2", "c": "3"})
    changed = update(http, environment, metadata={"a": None, "b": "", "d": "4"}).json()
    assert changed["metadata"] == {"c": "3", "d": "4"}


@requirement("environments:update:type")
def test_the_type_cannot_change(http: httpx.Client) -> None:
    answer = update(http, create(http), config={"type": "self_hosted"})
    assert answer.status_code == 400
    assert answer.json()["error"]["details"]["error_code"] == "invalid_config_type_change"


@requirement("environments:archive")
def test_an_archived_environment_takes_no_update_and_no_session(client: Anthropic) -> None:
    environment = client.beta.environments.create(name=name())
    archived = client.beta.environments.archive(environment.id)
    assert archived.archived_at and client.beta.environments.archive(environment.id).archived_at == archived.archived_at
    agent = client.beta.agents.create(name="homeless", model=MODEL)
    for call in (
        lambda: client.beta.environments.update(environment.id, description="x"),
        lambda: client.beta.sessions.create(agent=agent.id, environment_id=environment.id),
    ):
        with pytest.raises(anthropic.BadRequestError) as caught:
            call()
        assert caught.value.body["error"]["details"]["error_code"] == "environment_archived"  # type: ignore[index]


@requirement("environments:delete")
def test_an_environment_is_deleted_once_no_session_refers_to_it(client: Anthropic) -> None:
    environment = client.beta.environments.create(name=name())
    agent = client.beta.agents.create(name="guest", model=MODEL)
    session = client.beta.sessions.create(agent=agent.id, environment_id=environment.id)
    with pytest.raises(anthropic.APIStatusError) as caught:
        client.beta.environments.delete(environment.id)
    assert caught.value.status_code in (400, 409)
    client.beta.sessions.delete(session.id)
    deleted = client.beta.environments.delete(environment.id)
    assert deleted.to_dict() == {"id": environment.id, "type": "environment_deleted"}
    with pytest.raises(anthropic.NotFoundError):
        client.beta.environments.retrieve(environment.id)
    assert client.beta.environments.create(name=environment.name).id != environment.id


@requirement("environments:list")
def test_environments_are_paged_and_archived_ones_asked_for(client: Anthropic) -> None:
    made = [client.beta.environments.create(name=name()).id for _ in range(4)]
    client.beta.environments.archive(made[2])
    live = [made[3], made[1], made[0]]
    first = client.beta.environments.list(limit=2)
    assert [each.id for each in first.data] == live[:2]
    assert first.get_next_page().data[0].id == live[2]
    everything = client.beta.environments.list(limit=4, include_archived=True)
    assert [each.id for each in everything.data] == made[::-1]


@requirement("environments:packages-need-managers", "environments:refused-parts")
def test_what_is_no_package_is_refused_by_name(http: httpx.Client) -> None:
    for config, named in (
        ({"type": "cloud", "networking": {"type": "limited"}, "packages": {"pip": ["x"]}}, "allow_package_managers"),
        ({"type": "cloud", "packages": {"pip": ["pandas", "--index-url=x"]}}, "config.packages.pip[1]"),
    ):
        answer = http.post("/v1/environments", json={"name": name(), "config": config})
        assert answer.status_code == 400 and named in answer.json()["error"]["message"]
