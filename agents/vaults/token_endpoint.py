"""A refresh token for an access token at an OAuth token endpoint (RFC 6749, sections 2.3.1, 5 and 6).

What goes wrong is told without what went in: a stranger's server may echo it.
"""

from __future__ import annotations

import asyncio
import re
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, cast
from urllib.parse import quote_plus, urlsplit

import orjson
from pydantic import SecretStr

from agents.net.guard import Guard, NetworkRefused
from agents.vaults.auth_config import SECRET_CHARS, is_token
from agents.vaults.records import RenewalFailure
from agents.vaults.redaction import Redaction

if TYPE_CHECKING:
    import httpx2

MAX_ANSWER_BYTES = 65_536
PLAIN = {"accept-encoding": "identity"}
"""What comes packed anyway is not unpacked: that could be any size."""
_SHOWN_CHARS = 2048
_PASSING = frozenset({408, 425, 429})
"""Statuses below 500 that say "later", not "no"."""
_ERROR_CODE = re.compile(r"[a-z_]{1,64}")
_MAX_SECONDS = 10 * 365 * 86_400


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """What a server answered instead of what was wanted, fit to be shown: cut, and without our secrets."""

    status_code: int
    content_type: str
    body: str
    body_truncated: bool


@dataclass(frozen=True, slots=True)
class Grant:
    """New tokens; ``refresh_token`` is None when the old one goes on, ``expires_in`` (seconds) when it is not told."""

    access_token: SecretStr
    refresh_token: SecretStr | None
    expires_in: float | None


class ExchangeFailed(Exception):
    """There are no new tokens."""

    def __init__(
        self,
        reason: str,
        *,
        transient: bool,
        status: Literal["failed", "connect_error"] = "failed",
        answer: HttpAnswer | None = None,
    ) -> None:
        super().__init__(reason)
        self.failure = RenewalFailure(reason, transient)
        self.status: Literal["failed", "connect_error"] = status
        self.answer = answer


class TokenEndpoint:
    """Asks token endpoints, wherever the guard lets it."""

    def __init__(self, guard: Guard, *, seconds: float) -> None:
        """*seconds* bound one exchange as a whole."""
        self._guard = guard
        self._seconds = seconds

    async def refresh(self, refresh: Mapping[str, Any], secrets: Mapping[str, SecretStr]) -> Grant:
        """Spend the refresh token among *secrets* as *refresh* (of the credential's ``auth``) says.

        Raises ExchangeFailed.
        """
        import httpx2

        from agents.net.client import guarded_client

        endpoint: str = refresh["token_endpoint"]
        host = urlsplit(endpoint).hostname
        form, headers = _request(refresh, secrets)
        try:
            async with (
                asyncio.timeout(self._seconds),
                guarded_client(self._guard) as client,
                client.stream("POST", endpoint, data=form, headers=headers) as response,
            ):
                answer = await read_answer(response, secrets)
        except TimeoutError:
            raise ExchangeFailed(
                f"the token endpoint at {host} did not answer within {self._seconds:g} s",
                transient=True,
                status="connect_error",
            ) from None
        except httpx2.HTTPError as error:
            why = unreachable(error)
            raise ExchangeFailed(
                f"the token endpoint at {host} cannot be reached: {why}", transient=True, status="connect_error"
            ) from None
        return _grant(host, *answer)


def _request(refresh: Mapping[str, Any], secrets: Mapping[str, SecretStr]) -> tuple[dict[str, str], dict[str, str]]:
    form = {"grant_type": "refresh_token", "refresh_token": secrets["refresh_token"].get_secret_value()}
    headers = {"accept": "application/json", **PLAIN}
    client_id: str = refresh["client_id"]
    kind = refresh["token_endpoint_auth"]["type"]
    if kind == "client_secret_basic":
        headers["authorization"] = f"Basic {_basic(client_id, secrets['client_secret'].get_secret_value())}"
    else:
        form["client_id"] = client_id
    if kind == "client_secret_post":
        form["client_secret"] = secrets["client_secret"].get_secret_value()
    for name in ("resource", "scope"):
        if refresh[name]:
            form[name] = refresh[name]
    return form, headers


