"""Prefixed, time-ordered identifiers.

Ids sort by creation time so that a listing by id is a listing by age. The layout is a ULID
(48 bits of milliseconds, 80 random bits, Crockford base32) behind the API's own prefixes
(spec section 0). Within one process ids are strictly increasing even inside a millisecond.
"""

from __future__ import annotations

import os
import threading
import time
from hashlib import blake2b
from typing import NewType

AgentId = NewType("AgentId", str)
EnvironmentId = NewType("EnvironmentId", str)
SessionId = NewType("SessionId", str)
VaultId = NewType("VaultId", str)
CredentialId = NewType("CredentialId", str)
ThreadId = NewType("ThreadId", str)
EventId = NewType("EventId", str)

_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_RANDOM_BITS = 80
_lock = threading.Lock()
_last = 0


def _next_value() -> int:
    global _last
    fresh = (time.time_ns() // 1_000_000) << _RANDOM_BITS | int.from_bytes(os.urandom(10), "big")
    with _lock:
        _last = fresh if fresh > _last else _last + 1
        return _last


def new_id(prefix: str) -> str:
    """Return a fresh id such as ``sevt_01JD...``; *prefix* comes without the underscore."""
    return _named(prefix, _next_value())


def derived_id(prefix: str, *parts: str) -> str:
    """Return the id that follows from *parts*: the same whenever something is made again. It tells no time."""
    return _named(prefix, int.from_bytes(blake2b("\0".join(parts).encode(), digest_size=16).digest(), "big"))


def _named(prefix: str, value: int) -> str:
    digits = [_ALPHABET[(value >> shift) & 31] for shift in range(125, -1, -5)]
    return f"{prefix}_{''.join(digits)}"


def new_agent_id() -> AgentId:
    return AgentId(new_id("agent"))


def new_environment_id() -> EnvironmentId:
    return EnvironmentId(new_id("env"))


def new_session_id() -> SessionId:
    return SessionId(new_id("sesn"))


def new_vault_id() -> VaultId:
    return VaultId(new_id("vlt"))


def new_credential_id() -> CredentialId:
    return CredentialId(new_id("vcrd"))


def new_memory_store_id() -> str:
    return new_id("memstore")


def new_memory_id() -> str:
    return new_id("mem")


def new_memory_version_id() -> str:
    return new_id("memver")


def new_thread_id() -> ThreadId:
    return ThreadId(new_id("sthr"))


def new_event_id() -> EventId:
    return EventId(new_id("sevt"))


def new_outcome_id() -> str:
    return new_id("outc")


def new_request_id() -> str:
    return new_id("req")
