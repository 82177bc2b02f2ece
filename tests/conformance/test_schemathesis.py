"""Generated requests over ``/openapi.json``: the server never answers 5xx, and nothing that is not described.

The platform in memory runs behind a socket. Examples are bounded and derandomised, so that a failure comes back.
"""

from __future__ import annotations

import asyncio
import itertools
import threading
from collections.abc import Iterator
from typing import Any, cast

import httpx
import pytest
import schemathesis
import uvicorn
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode

from agents.config import Settings
from tests.conformance.described import check_as_described
from tests.conformance.memory_platform import memory_platform

EXAMPLES = 20
FEW = 5
"""For requests that have neither body nor parameters beside their path."""
LARGE = frozenset({"createMessage", "countTokens"})
"""Operations with so large a schema that mutating it takes long: fewer examples of bad requests do."""
FITTING = {name: {"model": "claude-opus-5-5", "max_tokens": 16} for name in LARGE}
FITTING |= {"createMemory": {"path": "/b"}, "updateMemory": {"path": "/c"}}
"""What no schema tells: the names of models, how much each of them writes, and what a path is."""
STREAMS = frozenset({"streamEvents", "streamThread"})
MOUNTED = frozenset({"addResource", "listResources", "getResource", "updateResource"})
DEADLINE = 10.0
KEY = {"x-api-key": "operator"}


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    loop = asyncio.new_event_loop()
    started, address = threading.Event(), list[str]()

    async def serve() -> None:
        made = Settings(proxy="direct", data_dir=tmp_path_factory.mktemp("schema"), api_key="operator")
        platform = await memory_platform(made)
        server = uvicorn.Server(uvicorn.Config(platform.app, port=0, log_level="warning", lifespan="off"))
        serving = asyncio.create_task(server.serve())
        while not server.started:
            await asyncio.sleep(0.01)
        address.append(f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}")
        started.set()
        await stopping.wait()
        server.should_exit = server.force_exit = True
        await serving
        await platform.harness.stop()

    stopping = asyncio.Event()
    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()), daemon=True)
    thread.start()
    assert started.wait(DEADLINE)
    yield address[0]
    loop.call_soon_threadsafe(stopping.set)
    thread.join(30)


@pytest.fixture(scope="module")
def known(url: str) -> dict[str, str]:
    """Ids of things that exist, so that generated requests get past the look-up."""
    with httpx.Client(base_url=url, timeout=DEADLINE, headers=KEY) as client:
        agent = client.post("/v1/agents", json={"model": "m", "name": "a"}).json()["id"]
        elsewhere = {"name": "e", "config": {"type": "self_hosted"}}
        environment = client.post("/v1/environments", json=elsewhere).json()["id"]
        key = client.post(f"/v1/environments/{environment}/keys").json()["id"]
        body = {"agent": agent, "environment_id": environment}
        session = client.post("/v1/sessions", json=body).json()["id"]
        ended = client.post("/v1/sessions", json=body).json()["id"]
        client.post(f"/v1/sessions/{ended}/archive").raise_for_status()
        opener = client.post("/-/keys", json={"name": "n", "scope": "read-only"}).json()["id"]
        hook = client.post("/-/webhooks", json={"url": "https://hooks.example.com/x"}).json()["id"]
        vault = client.post("/v1/vaults", json={"display_name": "v"}).json()["id"]
        # Nobody connects there: the guard is before it.
        auth = {"type": "mcp_oauth", "mcp_server_url": "http://127.0.0.1/mcp", "access_token": "t"}
        credential = client.post(f"/v1/vaults/{vault}/credentials", json={"auth": auth}).json()["id"]
        file = client.post("/v1/files", files={"file": ("notes.txt", b"x")}).json()["id"]
        cloud = client.post("/v1/environments", json={"name": "c"}).json()["id"]
        # Workers mount memory stores only; a file is mounted in a cloud sandbox.
        resources = [{"type": "file", "file_id": file}]
        mounted = client.post("/v1/sessions", json={**body, "environment_id": cloud, "resources": resources}).json()
        skill_md = b"---\nname: reports\ndescription: Writes.\n---\n"
        skill = client.post("/v1/skills", files={"files[]": ("reports/SKILL.md", skill_md)}).json()["id"]
        memories = client.post("/v1/memory_stores", json={"name": "m"}).json()["id"]
        memory = client.post(f"/v1/memory_stores/{memories}/memories", json={"path": "/a", "content": "b"}).json()
        work = client.get(f"/v1/environments/{environment}/work").json()["data"][0]["id"]
        started = {"initial_events": [{"type": "user.message", "content": [{"type": "text", "text": "hi"}]}]}
        deployment = client.post("/v1/deployments", json={"name": "d", **body, **started}).json()["id"]
        run = client.post(f"/v1/deployments/{deployment}/run").json()["id"]
        threads = [client.get(f"/v1/sessions/{each}/threads").json()["data"][0]["id"] for each in (session, ended)]
    return {
        "agent_id": agent,
        "environment_id": environment,
        "session_id": session,
        "key_id": key,
        "api_key_id": opener,
        "webhook_id": hook,
        "work_id": work,
        "vault_id": vault,
        "credential_id": credential,
        "deployment_id": deployment,
        "file_id": file,
        "mounted_session_id": mounted["id"],
        "resource_id": mounted["resources"][0]["id"],
        "skill_id": skill,
        "version": "latest",
        "memory_store_id": memories,
        "memory_id": memory["id"],
        "memory_version_id": memory["memory_version_id"],
        "deployment_run_id": run,
        "thread_id": threads[0],
        "ended_session_id": ended,
        "ended_thread_id": threads[1],
        "model_id": "claude-opus-5-5",
        "name": "default",  # of a brain, and of a hand
        "hand": "default@1",
    }


