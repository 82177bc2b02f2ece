"""The one error family of the domain, and how each member looks on the wire (spec section E.1)."""

from __future__ import annotations

from typing import Any, ClassVar


class HecatonError(Exception):
    """Base of every error that Hecaton raises on purpose.

    ``code`` is the API's ``error.type``, ``http_status`` its status; ``retriable`` tells a client
    whether the same request may succeed later. ``error_code`` is the finer ``error.details.error_code``.
    """

    code: ClassVar[str] = "api_error"
    http_status: ClassVar[int] = 500
    retriable: ClassVar[bool] = False
    beside_message: ClassVar[tuple[str, ...]] = ()
    """Names of ``details`` that the API has beside the message."""

    def __init__(
        self,
        message: str,
        *,
        error_code: str | None = None,
        details: dict[str, Any] | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.error_code = error_code
        self.details = details or {}
        self.retry_after = retry_after

    def __reduce__(self) -> tuple[Any, ...]:
        # Errors cross process borders (Ray); keyword arguments are lost by the default reduction.
        return (_rebuild, (type(self), self.message, self.error_code, self.details, self.retry_after))


def _rebuild(
    kind: type[HecatonError],
    message: str,
    error_code: str | None,
    details: dict[str, Any],
    retry_after: float | None,
) -> HecatonError:
    return kind(message, error_code=error_code, details=details, retry_after=retry_after)


class InvalidRequest(HecatonError):
    """The request breaks a rule of the API; the message names the field and what would be right."""

    code = "invalid_request_error"
    http_status = 400


class AuthenticationFailed(HecatonError):
    code = "authentication_error"
    http_status = 401


class PermissionDenied(HecatonError):
    code = "permission_error"
    http_status = 403


class NotFound(HecatonError):
    code = "not_found_error"
    http_status = 404


class Conflict(HecatonError):
    """A semantic conflict: sending the same request again cannot help (``x-should-retry: false``)."""

    code = "conflict_error"
    http_status = 409


class MemoryPathConflict(Conflict):
    """Another memory has the path, or is where it would need a directory, or the other way round."""

    code = "memory_path_conflict_error"
    beside_message = ("conflicting_memory_id", "conflicting_path")


class MemoryPreconditionFailed(Conflict):
    """A memory's content is not the one that the caller saw."""

    code = "memory_precondition_failed_error"


class PayloadTooLarge(HecatonError):
    code = "request_too_large"
    http_status = 413


class RateLimited(HecatonError):
    code = "rate_limit_error"
    http_status = 429
    retriable = True


class Unavailable(HecatonError):
    """A part of the platform does not answer just now; nothing was written."""

    code = "api_error"
    http_status = 503
    retriable = True


class Overloaded(HecatonError):
    """A bounded queue is full; nothing was written."""

    code = "overloaded_error"
    http_status = 529
    retriable = True


class Fenced(HecatonError):
    """The writer no longer owns the session's partition: its epoch is stale, and it must stop."""

    retriable = True


class LogConflict(HecatonError):
    """The log moved under the writer: its expected sequence number is not the stored one."""

    retriable = True
