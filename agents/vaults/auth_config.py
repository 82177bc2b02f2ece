"""The ``auth`` of a credential: what is shown of it, what is secret, and how both change (spec A.8).

Secrets are in a mapping of their own from here on, by the names of their fields, and never come back. No message of
a refusal shows a value.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pydantic import SecretStr

from agents.catalog import limits
from agents.catalog.domains import check_hosts
from agents.clock import parse_rfc3339
from agents.errors import InvalidRequest
from agents.vaults.records import CredentialRecord
from agents.vaults.urls import normalized

SECRET_CHARS = 32_768  # ours: larger than any token, and small in a database row
ALLOWED_HOSTS = 16  # spec A.8
_TEXT_CHARS = 2048  # ours, as of URLs: client ids, scopes, resources
_NAME_CHARS = 255  # ours, of a variable's name
_IN_HEADER = re.compile(r"[\x21-\x7e]+")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_SHELL = frozenset({"PATH", "HOME", "SHELL", "PWD", "IFS", "ENV", "BASH_ENV", "TMPDIR", "USER"})
"""Variables that a sandbox cannot work with a placeholder in."""
_PROXY = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")

Json = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class NewAuth:
    """A checked ``auth``: ``key`` is what it is for, ``auth`` what the API shows; the secrets are to be sealed."""

    key: str
    auth: dict[str, Any]
    secrets: dict[str, SecretStr]
    expires_at: datetime | None = None


def new_auth(given: Json, now: datetime) -> NewAuth:
    """Check the ``auth`` of a new credential. Raises InvalidRequest."""
    kind: str = given["type"]
    if kind == "environment_variable":
        return _new_variable(given)
    url = given["mcp_server_url"]
    key = f"url:{_server('auth.mcp_server_url', url)}"
    if kind == "static_bearer":
        secrets = {"token": _token("auth.token", given["token"])}
        return NewAuth(key, {"type": kind, "mcp_server_url": url}, secrets)
    secrets = {"access_token": _token("auth.access_token", given["access_token"])}
    refresh = given.get("refresh")
    shown = {"type": kind, "mcp_server_url": url, "refresh": None}
    if refresh is not None:
        shown["refresh"] = _new_refresh(refresh, secrets)
    return NewAuth(key, shown, secrets, _expiry(given.get("expires_at"), now))


def changed_auth(stored: CredentialRecord, given: Json, now: datetime) -> NewAuth:
    """Check a change of ``auth``: omitted and null parts stay, and the secrets are those that are new.

    Only ``expires_at`` can be null: then it is not known any more. Raises InvalidRequest.
    """
    shown, kind = dict(stored.auth), stored.auth["type"]
    if given["type"] != kind:
        raise InvalidRequest(f"auth.type: must be {kind}, which the credential was made with, not {given['type']!r}")
    secrets: dict[str, SecretStr] = {}
    expires_at = stored.expires_at
    if kind == "static_bearer":
        _replace_token(given, "token", secrets)
    elif kind == "mcp_oauth":
        _replace_token(given, "access_token", secrets)
        if "expires_at" in given:
            expires_at = _expiry(given["expires_at"], now)
        if given.get("refresh") is not None:
            shown["refresh"] = _changed_refresh(shown["refresh"], given["refresh"], secrets)
    else:
        _change_variable(shown, given, secrets)
    return NewAuth(stored.key, shown, secrets, expires_at)


def _replace_token(given: Json, name: str, secrets: dict[str, SecretStr]) -> None:
    if given.get(name) is not None:
        secrets[name] = _token(f"auth.{name}", given[name])


# -- OAuth ---------------------------------------------------------------------------------------


def _new_refresh(given: Json, secrets: dict[str, SecretStr]) -> dict[str, Any]:
    where, client_auth = "auth.refresh", given["token_endpoint_auth"]
    _server(f"{where}.token_endpoint", given["token_endpoint"])
    secrets["refresh_token"] = _secret(f"{where}.refresh_token", given["refresh_token"])
    if client_auth["type"] != "none":
        secrets["client_secret"] = _secret(f"{where}.token_endpoint_auth.client_secret", client_auth["client_secret"])
    return {
        "client_id": _text(f"{where}.client_id", given["client_id"], shortest=1),
        "token_endpoint": given["token_endpoint"],
        "token_endpoint_auth": {"type": client_auth["type"]},
        "resource": _text_or_none(f"{where}.resource", given.get("resource")),
        "scope": _text_or_none(f"{where}.scope", given.get("scope")),
    }


def _changed_refresh(stored: Json | None, given: Json, secrets: dict[str, SecretStr]) -> dict[str, Any]:
    where = "auth.refresh"
    if stored is None:
        raise InvalidRequest(f"{where}: this credential was made without; create another one that has it")
    changed = dict(stored)
    if given.get("refresh_token") is not None:
        secrets["refresh_token"] = _secret(f"{where}.refresh_token", given["refresh_token"])
    if given.get("scope") is not None:
        changed["scope"] = _text_or_none(f"{where}.scope", given["scope"])
    client_auth: Json = given.get("token_endpoint_auth") or {}
    if client_auth.get("client_secret") is not None:
        if stored["token_endpoint_auth"]["type"] == "none":
            raise InvalidRequest(
                f"{where}.token_endpoint_auth: is none for this credential, which has no client_secret"
            )
        secrets["client_secret"] = _secret(f"{where}.token_endpoint_auth.client_secret", client_auth["client_secret"])
    return changed


def _expiry(given: object, now: datetime) -> datetime | None:
    if given is None:
        return None
    try:
        moment = parse_rfc3339(str(given))
    except (ValueError, OverflowError):
        raise InvalidRequest("auth.expires_at: must be an RFC 3339 time such as 2026-11-21T00:00:00Z") from None
    if moment <= now:
        raise InvalidRequest("auth.expires_at: must be in the future")
    return moment


# -- environment variables -----------------------------------------------------------------------


def _new_variable(given: Json) -> NewAuth:
    name = given["secret_name"]
    limits.check_length("auth.secret_name", name, _NAME_CHARS, shortest=1)
    if not _VARIABLE.fullmatch(name):
        raise InvalidRequest("auth.secret_name: must be letters, digits and underscores, and not begin with a digit")
    if name in _SHELL or name.startswith("LD_") or name.upper() in _PROXY:
        raise InvalidRequest(f"auth.secret_name: {name} is a variable that the sandbox itself needs; take another")
    injection = _injection({"header": True, "body": False}, given.get("injection_location"))
    shown = {
        "type": given["type"],
        "secret_name": name,
        "networking": _networking(given["networking"]),
        "injection_location": injection,
    }
    return NewAuth(f"env:{name}", shown, {"secret_value": _value(given["secret_value"], injection)})


def _change_variable(shown: dict[str, Any], given: Json, secrets: dict[str, SecretStr]) -> None:
    shown["injection_location"] = _injection(shown["injection_location"], given.get("injection_location"))
    if given.get("networking") is not None:
        shown["networking"] = _networking(given["networking"])
    if given.get("secret_value") is not None:
        secrets["secret_value"] = _value(given["secret_value"], shown["injection_location"])


def _injection(stored: Json, given: Json | None) -> dict[str, bool]:
    changed = {name: bool((given or {}).get(name, stored[name])) for name in ("header", "body")}
    if not any(changed.values()):
        raise InvalidRequest("auth.injection_location: header or body must be true, or the secret would reach nothing")
    return changed


def _networking(given: Json) -> dict[str, Any]:
    if given["type"] == "unrestricted":
        return {"type": "unrestricted"}
    where, hosts = "auth.networking.allowed_hosts", list(given["allowed_hosts"])
    if not hosts:
        raise InvalidRequest(f"{where}: must not be empty, or the secret would reach nothing")
    limits.check_count(where, hosts, ALLOWED_HOSTS)
    check_hosts(where, hosts)
    for index, host in enumerate(hosts):
        if ":" in host:
            raise InvalidRequest(f"{where}[{index}]: must have no port and be no IPv6 address; use api.example.com")
    return {"type": "limited", "allowed_hosts": hosts}


def _value(value: str, injection: Json) -> SecretStr:
    where = "auth.secret_value"
    if injection["header"] and any(character < " " or character == "\x7f" for character in value):
        raise InvalidRequest(f"{where}: must have no line breaks or control characters to be put into headers")
    return _secret(where, value)


# -- texts ---------------------------------------------------------------------------------------


def _server(where: str, url: str) -> str:
    limits.check_length(where, url, limits.MCP_URL_CHARS, shortest=1)
    found = normalized(url)
    if found is None:
        raise InvalidRequest(
            f"{where}: must be an http or https URL such as https://mcp.example.com, without user name"
        )
    return found


def _secret(where: str, value: str) -> SecretStr:
    limits.check_length(where, value, SECRET_CHARS, shortest=1)
    try:
        value.encode()
    except UnicodeEncodeError:
        raise InvalidRequest(f"{where}: must be Unicode text") from None
    return SecretStr(value)


def _token(where: str, value: str) -> SecretStr:
    limits.check_length(where, value, SECRET_CHARS, shortest=1)
    if not is_token(value):
        raise InvalidRequest(f"{where}: must be visible ASCII characters without spaces, as a header can carry")
    return SecretStr(value)


def is_token(value: str) -> bool:
    """Whether *value* can stand behind ``Authorization: Bearer``."""
    return _IN_HEADER.fullmatch(value) is not None


def _text(where: str, value: str, *, shortest: int = 0) -> str:
    limits.check_length(where, value, _TEXT_CHARS, shortest=shortest)
    return value


def _text_or_none(where: str, value: str | None) -> str | None:
    return _text(where, value) or None if value is not None else None