# Deleting or archiving what the other examples stand on would leave them nothing but 404.
_DESTRUCTIVE = frozenset({"deleteEnvironment", "deleteSession", "archiveAgent", "archiveEnvironment", "archiveSession"})
_DESTRUCTIVE |= {"deleteVault", "archiveVault", "deleteCredential", "archiveCredential", "removeHand"}
_DESTRUCTIVE |= {"revokeEnvironmentKey", "revokeApiKey", "deleteWebhook", "archiveDeployment"}
_DESTRUCTIVE |= {"deleteFile", "deleteResource", "deleteSkill", "deleteSkillVersion"}
_DESTRUCTIVE |= {"deleteMemory", "deleteMemoryStore", "archiveMemoryStore"}

_BRAINS = frozenset({"releaseBrain", "promoteBrain", "rollbackBrain"})
_HANDS = frozenset({"addHand", "removeHand", "releaseHand", "promoteHand", "rollbackHand"})
_STANDBY = frozenset({"getTopology", "setTopology"})
"""There is none here."""
NEEDS_MORE_THAN_A_SCHEMA = _DESTRUCTIVE | _BRAINS | _HANDS | _STANDBY | {"archiveThread", "createSession", "sendEvents"}
NEEDS_MORE_THAN_A_SCHEMA |= {
    "createApiKey",
    "createWebhook",
    "createDeployment",
    "createCredential",
    "pollWork",
    "ackWork",
    "heartbeatWork",
}
# Forms, and what refers to something else that there must be.
NEEDS_MORE_THAN_A_SCHEMA |= {"createSkill", "createSkillVersion", "downloadFile", "addResource", "updateResource"}
# A session under hold, or one whose event was redacted, is in the way of the other examples.
NEEDS_MORE_THAN_A_SCHEMA |= {"holdSession", "releaseSession", "redactEvent"}
"""Operations whose rules no schema tells: every example may rightly be refused."""


@pytest.fixture(scope="module")
def operations(url: str) -> dict[str, Any]:
    # The server makes the document when it is first asked for it: seconds of work.
    schema = schemathesis.openapi.from_url(f"{url}/openapi.json", timeout=6 * DEADLINE)
    found = [result.ok() for result in schema.get_all_operations()]
    return {operation.definition.raw["operationId"]: operation for operation in found}


def _targets(name: str, drawn: dict[str, Any] | None, known: dict[str, str]) -> list[dict[str, Any] | None]:
    """The ids as generated, and ids of what exists; streams only of a session that has ended, so that they end."""
    if not drawn or name in _DESTRUCTIVE:
        return [drawn]
    prefix = "ended_" if name in STREAMS else "mounted_" if name in MOUNTED else ""
    return [drawn, {each: known.get(prefix + each, known[each]) for each in drawn}]


def _bodies(name: str, drawn: Any) -> list[Any]:
    """The body as generated, and with the fields that it has in common with FITTING as they fit."""
    if name not in FITTING or not isinstance(drawn, dict):
        return [drawn]
    fitting = {key: value for key, value in FITTING[name].items() if key in drawn}
    return [drawn, {**cast("dict[str, Any]", drawn), **fitting}]


def _explore(name: str, operation: Any, mode: GenerationMode, known: dict[str, str], url: str) -> set[int]:
    """Send generated requests of one operation; returns the statuses seen."""
    statuses: set[int] = set()
    raw = operation.definition.raw
    bare = "requestBody" not in raw and all(each["in"] == "path" for each in raw["parameters"])
    fewer = bare or (mode is GenerationMode.NEGATIVE and name in LARGE)

    @settings(
        max_examples=FEW if fewer else EXAMPLES,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=mode))
    def send(case: Any) -> None:
        targets, bodies = _targets(name, case.path_parameters, known), _bodies(name, case.body)
        for case.path_parameters, case.body in itertools.product(targets, bodies):
            answer = case.call(base_url=url, timeout=DEADLINE, headers=KEY)
            seen = answer.status_code in statuses
            statuses.add(answer.status_code)
            assert answer.status_code < 500, f"{name}: {answer.status_code} {answer.text}"
            assert answer.headers["request-id"]
            if answer.status_code < 400 or not seen:  # refusals of one status are all alike
                check_as_described(case, answer)
            if answer.status_code >= 400:
                assert answer.json()["type"] == "error"

    send()
    return statuses


@pytest.mark.timeout(400)  # it makes thousands of requests, which a busy machine takes long for
@pytest.mark.parametrize("mode", list(GenerationMode), ids=lambda mode: mode.value)
def test_no_generated_request_is_answered_5xx(
    operations: dict[str, Any], known: dict[str, str], url: str, mode: GenerationMode
) -> None:
    seen: dict[str, set[int]] = {}
    for name, operation in operations.items():
        try:
            seen[name] = _explore(name, operation, mode, known, url)
        except Unsatisfiable:
            # An operation without parameters has no bad request.
            assert mode is GenerationMode.NEGATIVE
    if mode is GenerationMode.POSITIVE:
        # The requests get through: some example of every ordinary operation succeeds.
        assert {name for name, statuses in seen.items() if 200 not in statuses} <= NEEDS_MORE_THAN_A_SCHEMA
