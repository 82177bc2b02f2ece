"""Every field of every request makes a difference, or is refused by name (ask 24).

Black box beside the look into the source in ``test_api_request_fields``: a body with everything in it is sent, then
again with one value changed, for each value. Where nothing that is stored or answered differs, the field is ignored.
What this release does not have is sent too, and must be refused as not available.
"""

from __future__ import annotations

import copy
import itertools
import re
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, Literal, get_args, get_origin

import orjson
import pytest
from anthropic.types.beta import (
    AgentCreateParams,
    AgentUpdateParams,
    DeploymentCreateParams,
    DeploymentUpdateParams,
    EnvironmentCreateParams,
    EnvironmentUpdateParams,
    SessionCreateParams,
    SessionUpdateParams,
)
from anthropic.types.beta.sessions import EventSendParams
from api_fakes import Server
from typing_extensions import get_type_hints

from agents.api.param_schema import HEADER_FIELDS
from tests.unit.api.test_api_request_fields import nested, refused

Json = dict[str, Any]
Path = tuple[str | int, ...]

PIXEL = "iVBORw0KGgo="
TOOLSET: Json = {
    "type": "agent_toolset_20260401",
    "default_config": {"enabled": True, "permission_policy": {"type": "always_allow"}},
    "configs": [
        *(
            {"name": name, "type": name, "enabled": True, "permission_policy": {"type": "always_ask"}}
            for name in ("bash", "edit", "read", "write", "glob", "grep")
        ),
        {
            "name": "web_fetch",
            "type": "web_fetch",
            "enabled": True,
            "permission_policy": {"type": "auto"},
            "allowed_domains": ["example.com"],
            "max_content_tokens": 100,
            "url_sources": {
                "user_input": {"type": "all"},
                "client_tool_results": {"type": "only", "tools": [{"type": "tool_reference", "name": "first"}]},
                "server_tool_results": {"type": "none"},
            },
        },
        {
            "name": "web_search",
            "type": "web_search",
            "enabled": True,
            "permission_policy": {"type": "always_allow"},
            "blocked_domains": ["example.org"],
            "user_location": {
                "type": "approximate",
                "city": "Oslo",
                "country": "NO",
                "region": "Oslo",
                "timezone": "Europe/Oslo",
            },
        },
    ],
}
MORE_TOOLS: list[Json] = [
    {
        "type": "mcp_toolset",
        "mcp_server_name": "crm",
        "default_config": {"enabled": True, "permission_policy": {"type": "always_ask"}},
        "configs": [{"name": "find", "enabled": True, "permission_policy": {"type": "always_allow"}}],
    },
    {
        "type": "custom",
        "name": "weather",
        "description": "Tells the weather.",
        "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
    *(
        {"type": "custom", "name": name, "description": "d", "input_schema": {"type": "object"}}
        for name in ("first", "second")
    ),
]
OTHER_DOMAINS: Json = {
    "type": "agent_toolset_20260401",
    "configs": [
        {
            "name": "web_fetch",
            "type": "web_fetch",
            "blocked_domains": ["example.com"],
            "url_sources": {
                "user_input": "all",
                "client_tool_results": {"type": "except", "tools": [{"type": "tool_reference", "name": "first"}]},
                "server_tool_results": {"type": "all"},
            },
        },
        {"name": "web_search", "type": "web_search", "allowed_domains": ["example.org"]},
    ],
}
SERVERS: list[Json] = [{"type": "url", "name": "crm", "url": "https://example.com/mcp"}]
AGENT: Json = {
    "name": "crew",
    "model": {"id": "claude-opus-5-5", "effort": {"type": "low"}, "speed": "standard", "inference_geo": "us"},
    "description": "d",
    "system": "s",
    "execution_identity": {"type": "service_account"},
    "mcp_servers": SERVERS,
    "metadata": {"k": "v"},
    "tools": [TOOLSET, *MORE_TOOLS],
}
EFFORTS = [{"type": kind} for kind in ("medium", "high", "xhigh", "max")]
CLOUD: Json = {
    "type": "cloud",
    "networking": {
        "type": "limited",
        "allow_mcp_servers": True,
        "allow_package_managers": True,
        "allowed_hosts": ["example.com"],
    },
}
PACKAGES: Json = {"type": "packages", **{kind: ["x"] for kind in ("apt", "cargo", "gem", "go", "npm", "pip")}}
WITH_PACKAGES: Json = {"type": "cloud", "packages": PACKAGES}
ENVIRONMENT: Json = {"name": "e", "description": "d", "metadata": {"k": "v"}, "scope": "organization", "config": CLOUD}
BLOCKS: list[Json] = [
    {"type": "text", "text": "hi"},
    {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PIXEL}},
    {"type": "image", "source": {"type": "url", "url": "https://example.com/a.png"}},
    {
        "type": "document",
        "title": "t",
        "context": "c",
        "source": {"type": "base64", "media_type": "application/pdf", "data": PIXEL},
    },
    {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "words"}},
    {"type": "document", "source": {"type": "url", "url": "https://example.com/a.pdf"}},
]
MESSAGE: Json = {"type": "user.message", "content": BLOCKS}
OUTCOME: Json = {
    "type": "user.define_outcome",
    "description": "d",
    "rubric": {"type": "text", "content": "c"},
    "max_iterations": 5,
}
SYSTEM: Json = {"type": "system.message", "content": [{"type": "text", "text": "t"}]}
FOUND: Json = {
    "type": "search_result",
    "title": "t",
    "source": "s",
    "citations": {"enabled": True},
    "content": [{"type": "text", "text": "found"}],
}
EVENTS: Json = {
    "events": [
        MESSAGE,
        {"type": "user.interrupt", "session_thread_id": "sthr_1"},
        {"type": "user.tool_confirmation", "tool_use_id": "sevt_1", "result": "deny", "deny_message": "no"},
        {"type": "user.custom_tool_result", "custom_tool_use_id": "sevt_2", "is_error": True, "content": [FOUND]},
        {"type": "user.tool_result", "tool_use_id": "sevt_3", "is_error": True, "content": [FOUND]},
        OUTCOME,
        SYSTEM,
    ]
}

