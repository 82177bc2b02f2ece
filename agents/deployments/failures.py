"""Why a run made no session, in the words of the API (spec A.11, run errors)."""

from __future__ import annotations

from typing import Any, Literal

from agents.errors import HecatonError, InvalidRequest, Overloaded, RateLimited

RunErrorType = Literal[
    "environment_archived_error",
    "agent_archived_error",
    "environment_not_found_error",
    "vault_not_found_error",
    "vault_archived_error",
    "file_not_found_error",
    "memory_store_archived_error",
    "skill_not_found_error",
    "session_resource_not_found_error",
    "session_rate_limited_error",
    "session_creation_rejected_error",
    "self_hosted_resources_unsupported_error",
    "unknown_error",
]
"""All that a run of this server can end with: here no workspace is archived, no organization disabled, and MCP servers
are called from outside of sandboxes, whose network policy blocks none of them."""

_PASSING: frozenset[RunErrorType] = frozenset({"session_rate_limited_error", "session_creation_rejected_error"})
"""What a schedule keeps firing after: no reason of a pause has these names (the SDK's own list)."""

_BY_CODE: dict[str, RunErrorType] = {
    "agent_archived": "agent_archived_error",
    "environment_archived": "environment_archived_error",
    "vault_archived": "vault_archived_error",
    "file_not_found": "file_not_found_error",
    "memory_store_archived": "memory_store_archived_error",
    "skill_not_found": "skill_not_found_error",
}


class RunFailed(Exception):
    """A session cannot be made. ``pauses``: the next fire would fail alike, until somebody changes something."""

    def __init__(self, type_: RunErrorType, message: str, *, pauses: bool | None = None) -> None:
        super().__init__(message)
        self.type: RunErrorType = type_
        self.message = message
        self.pauses = type_ not in _PASSING if pauses is None else pauses

    def wire(self) -> dict[str, Any]:
        """Return the ``error`` of the run."""
        return {"type": self.type, "message": self.message}

    def paused_reason(self) -> dict[str, Any]:
        """Return the ``paused_reason`` of the deployment."""
        return {"type": "error", "error": {"type": self.type}}


def failure_of(error: HecatonError) -> RunFailed:
    """Return what a run fails with when making its session raised *error*."""
    if isinstance(error, RateLimited | Overloaded):
        return RunFailed("session_rate_limited_error", error.message)
    by_code = _BY_CODE.get(error.error_code or "")
    if by_code is not None:
        return RunFailed(by_code, error.message)
    if isinstance(error, InvalidRequest) or not error.retriable:
        return RunFailed("session_creation_rejected_error", error.message)
    return RunFailed("unknown_error", error.message, pauses=False)
