"""What workers show to be let in: environment keys, and the sessions token inside a claimed item's secret (spec D.1).

Both are random and long, so a plain digest of them is safe at rest: nothing shorter than guessing all of it finds one.
They are told apart, and from API keys, by how they begin; a token names its item, so that it is looked up by it.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import secrets

import orjson

_RANDOM_BYTES = 32
_KEY = re.compile(r"sk-ant-oat01-hcenv-[A-Za-z0-9_-]{43}")
_TOKEN = re.compile(r"sk-ant-oat01-hcwork-(work_[0-9A-Z]{26})\.[A-Za-z0-9_-]{43}")
_PREFIXES = ("sk-ant-oat01-hcenv-", "sk-ant-oat01-hcwork-")


def new_environment_key() -> str:
    """Return a key for a worker host; it is shown once and only its digest is kept."""
    return f"sk-ant-oat01-hcenv-{secrets.token_urlsafe(_RANDOM_BYTES)}"


def new_sessions_token(work_id: str) -> str:
    """Return the token of one claim of an item: it dies with the claim's lease."""
    return f"sk-ant-oat01-hcwork-{work_id}.{secrets.token_urlsafe(_RANDOM_BYTES)}"


def secret_of(token: str) -> str:
    """Return the ``secret`` of a claimed item, as workers read it: URL-safe base64 of a JSON object."""
    return base64.urlsafe_b64encode(orjson.dumps({"sessions_token": token})).decode().rstrip("=")


def is_workers(credential: str) -> bool:
    """Whether a credential is meant to be a worker's, good or not."""
    return credential.startswith(_PREFIXES)


def is_environment_key(credential: str) -> bool:
    return _KEY.fullmatch(credential) is not None


def work_of(credential: str) -> str | None:
    """Return the item that a sessions token names; None when the credential is none."""
    found = _TOKEN.fullmatch(credential)
    return found[1] if found else None


def digest_of(credential: str) -> str:
    return hashlib.sha256(credential.encode()).hexdigest()


def is_one_of(digest: str, known: tuple[str, ...]) -> bool:
    """Whether *digest* is among *known*, in a time that tells nothing of them."""
    return any([hmac.compare_digest(digest, each) for each in known])
