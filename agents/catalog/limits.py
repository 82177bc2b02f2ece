"""Numeric limits of the catalog, each with its source, and the checks that word a breach."""

from __future__ import annotations

from collections.abc import Sequence

from agents.errors import InvalidRequest

NAME_CHARS = 256  # agents; spec A.1 and the hosted service's field text
SYSTEM_CHARS = 100_000  # spec A.1
MODEL_ID_CHARS = 256  # ours: long enough for any provider's path-like id
TOOLS = 256  # over all toolsets, spec H-17
MCP_SERVERS = 20  # spec A.12
MCP_SERVER_NAME_CHARS = 255  # spec C.4
MCP_URL_CHARS = 2048  # spec C.4
TOOL_NAME_CHARS = 128  # spec C.3, and the SDK's field text of MCP tool configs
DOMAINS = 64  # spec A.12
DOMAIN_CHARS = 255  # spec A.12
METADATA_PAIRS = 16  # spec section 0
METADATA_KEY_CHARS = 64  # spec section 0
METADATA_VALUE_CHARS = 512  # spec section 0
ALLOWED_HOSTS = 256  # ours: an allow-list that a person can still read
PACKAGES = 200  # ours: of one manager
PACKAGE_CHARS = 300  # ours: room for a name with a URL behind it
INITIAL_EVENTS = 50  # spec A.4
EVENTS_PER_SEND = 100  # ours: one answer per call of a large parallel turn, and far below the queue's bound
OUTCOME_DESCRIPTION_CHARS = 32_768  # ours: the session's row keeps it
OUTCOME_DEFAULT_ITERATIONS = 3  # spec A.12
OUTCOME_ITERATIONS = 20  # spec A.12
RUBRIC_CHARS = 262_144  # spec A.12
RESOURCES = 1000  # ours: the longest page of them (spec A.7); each kind has its own, lower limit
SKILLS = 500  # of a session, all its agents together: spec A.12


def check_length(where: str, text: str, longest: int, *, shortest: int = 0) -> None:
    """Raise InvalidRequest unless *text* has between *shortest* and *longest* characters."""
    if not shortest <= len(text) <= longest:
        wanted = f"{shortest} to {longest}" if shortest else f"at most {longest}"
        raise InvalidRequest(f"{where}: must have {wanted} characters, not {len(text)}")


def check_count(where: str, items: Sequence[object], most: int) -> None:
    """Raise InvalidRequest when *items* are more than *most*."""
    if len(items) > most:
        raise InvalidRequest(f"{where}: at most {most} entries are allowed, not {len(items)}")


def not_available(where: str, what: str) -> InvalidRequest:
    """Word the refusal of a part of the API that this server does not have yet: never ignored in silence."""
    return InvalidRequest(f"{where}: {what} not available on this server yet", error_code="not_available")