def _basic(client_id: str, secret: str) -> str:
    # Both are form-encoded first (RFC 6749, section 2.3.1).
    return b64encode(f"{quote_plus(client_id)}:{quote_plus(secret)}".encode()).decode()


async def read_answer(response: httpx2.Response, secrets: Mapping[str, SecretStr]) -> tuple[bytes, HttpAnswer]:
    """Read an answer within bounds; returns its body, and how it may be shown. Raises httpx2.HTTPError."""
    raw = bytearray()
    async for chunk in response.aiter_raw():
        raw += chunk
        if len(raw) > MAX_ANSWER_BYTES:
            break
    text = redacted(bytes(raw[:MAX_ANSWER_BYTES]).decode(errors="replace"), secrets)
    content_type = redacted(response.headers.get("content-type", ""), secrets)[:255]
    truncated = len(text) > _SHOWN_CHARS or len(raw) > MAX_ANSWER_BYTES
    return bytes(raw), HttpAnswer(response.status_code, content_type, text[:_SHOWN_CHARS], truncated)


def redacted(text: str, secrets: Mapping[str, SecretStr]) -> str:
    """Return *text* without *secrets*."""
    return Redaction(secret.get_secret_value() for secret in secrets.values()).text(text)


def unreachable(error: httpx2.HTTPError) -> str:
    """Say why a server cannot be reached, in words of ours."""
    cause = error.__cause__
    return cause.message if isinstance(cause, NetworkRefused) else type(error).__name__


def _grant(host: str | None, raw: bytes, answer: HttpAnswer) -> Grant:
    told = _json_object(raw)
    code = told.get("error")
    shown_code = f" {code}" if isinstance(code, str) and _ERROR_CODE.fullmatch(code) else ""
    status = answer.status_code
    if status != 200 or code:
        transient = status >= 500 or status in _PASSING
        reason = f"the token endpoint at {host} answered {status}{shown_code}"
        raise ExchangeFailed(reason, transient=transient, answer=answer)
    access, refresh = told.get("access_token"), told.get("refresh_token")
    if not (isinstance(access, str) and len(access) <= SECRET_CHARS and is_token(access)):
        reason = f"the token endpoint at {host} answered without an access token"
        raise ExchangeFailed(reason, transient=False, answer=_without(answer, access, refresh))
    if str(told.get("token_type", "bearer")).lower() != "bearer":
        reason = f"the token endpoint at {host} gives tokens that are not bearer tokens"
        raise ExchangeFailed(reason, transient=False, answer=_without(answer, access, refresh))
    rotated = SecretStr(refresh) if isinstance(refresh, str) and 0 < len(refresh) <= SECRET_CHARS else None
    return Grant(SecretStr(access), rotated, _seconds(told.get("expires_in")))


def _without(answer: HttpAnswer, *values: object) -> HttpAnswer:
    """Return *answer* without tokens that came with it."""
    fresh = {str(n): SecretStr(value) for n, value in enumerate(values) if isinstance(value, str) and value}
    body = redacted(answer.body, fresh)
    return HttpAnswer(answer.status_code, answer.content_type, body, answer.body_truncated)


def _json_object(raw: bytes) -> dict[str, Any]:
    try:
        told = orjson.loads(raw)
    except orjson.JSONDecodeError:
        return {}
    return cast("dict[str, Any]", told) if isinstance(told, dict) else {}


def _seconds(told: object) -> float | None:
    """Read ``expires_in``: a number, though some servers write it as text."""
    if isinstance(told, str) and told.isascii() and told.isdigit() and len(told) < 12:
        told = int(told)
    if isinstance(told, bool) or not isinstance(told, int | float) or not told > 0:
        return None
    return float(min(told, _MAX_SECONDS))
