"""Trying an OAuth credential at its MCP server: ``mcp_oauth_validate`` (spec A.8, row 52).

The handshake is written out here, over plain requests: what is wanted is not a session, but what the server answers.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, cast

import orjson
from pydantic import SecretStr

from agents.errors import InvalidRequest
from agents.net.guard import Guard
from agents.vaults.envelope import Envelope
from agents.vaults.records import CredentialRecord
from agents.vaults.renewal import Attempt, Renewals
from agents.vaults.secrets import opened
from agents.vaults.token_endpoint import MAX_ANSWER_BYTES, PLAIN, HttpAnswer, read_answer

if TYPE_CHECKING:
    import httpx2

Verdict = Literal["valid", "invalid", "unknown"]

_PROTOCOL = "2025-06-18"  # of MCP; servers of later ones answer it, too
_ACCEPT = "application/json, text/event-stream"
_SESSION = "mcp-session-id"
_REFUSED = frozenset({401, 403})
_OLD_SERVER = frozenset({404, 405})
"""What a server of the older transport (HTTP with SSE) answers to a POST at the address of its stream."""


@dataclass(frozen=True, slots=True)
class Step:
    """The step of the handshake that failed; without ``answer`` there was none, or none that HTTP calls an error."""

    method: str
    answer: HttpAnswer | None = None

    @property
    def unauthorized(self) -> bool:
        return self.answer is not None and self.answer.status_code == 401

    @property
    def verdict(self) -> Verdict:
        return "invalid" if self.answer is not None and self.answer.status_code in _REFUSED else "unknown"


@dataclass(frozen=True, slots=True)
class Validation:
    """What was found: the verdict, the failed step, and how a renewal ended, when one was needed."""

    status: Verdict
    has_refresh_token: bool
    failed: Step | None = None
    refresh: dict[str, Any] | None = None


class Prober:
    """Tries credentials out."""

    def __init__(self, guard: Guard, envelope: Envelope, renewals: Renewals, *, seconds: float) -> None:
        """*seconds* bound one try."""
        self._guard = guard
        self._envelope = envelope
        self._renewals = renewals
        self._seconds = seconds

    async def validate(self, record: CredentialRecord) -> Validation:
        """Shake hands with the credential's server; when that says 401, renew the token and try once more.

        Raises InvalidRequest for a credential of another kind or an archived one, Unavailable.
        """
        if record.auth["type"] != "mcp_oauth":
            raise InvalidRequest(f"vault credential {record.id} is {record.auth['type']}; only mcp_oauth is validated")
        if record.sealed is None:
            raise InvalidRequest(f"vault credential {record.id} is archived", error_code="vault_credential_archived")
        renewable = "refresh_token" in record.sealed.fields
        failed = await self._try(record)
        if failed is None:
            return Validation("valid", renewable)
        if not failed.unauthorized:
            return Validation(failed.verdict, renewable, failed)
        if not renewable:
            refresh = {"status": "no_refresh_token", "http_response": None}
            return Validation("invalid", renewable, failed, refresh)
        attempt = await self._renewals.renew(record)
        refresh = _refresh_wire(attempt)
        if attempt.record is None:
            transient = attempt.failure is not None and attempt.failure.transient
            return Validation("unknown" if transient else "invalid", renewable, failed, refresh)
        failed = await self._try(attempt.record)
        return Validation("valid" if failed is None else failed.verdict, renewable, failed, refresh)

    async def _try(self, record: CredentialRecord) -> Step | None:
        """Return the step that fails with the record's access token."""
        from agents.net.client import guarded_client

        secrets = await opened(self._envelope, record)
        if secrets is None:
            return Step("initialize")
        token = secrets.values["access_token"].get_secret_value()
        headers = {"authorization": f"Bearer {token}", "accept": _ACCEPT, **PLAIN}
        async with guarded_client(self._guard, headers=headers) as client:
            handshake = _Handshake(client, record.auth["mcp_server_url"], secrets.values)
            try:
                async with asyncio.timeout(self._seconds):
                    return await handshake.failing_step()
            except TimeoutError:
                return Step(handshake.method)