# Another legal value, where a letter more is none.
OTHER: dict[Any, Any] = {
    "standard": "fast",
    "low": "high",
    "us": "global",
    "always_allow": "always_ask",
    "always_ask": "auto",
    "auto": "always_ask",
    **dict.fromkeys(("medium", "high", "xhigh", "max"), "low"),
    "deny": "allow",
    "NO": "SE",
    "Europe/Oslo": "Europe/Rome",
    "example.com": "example.net",
    "example.org": "example.net",
    "image/png": "image/gif",
    "application/pdf": "application/xml",
    PIXEL: "R0lGODlh",
    "all": "none",
    "none": "all",
    "first": "second",
    "string": "integer",
    "2500": "2600",
    "0 9 * * *": "0 10 * * *",
}
# Values that only name the kind of their object: another one is another object, which has samples of its own.
FIXED = {
    "agent_toolset_20260401", "mcp_toolset", "custom", "object", "url", "service_account", "cloud", "limited", "text",
    "image", "document", "base64", "approximate", "only", "except", "tool_reference", "user.message", "user.interrupt",
    "user.tool_confirmation", "user.custom_tool_result", "user.tool_result", "search_result", "text/plain",
    "agent_with_overrides", "limit", "packages", "cron", "system.message",
    "user.define_outcome",
}  # fmt: skip
# Names that refer to something else in the same body, so that both would have to change; and what has one legal value.
LINKED = {"mcp_server_name", "required", "scope", "currency"}
# The API says so: a session's own model brings no effort with it.
IGNORED = {("a session", ("agent", "model", "effort", "type"))}


def leaves(value: Any, path: Path = ()) -> Iterator[Path]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from leaves(inner, (*path, key))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from leaves(inner, (*path, index))
    else:
        yield path


def at(body: Any, path: Path) -> Any:
    for step in path:
        body = body[step]
    return body


def changeable(body: Json, path: Path) -> bool:
    value, key = at(body, path), path[-1]
    fixed = key in ("type", "name", "media_type") and value in FIXED
    tool = key in ("type", "name") and "configs" in path and "name" in at(body, path[:-1])
    linked = (
        any(step in LINKED for step in path)
        or (key == "name" and "mcp_servers" in path)
        or (value in ("first", "second") and "url_sources" not in path)
    )
    return not (fixed or (tool and TOOLSET["type"] == at(body, path[: path.index("configs")])["type"]) or linked)


def changed(body: Json, path: Path) -> Json:
    made = copy.deepcopy(body)
    holder, value = at(made, path[:-1]), at(made, path)
    if isinstance(value, bool):
        holder[path[-1]] = not value
    elif isinstance(value, int):
        holder[path[-1]] = value + 1
    elif (value, path[-1]) == ("text", "type"):
        raise AssertionError(path)
    else:
        holder[path[-1]] = OTHER.get(value, value + "x")
    if path[-1] == "result":  # words are only for a refusal
        del holder["deny_message"]
    return made


_MADE = re.compile(r"[a-z]+_01")


def without_names(value: Any) -> Any:
    """An answer less the names and times that are new each time."""
    if isinstance(value, dict):
        fresh = {"created_at", "updated_at", "stats", "version", "environment_id", "outcome_id"}
        named = {key for key in ("id",) if _MADE.match(str(value.get(key)))}
        return {key: without_names(inner) for key, inner in value.items() if key not in fresh | named}
    return [without_names(each) for each in value] if isinstance(value, list) else value


