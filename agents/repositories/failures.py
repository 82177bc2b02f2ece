"""Why a session has to do without a repository: the API's five errors (spec E.4)."""

from __future__ import annotations

from typing import Any, Literal

from agents.hands.port import MountProblem

Reason = Literal["authentication", "forbidden", "not_found", "checkout", "clone"]


class RepositoryFailed(Exception):
    """A repository could not be had. ``message`` is for the user, and has no secret in it."""

    def __init__(self, reason: Reason, url: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.url = url
        self.message = message

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.reason, self.url, self.message)

    def problem(self) -> MountProblem:
        """Return what the session's client is told by a ``session.error``: the session goes on without."""
        return MountProblem(f"repository_{self.reason}_error", self.message, {"repository_url": self.url})
