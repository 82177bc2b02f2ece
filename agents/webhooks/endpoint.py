"""Where webhooks go, and how what goes there is signed.

The signature is that of the Standard Webhooks specification (symmetric, ``v1``): HMAC-SHA256 over
``id.timestamp.body`` with the bytes that the secret's base64 stands for. ``client.beta.webhooks.unwrap`` of the
official SDKs verifies it.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import secrets
from dataclasses import dataclass
from typing import Annotated

from pydantic import AfterValidator, SecretStr, StringConstraints

from agents.net.guard import MAX_URL_CHARS, NetworkRefused, parse_url

_PREFIX = "whsec_"
_LEAST_BYTES, _MOST_BYTES = 24, 64
_FRESH_BYTES = 32


def new_secret() -> SecretStr:
    """Return a fresh signing secret."""
    return SecretStr(_PREFIX + base64.b64encode(secrets.token_bytes(_FRESH_BYTES)).decode())


def secret_bytes(secret: SecretStr) -> bytes:
    """Return the key that a signing secret stands for. Raises ValueError, which does not tell the secret."""
    text = secret.get_secret_value()
    try:
        key = base64.b64decode(text.removeprefix(_PREFIX), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if not text.startswith(_PREFIX) or not _LEAST_BYTES <= len(key) <= _MOST_BYTES:
        raise ValueError(f"must be {_PREFIX} and the base64 of {_LEAST_BYTES} to {_MOST_BYTES} bytes")
    return key


def _checked_secret(secret: SecretStr) -> SecretStr:
    secret_bytes(secret)
    return secret


def _checked_url(url: str) -> str:
    try:
        parse_url(url)
    except NetworkRefused as refused:
        raise ValueError(refused.message) from None
    return url


SigningSecret = Annotated[SecretStr, AfterValidator(_checked_secret)]
WebhookUrl = Annotated[str, StringConstraints(min_length=1, max_length=MAX_URL_CHARS), AfterValidator(_checked_url)]


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One receiver: its ``name`` is for logs, which never tell the URL (its path may be a secret)."""

    name: str
    url: str
    secret: SecretStr


def signed_headers(secret: SecretStr, message_id: str, timestamp: int, body: bytes) -> dict[str, str]:
    """Return the headers that a receiver checks; *timestamp* is in seconds since the epoch, of this very attempt."""
    signed = f"{message_id}.{timestamp}.".encode() + body
    digest = hmac.new(secret_bytes(secret), signed, hashlib.sha256).digest()
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": f"v1,{base64.b64encode(digest).decode()}",
    }