_numbers = itertools.count()
Send = Callable[[Server, Json], Awaitable[Any]]


async def answer(server: Server, path: str, body: Json) -> Json:
    got = await server.client.post(path, json=body)
    assert got.status_code == 200, (body, got.text)
    return got.json()


async def create_agent(server: Server, body: Json) -> Any:
    return without_names(await answer(server, "/v1/agents", body))


async def update_agent(server: Server, body: Json) -> Any:
    agent = await server.agent()
    return without_names(await answer(server, f"/v1/agents/{agent['id']}", body))


async def create_environment(server: Server, body: Json) -> Any:
    made = await answer(server, "/v1/environments", body)
    await server.client.post(f"/v1/environments/{made['id']}/archive")  # its name is free again
    return without_names(made)


async def update_environment(server: Server, body: Json) -> Any:
    made = await server.environment("before")
    after = await answer(server, f"/v1/environments/{made['id']}", body)
    await server.client.post(f"/v1/environments/{made['id']}/archive")
    return without_names(after)


async def create_session(server: Server, body: Json) -> Any:
    agent, environment = await server.agent(), await server.environment(f"e{next(_numbers)}")
    body = body | {"environment_id": environment["id"], "agent": {**body["agent"], "id": agent["id"]}}
    made = await answer(server, "/v1/sessions", body)
    stored = await server.store.log.load(made["id"])
    return without_names(made), [event.body for event in stored.queued]


async def update_session(server: Server, body: Json) -> Any:
    made = await server.session()
    return without_names(await answer(server, f"/v1/sessions/{made['id']}", body))


async def create_deployment(server: Server, body: Json) -> Any:
    agent, environment = await server.agent(), await server.environment(f"e{next(_numbers)}")
    body = body | {"environment_id": environment["id"], "agent": agent["id"]}
    return without_names(await answer(server, "/v1/deployments", body))


async def update_deployment(server: Server, body: Json) -> Any:
    agent, environment = await server.agent(), await server.environment(f"e{next(_numbers)}")
    before = {"name": "before", "environment_id": environment["id"], "agent": agent["id"], "initial_events": [MESSAGE]}
    made = await answer(server, "/v1/deployments", before)
    return without_names(await answer(server, f"/v1/deployments/{made['id']}", body))


async def send_events(server: Server, body: Json) -> Any:
    made = await server.session()
    await answer(server, f"/v1/sessions/{made['id']}/events", body)
    return [without_names(event) for event in server.host.sent[-1][1]]


OVERRIDES: Json = {
    "type": "agent_with_overrides",
    "model": AGENT["model"],
    "system": "other",
    "mcp_servers": SERVERS,
    "tools": AGENT["tools"],
}
BUDGET: Json = {"type": "limit", "max_list_cost": {"amount": "2500", "currency": "USD"}}
DEPLOYMENT: Json = {
    "name": "n",
    "description": "d",
    "metadata": {"k": "v"},
    "initial_events": [MESSAGE, OUTCOME],
    "budget": BUDGET,
    "schedule": {"type": "cron", "expression": "0 9 * * *", "timezone": "Europe/Oslo"},
}
SAMPLES: list[tuple[str, type, Send, Json]] = [
    ("an agent", AgentCreateParams, create_agent, AGENT),
    ("domains the other way round", AgentCreateParams, create_agent, AGENT | {"tools": [OTHER_DOMAINS, *MORE_TOOLS]}),
    *(
        (f"effort {each['type']}", AgentCreateParams, create_agent, AGENT | {"model": {"id": "m", "effort": each}})
        for each in EFFORTS
    ),
    ("an agent's change", AgentUpdateParams, update_agent, AGENT),
    ("an environment", EnvironmentCreateParams, create_environment, ENVIRONMENT),
    ("packages", EnvironmentCreateParams, create_environment, ENVIRONMENT | {"config": WITH_PACKAGES}),
    ("an environment's change", EnvironmentUpdateParams, update_environment, ENVIRONMENT),
    ("other packages", EnvironmentUpdateParams, update_environment, ENVIRONMENT | {"config": WITH_PACKAGES}),
    (
        "a session",
        SessionCreateParams,
        create_session,
        {"title": "t", "metadata": {"k": "v"}, "initial_events": [MESSAGE], "agent": OVERRIDES, "budget": BUDGET},
    ),
    (
        "a session's change",
        SessionUpdateParams,
        update_session,
        {
            "title": "t",
            "metadata": {"k": "v"},
            "agent": {"mcp_servers": SERVERS, "tools": AGENT["tools"]},
            "budget": BUDGET,
        },
    ),
    ("a deployment", DeploymentCreateParams, create_deployment, DEPLOYMENT),
    ("a deployment's change", DeploymentUpdateParams, update_deployment, DEPLOYMENT),
    ("events", EventSendParams, send_events, EVENTS),
]  # fmt: skip


