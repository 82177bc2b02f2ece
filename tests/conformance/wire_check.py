"""Every answer is held to the SDK's own models, strictly, on the raw JSON.

The SDK parses leniently: a missing field reads as None, an unknown union member becomes some other class.
So nothing here goes through it: bodies are validated by pydantic in strict mode, keys that no model knows
are faults, and resources must carry all keys of their model, nulls explicit. The clients of the suite call
:func:`check_answer` on every response, so each test checks the shape of all it touches.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

import orjson
from anthropic.types.beta import (
    BetaDeletedFile,
    BetaDeletedSkill,
    BetaEnvironment,
    BetaEnvironmentDeleteResponse,
    BetaFileMetadata,
    BetaManagedAgentsAgent,
    BetaManagedAgentsDeletedMemoryStore,
    BetaManagedAgentsDeletedSession,
    BetaManagedAgentsDeletedVault,
    BetaManagedAgentsDeployment,
    BetaManagedAgentsDeploymentRun,
    BetaManagedAgentsMemoryStore,
    BetaManagedAgentsSession,
    BetaManagedAgentsVault,
    BetaMessage,
    BetaMessageTokensCount,
    BetaModelInfo,
    BetaSkill,
)
from anthropic.types.beta.environments import (
    BetaSelfHostedWork,
    BetaSelfHostedWorkHeartbeatResponse,
    BetaSelfHostedWorkQueueStats,
)
from anthropic.types.beta.memory_stores import (
    BetaManagedAgentsDeletedMemory,
    BetaManagedAgentsMemory,
    BetaManagedAgentsMemoryListItem,
    BetaManagedAgentsMemoryVersion,
)
from anthropic.types.beta.sessions import (
    BetaManagedAgentsDeleteSessionResource,
    BetaManagedAgentsFileResource,
    BetaManagedAgentsSendSessionEvents,
    BetaManagedAgentsSessionEvent,
    BetaManagedAgentsSessionResource,
    BetaManagedAgentsSessionThread,
    BetaManagedAgentsStreamSessionEvents,
)
from anthropic.types.beta.skills import BetaDeletedSkillVersion, BetaSkillVersion
from anthropic.types.beta.vaults import (
    BetaManagedAgentsCredential,
    BetaManagedAgentsCredentialValidation,
    BetaManagedAgentsDeletedCredential,
)
from pydantic import BaseModel, TypeAdapter

ERROR_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    405: "invalid_request_error",
    409: "conflict_error",
    412: "invalid_request_error",
    413: "request_too_large",
    416: "invalid_request_error",
    429: "rate_limit_error",
    500: "api_error",
    503: "api_error",
    529: "overloaded_error",
}
"""Spec E.1: the word for each status."""
_FINER = {(409, "memory_path_conflict_error"), (409, "memory_precondition_failed_error")}
_BESIDE = {"memory_path_conflict_error": {"conflicting_memory_id", "conflicting_path"}}
"""What errors of a type have beside their message (spec A.9)."""
_PAGE = ("data", "next_page")
_BOTH_WAYS = ("data", "next_page", "prev_page")
_BY_ID = ("data", "first_id", "has_more", "last_id")
_AS_MADE = ("/events", "/v1/messages", "/count_tokens")
"""Answers whose optional keys may be left out: events, and what a model server says."""
_ONE: dict[str, Any] = {
    "POST /v1/agents": BetaManagedAgentsAgent,
    "GET /v1/agents/ID": BetaManagedAgentsAgent,
    "POST /v1/agents/ID": BetaManagedAgentsAgent,
    "POST /v1/agents/ID/archive": BetaManagedAgentsAgent,
    "POST /v1/environments": BetaEnvironment,
    "GET /v1/environments/ID": BetaEnvironment,
    "POST /v1/environments/ID": BetaEnvironment,
    "POST /v1/environments/ID/archive": BetaEnvironment,
    "DELETE /v1/environments/ID": BetaEnvironmentDeleteResponse,
    "POST /v1/sessions": BetaManagedAgentsSession,
    "GET /v1/sessions/ID": BetaManagedAgentsSession,
    "POST /v1/sessions/ID": BetaManagedAgentsSession,
    "POST /v1/sessions/ID/archive": BetaManagedAgentsSession,
    "DELETE /v1/sessions/ID": BetaManagedAgentsDeletedSession,
    "POST /v1/sessions/ID/events": BetaManagedAgentsSendSessionEvents,
    "GET /v1/sessions/ID/threads/ID": BetaManagedAgentsSessionThread,
    "POST /v1/sessions/ID/threads/ID/archive": BetaManagedAgentsSessionThread,
    "POST /v1/sessions/ID/resources": BetaManagedAgentsFileResource,
    "GET /v1/sessions/ID/resources/ID": BetaManagedAgentsSessionResource,
    "POST /v1/sessions/ID/resources/ID": BetaManagedAgentsSessionResource,
    "DELETE /v1/sessions/ID/resources/ID": BetaManagedAgentsDeleteSessionResource,
    "POST /v1/vaults": BetaManagedAgentsVault,
    "GET /v1/vaults/ID": BetaManagedAgentsVault,
    "POST /v1/vaults/ID": BetaManagedAgentsVault,
    "POST /v1/vaults/ID/archive": BetaManagedAgentsVault,
    "DELETE /v1/vaults/ID": BetaManagedAgentsDeletedVault,
    "POST /v1/vaults/ID/credentials": BetaManagedAgentsCredential,
    "GET /v1/vaults/ID/credentials/ID": BetaManagedAgentsCredential,
    "POST /v1/vaults/ID/credentials/ID": BetaManagedAgentsCredential,
    "POST /v1/vaults/ID/credentials/ID/archive": BetaManagedAgentsCredential,
    "DELETE /v1/vaults/ID/credentials/ID": BetaManagedAgentsDeletedCredential,
    "POST /v1/vaults/ID/credentials/ID/mcp_oauth_validate": BetaManagedAgentsCredentialValidation,
    "POST /v1/memory_stores": BetaManagedAgentsMemoryStore,
    "GET /v1/memory_stores/ID": BetaManagedAgentsMemoryStore,
    "POST /v1/memory_stores/ID": BetaManagedAgentsMemoryStore,
    "POST /v1/memory_stores/ID/archive": BetaManagedAgentsMemoryStore,
    "DELETE /v1/memory_stores/ID": BetaManagedAgentsDeletedMemoryStore,
    "POST /v1/memory_stores/ID/memories": BetaManagedAgentsMemory,
    "GET /v1/memory_stores/ID/memories/ID": BetaManagedAgentsMemory,
    "POST /v1/memory_stores/ID/memories/ID": BetaManagedAgentsMemory,
    "DELETE /v1/memory_stores/ID/memories/ID": BetaManagedAgentsDeletedMemory,
    "GET /v1/memory_stores/ID/memory_versions/ID": BetaManagedAgentsMemoryVersion,
    "POST /v1/memory_stores/ID/memory_versions/ID/redact": BetaManagedAgentsMemoryVersion,
    "POST /v1/deployments": BetaManagedAgentsDeployment,
    "GET /v1/deployments/ID": BetaManagedAgentsDeployment,
    "POST /v1/deployments/ID": BetaManagedAgentsDeployment,
    "POST /v1/deployments/ID/archive": BetaManagedAgentsDeployment,
    "POST /v1/deployments/ID/pause": BetaManagedAgentsDeployment,
    "POST /v1/deployments/ID/unpause": BetaManagedAgentsDeployment,
    "POST /v1/deployments/ID/run": BetaManagedAgentsDeploymentRun,
    "GET /v1/deployment_runs/ID": BetaManagedAgentsDeploymentRun,
    "POST /v1/files": BetaFileMetadata,
    "GET /v1/files/ID": BetaFileMetadata,
    "DELETE /v1/files/ID": BetaDeletedFile,
    "POST /v1/skills": BetaSkill,
    "GET /v1/skills/ID": BetaSkill,
    "DELETE /v1/skills/ID": BetaDeletedSkill,
    "POST /v1/skills/ID/versions": BetaSkillVersion,
    "GET /v1/skills/ID/versions/ID": BetaSkillVersion,
    "GET /v1/skills/ID/versions/latest": BetaSkillVersion,
    "DELETE /v1/skills/ID/versions/ID": BetaDeletedSkillVersion,
    "POST /v1/messages": BetaMessage,
    "POST /v1/messages/count_tokens": BetaMessageTokensCount,
    "GET /v1/models/ID": BetaModelInfo,
    "GET /v1/environments/ID/work/poll": BetaSelfHostedWork | None,
    "GET /v1/environments/ID/work/stats": BetaSelfHostedWorkQueueStats,
    "GET /v1/environments/ID/work/ID": BetaSelfHostedWork,
    "POST /v1/environments/ID/work/ID": BetaSelfHostedWork,
    "POST /v1/environments/ID/work/ID/ack": BetaSelfHostedWork,
    "POST /v1/environments/ID/work/ID/stop": BetaSelfHostedWork,
    "POST /v1/environments/ID/work/ID/heartbeat": BetaSelfHostedWorkHeartbeatResponse,
}
_MANY: dict[str, tuple[Any, tuple[str, ...]]] = {
    "GET /v1/agents": (BetaManagedAgentsAgent, _PAGE),
    "GET /v1/agents/ID/versions": (BetaManagedAgentsAgent, _PAGE),
    "GET /v1/environments": (BetaEnvironment, _PAGE),
    "GET /v1/sessions": (BetaManagedAgentsSession, _BOTH_WAYS),
    "GET /v1/sessions/ID/events": (BetaManagedAgentsSessionEvent, _PAGE),
    "GET /v1/sessions/ID/threads": (BetaManagedAgentsSessionThread, _PAGE),
    "GET /v1/sessions/ID/threads/ID/events": (BetaManagedAgentsSessionEvent, _PAGE),
    "GET /v1/sessions/ID/resources": (BetaManagedAgentsSessionResource, _PAGE),
    "GET /v1/vaults": (BetaManagedAgentsVault, _PAGE),
    "GET /v1/vaults/ID/credentials": (BetaManagedAgentsCredential, _PAGE),
    "GET /v1/memory_stores": (BetaManagedAgentsMemoryStore, _PAGE),
    "GET /v1/memory_stores/ID/memories": (BetaManagedAgentsMemoryListItem, _PAGE),
    "GET /v1/memory_stores/ID/memory_versions": (BetaManagedAgentsMemoryVersion, _PAGE),
    "GET /v1/deployments": (BetaManagedAgentsDeployment, _PAGE),
    "GET /v1/deployment_runs": (BetaManagedAgentsDeploymentRun, _PAGE),
    "GET /v1/files": (BetaFileMetadata, _PAGE),
    "GET /v1/skills": (BetaSkill, _PAGE),
    "GET /v1/skills/ID/versions": (BetaSkillVersion, _PAGE),
    "GET /v1/models": (BetaModelInfo, _BY_ID),
    "GET /v1/environments/ID/work": (BetaSelfHostedWork, _PAGE),
}
_BEYOND_THE_SDK = re.compile(r"\w+ (/-/.+|/openapi\.json|/v1/environments/ID/keys(/ID)?)")
"""Answers that the SDK has no models of, as they are no part of the API."""
_KINDS = "agent|env|envkey|file|sesn|sesrsc|sthr|work|vlt|vcrd|memstore|memver|mem|depl|drun|skill|skillver"
_ID = re.compile(rf"/({_KINDS})_[^/]+|(?<=/v1/models)/.+")
# Fields that a resource may leave out: they belong to parts of the API that are always absent here, or to
# another member of the union (a limited network's hosts, an MCP toolset's server), or the SDK says so.
_MAY_BE_ABSENT = {
    "BetaManagedAgentsSessionAgent": {"multiagent"},
    "BetaManagedAgentsDeployment": {"budget"},
}
# Fields that go beyond the API (docs/brains.md).
_OURS = {"BetaManagedAgentsSpanModelRequestEndEvent": {"brain"}, "BetaModelInfo": {"brain"}}


@cache
def _adapter(model: Any) -> TypeAdapter[Any]:
    return TypeAdapter(model)


def _models(value: Any, path: str) -> Iterator[tuple[str, BaseModel]]:
    if isinstance(value, BaseModel):
        yield path, value
        for name in type(value).model_fields:
            yield from _models(getattr(value, name), f"{path}.{name}")
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            yield from _models(item, f"{path}[{index}]")
    elif isinstance(value, dict):
        for name, item in value.items():
            yield from _models(item, f"{path}.{name}")


def conforms(model: Any, payload: Any, *, complete: bool) -> None:
    """Raise AssertionError unless *payload* is exactly a *model*; *complete* wants every key present."""
    raw = payload if isinstance(payload, bytes) else orjson.dumps(payload)
    # By JSON, so that strict mode still reads times from their text.
    parsed = _adapter(model).validate_json(raw, strict=True)
    faults: list[str] = []
    for path, part in _models(parsed, "$"):
        name = type(part).__name__
        # A tool's JSON schema is the client's own and may have any keyword.
        unknown = set(part.model_extra or ()) - _OURS.get(name, set())
        if unknown and not name.endswith("InputSchema"):
            faults.append(f"{path}: unknown keys {sorted(unknown)}")
        missing = set(type(part).model_fields) - part.model_fields_set - _MAY_BE_ABSENT.get(name, set())
        if complete and missing and not name.endswith("InputSchema"):
            faults.append(f"{path}: missing keys {sorted(missing)}")
    assert not faults, f"{faults} in {raw[:2000]!r}"


def check_event(event: Mapping[str, Any]) -> None:
    """Hold one event, of a stream or a list, to the SDK's union."""
    conforms(BetaManagedAgentsStreamSessionEvents, dict(event), complete=False)