class _Handshake:
    """``initialize``, ``notifications/initialized`` and ``tools/list``, then good-bye."""

    def __init__(self, client: httpx2.AsyncClient, url: str, secrets: Mapping[str, SecretStr]) -> None:
        self._client = client
        self._url = url
        self._secrets = secrets
        self._headers: dict[str, str] = {}
        self.method = "initialize"

    async def failing_step(self) -> Step | None:
        import httpx2

        try:
            return await self._steps()
        except httpx2.HTTPError:
            return Step(self.method)
        finally:
            if _SESSION in self._headers:
                with suppress(httpx2.HTTPError, TimeoutError):
                    await self._client.delete(self._url, headers=self._headers, timeout=1.0)

    async def _steps(self) -> Step | None:
        client = {"name": "hecaton", "version": "1"}
        params = {"protocolVersion": _PROTOCOL, "capabilities": {}, "clientInfo": client}
        told = await self._ask(1, params)
        if isinstance(told, Step):
            if told.answer is not None and told.answer.status_code in _OLD_SERVER:
                return await self._opened_stream(told)
            return told
        self._headers["mcp-protocol-version"] = str(told.get("protocolVersion", _PROTOCOL))[:32]
        self.method = "notifications/initialized"
        answer = await self._post({"method": self.method})
        if isinstance(answer, Step):
            return answer
        if "tools" not in _mapping(told.get("capabilities")):
            return None
        self.method = "tools/list"
        told = await self._ask(2, {})
        return told if isinstance(told, Step) else None

    async def _ask(self, number: int, params: dict[str, Any]) -> dict[str, Any] | Step:
        told = await self._post({"id": number, "method": self.method, "params": params})
        if isinstance(told, Step):
            return told
        return _mapping(told.get("result")) if "result" in told else Step(self.method)

    async def _post(self, message: dict[str, Any]) -> dict[str, Any] | Step:
        """Send one message; returns the answer with its id, or the step when HTTP says no."""
        content = orjson.dumps({"jsonrpc": "2.0", **message})
        headers = {**self._headers, "content-type": "application/json"}
        async with self._client.stream("POST", self._url, content=content, headers=headers) as response:
            if response.status_code >= 300:
                return Step(self.method, (await read_answer(response, self._secrets))[1])
            if _SESSION in response.headers:
                self._headers[_SESSION] = response.headers[_SESSION]
            async for told in _messages(response):
                if "id" in message and told.get("id") == message["id"]:
                    return told
        return {}

    async def _opened_stream(self, posted: Step) -> Step | None:
        """Open the stream of a server of the older transport: whether it may be opened is what is asked."""
        async with self._client.stream("GET", self._url, headers={"accept": "text/event-stream"}) as response:
            if response.status_code >= 300:
                return Step(self.method, (await read_answer(response, self._secrets))[1])
            is_stream = response.headers.get("content-type", "").startswith("text/event-stream")
            return None if is_stream else posted


async def _messages(response: httpx2.Response) -> AsyncIterator[dict[str, Any]]:
    """Yield the JSON-RPC messages of an answer: one as JSON, or several as server-sent events; within bounds."""
    raw = bytearray()
    streamed = response.headers.get("content-type", "").startswith("text/event-stream")
    async for chunk in response.aiter_raw():
        raw += chunk.replace(b"\r\n", b"\n")
        if len(raw) > 16 * MAX_ANSWER_BYTES:
            return
        while streamed and b"\n\n" in raw:
            event, _, rest = bytes(raw).partition(b"\n\n")
            raw = bytearray(rest)
            yield _message(b"\n".join(line[5:].strip() for line in event.split(b"\n") if line.startswith(b"data:")))
    if not streamed:
        yield _message(bytes(raw))


def _message(raw: bytes) -> dict[str, Any]:
    try:
        return _mapping(orjson.loads(raw))
    except orjson.JSONDecodeError:
        return {}


def _mapping(value: object) -> dict[str, Any]:
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}


def _refresh_wire(attempt: Attempt) -> dict[str, Any] | None:
    if attempt.record is not None:
        return {"status": "succeeded", "http_response": None}
    if attempt.exchange is not None:
        return {"status": attempt.exchange.status, "http_response": answer_wire(attempt.exchange.answer)}
    # Asked just before, by this or another process: the answer is remembered, not what it looked like.
    return None if attempt.failure is None else {"status": "failed", "http_response": None}


def answer_wire(answer: HttpAnswer | None) -> dict[str, Any] | None:
    """Return an answer as the API shows it."""
    if answer is None:
        return None
    return {
        "status_code": answer.status_code,
        "content_type": answer.content_type,
        "body": answer.body,
        "body_truncated": answer.body_truncated,
    }