@pytest.mark.parametrize(("name", "send", "body"), [(n, *rest) for n, _, *rest in SAMPLES], ids=[s[0] for s in SAMPLES])
async def test_whatever_a_client_changes_in_a_body_changes_what_is_stored(
    server: Server, name: str, send: Send, body: Json
) -> None:
    before = orjson.dumps(await send(server, body), option=orjson.OPT_SORT_KEYS)
    ignored = {
        (name, path)
        for path in leaves(body)
        if changeable(body, path)
        and orjson.dumps(await send(server, changed(body, path)), option=orjson.OPT_SORT_KEYS) == before
    }
    assert ignored == {each for each in IGNORED if each[0] == name}


SKILL: Json = {"type": "anthropic", "skill_id": "xlsx"}
SESSION: Json = {"agent": "agent_1", "environment_id": "env_1"}
UNAVAILABLE: list[tuple[str, Json]] = [
    ("/v1/agents", {"name": "a", "model": "m", "skills": [SKILL]}),
    ("/v1/agents", {"name": "a", "model": "m", "multiagent": {"type": "multiagent_20261001"}}),
    (
        "/v1/agents",
        {"name": "a", "model": "m", "execution_identity": {"type": "aws_role", "role_arn": "arn:aws:iam::1:role/r"}},
    ),
    ("/v1/sessions", {**SESSION, "agent": {"type": "agent_with_overrides", "id": "agent_1", "skills": [SKILL]}}),
]  # fmt: skip


@pytest.mark.parametrize(("path", "body"), UNAVAILABLE)
async def test_what_this_release_does_not_have_is_refused_by_name_and_not_forgotten(
    server: Server, path: str, body: Json
) -> None:
    agent, environment = await server.agent(), await server.environment()
    given = orjson.dumps(body).replace(b"agent_1", agent["id"].encode()).replace(b"env_1", environment["id"].encode())
    path = path.replace("sesn_1", (await server.session(agent=agent["id"], environment_id=environment["id"]))["id"])
    got = await server.client.post(path, content=given, headers={"content-type": "application/json"})
    assert got.status_code == 400 and got.json()["error"]["details"]["error_code"] == "not_available", got.text


def objects(value: Any) -> Iterator[Json]:
    if isinstance(value, dict):
        yield value
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from objects(inner)


def fits(sample: Json, hints: dict[str, Any]) -> bool:
    """Whether an object of a sample may be one of this type: its keys are known, its literals are right."""
    literals = {name: get_args(hint) for name, hint in hints.items() if get_origin(hint) is Literal}
    return sample.keys() <= hints.keys() and all(
        sample[name] in literals[name] for name in literals.keys() & sample.keys()
    )


# Told apart by hand: fields that a sample cannot have beside the others, and types that are tried by other means.
ELSEWHERE = {
    "BetaManagedAgentsAgentParams": "test_api_sessions: the three forms of agent",
    "BetaManagedAgentsFileDocumentSourceParam": "test_api_events: which files blocks may have",
    "BetaManagedAgentsFileImageSourceParam": "test_api_events: which files blocks may have",
    "BetaManagedAgentsFileResourceParams": "test_api_files: where it is mounted, and what is refused",
    "BetaManagedAgentsFileRubricParams": "test_api_rubrics: read when the outcome is defined",
    "BetaManagedAgentsRedactedBlockParam": "refused: only the server writes it",
    "BetaUnrestrictedNetworkParam": "the default",
    "BetaSelfHostedConfigParams": "test_catalog_environment_config: nothing but its type",
}
NAMES = {"environment_id", "agent", "id", "version", "vault_ids"}
REFUSED = {"skills", "multiagent", "resources"}


@pytest.mark.parametrize("body", [*dict.fromkeys(each[1] for each in SAMPLES)], ids=lambda body: body.__name__)
def test_the_samples_have_every_field_of_every_type(body: type) -> None:
    whole = [sample for _, kind, _, sample in SAMPLES if kind is body]
    parts = [each for sample in (*(s[3] for s in SAMPLES), *(s[1] for s in UNAVAILABLE)) for each in objects(sample)]
    missing: set[str] = set()
    for params in nested(body):
        if refused(params.__name__) or params.__name__ in ELSEWHERE:
            continue
        hints = get_type_hints(params)
        there = {name for each in (whole if params is body else parts) if fits(each, hints) for name in each}
        missing |= {f"{params.__name__}.{name}" for name in hints.keys() - there - HEADER_FIELDS - NAMES - REFUSED}
    assert missing == set()