def check_answer(method: str, path: str, status: int, headers: Mapping[str, str], body: bytes) -> None:
    """Hold one whole answer to the API: request id, envelope or resource."""
    assert headers["request-id"].startswith("req_"), headers
    if status < 400 and path.endswith("/content"):
        assert headers["content-length"] == str(len(body)), headers  # a file's own bytes, of its own type
        return
    assert headers["content-type"].startswith("application/json"), headers
    if status >= 400:
        _check_error(status, headers, orjson.loads(body))
        return
    where = path[path.index("/v1") :] if "/v1" in path else path
    key = f"{method} {_ID.sub('/ID', where)}"
    if key in _ONE:
        conforms(_ONE[key], body, complete=not key.endswith(_AS_MADE))
    elif key in _MANY:
        model, keys = _MANY[key]
        page = orjson.loads(body)
        assert set(page) == set(keys), page.keys()
        for item in page["data"]:
            conforms(model, item, complete=not key.endswith(_AS_MADE))
    else:
        assert _BEYOND_THE_SDK.fullmatch(key), f"{key}: no model to hold it to"


def _check_error(status: int, headers: Mapping[str, str], body: dict[str, Any]) -> None:
    assert set(body) == {"type", "error", "request_id"}, body
    assert body["type"] == "error"
    assert body["request_id"] == headers["request-id"]
    error = body["error"]
    beside = _BESIDE.get(error["type"], set())
    assert {"type", "message"} <= set(error) <= {"type", "message", "details"} | beside, body
    assert error["type"] == ERROR_TYPES[status] or (status, error["type"]) in _FINER, (status, body)
    assert error["message"] and isinstance(error["message"], str)
    if status == 409:
        assert headers["x-should-retry"] == "false", dict(headers)
    if status in (429, 503, 529):
        assert int(headers["retry-after"]) >= 1, dict(headers)
