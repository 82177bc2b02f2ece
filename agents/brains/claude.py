"""The brain that is Claude, or any other server of the Messages API.

It uses the vendor's client for transport, keys and typed errors, but reads the server-sent events
itself: a token is then one JSON parse instead of a chain of models. The client never retries:
every failure is told to the harness, which owns back-off and the session's error events. Only a connection that
ends before its answer begins is not one: servers close those that idle, also just as a request sets out on one.
Invariant: closing the iterator closes the HTTP response, so an unread answer is not generated.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from typing import Any, TypeVar, cast

import anthropic
import httpx2
import orjson
from anthropic import AsyncAnthropic, AsyncStream

from agents.brains.counting import estimate
from agents.brains.failures import from_connection, from_status, from_stream_error
from agents.brains.port import BrainFailure, BrainRequest
from agents.brains.route import OWN
from agents.brains.wire import counting_body, request_body, request_headers
from agents.config import BrainSettings
from agents.vault import Vault

T = TypeVar("T")

API_KEY = "anthropic_api_key"
CONNECT_SECONDS = 10.0
MAX_CONNECTIONS = 1024
"""Above every bound that this platform puts on the concurrent requests of one process (a brain replica takes 256)."""
COUNT_SECONDS = 30.0
"""Counting takes no model: a server that needs longer does not answer."""
BYTES_PER_TOKEN = 1024
"""An event for each token has some 150 bytes. A server that sends more than this for each token that was asked for,
and ``OTHER_BYTES`` beside, has lost the end of its answer."""
OTHER_BYTES = 16 * 1024**2
"""What an answer may have beside the tokens that are counted: pings, results of the server's own tools."""
DRAIN_SECONDS = 0.5
"""The end of the body follows the last event at once; waiting for it lets the connection be used again."""
PLACEHOLDER_KEY = "no-key"
"""The vendor's client insists on a key; servers of one's own usually do not."""
_LOCAL_HEADERS = {
    *("host", "connection", "user-agent", "accept", "accept-encoding", "content-type", "content-length"),
    *("transfer-encoding", "anthropic-version", "anthropic-beta"),
}
_ENDED = (httpx2.RemoteProtocolError, httpx2.ReadError, httpx2.WriteError)
_NO_SUCH_CALL = frozenset({404, 405, 501})
"""What servers answer that do not count; 404 is also said of an unknown model, and then names it."""


class ClaudeBrain:
    """Asks a Messages-API server; one instance per process shares its connections."""

    def __init__(
        self, settings: BrainSettings, vault: Vault, *, base_url: str | None = None, local: bool = False
    ) -> None:
        """*base_url* goes before that of the settings. A *local* server is sent no credentials, and by no proxy."""
        self._settings = settings
        self._local = local
        self._base_url = base_url or settings.base_url
        self._vault = vault
        self._client: AsyncAnthropic | None = None
        self._opening = asyncio.Lock()

    def think(self, request: BrainRequest) -> AsyncIterator[dict[str, Any]]:
        """Stream the answer; raises BrainFailure, also when it stalls or breaks off."""
        return self._think(request)

    async def count_tokens(self, request: BrainRequest) -> int:
        """Ask the server; estimate when it does not count. Raises BrainFailure."""
        client = await self._connect()
        deadline = asyncio.get_running_loop().time() + COUNT_SECONDS
        content = _json(counting_body(request))
        try:
            async with asyncio.timeout_at(deadline):
                counted: Any = await _sent(
                    lambda: client.post(
                        "/v1/messages/count_tokens",
                        cast_to=object,
                        content=content,
                        options={"headers": request_headers(request)},
                    )
                )
            return int(counted["input_tokens"])
        except anthropic.APIStatusError as error:
            if error.status_code in _NO_SUCH_CALL and request.model not in error.message:
                return estimate(request)
            raise _refused(error, client) from error
        except (anthropic.APIError, httpx2.HTTPError, TimeoutError) as error:
            raise from_connection(error, _origin(client.base_url)) from error
        except (KeyError, TypeError, ValueError) as error:
            raise BrainFailure("request_failed", "The model server's count is not readable.", transient=True) from error

    async def start(self) -> None:
        """Nothing to start: the server is somebody else's."""

    def check(self) -> None:
        """Nothing to check: its failures are told request by request."""

    async def aclose(self) -> None:
        """Close the connections; the next request opens new ones."""
        client, self._client = self._client, None
        if client is not None:
            await client.close()

    async def _think(self, request: BrainRequest) -> AsyncGenerator[dict[str, Any], None]:
        client = await self._connect()
        limits = self._settings
        clock = asyncio.get_running_loop().time
        end = clock() + limits.request_timeout_seconds
        deadline = min(end, clock() + limits.first_event_timeout_seconds)
        left = OTHER_BYTES + BYTES_PER_TOKEN * request.max_tokens
        stream = await self._open(client, request, deadline)
        try:
            events = AsyncStream.raw_events(stream.response)
            while True:
                data = await _next_data(events, deadline)
                if (left := left - len(data)) < 0:
                    raise BrainFailure("request_failed", "The model's answer does not end.", transient=True)
                event = _event(data)
                if event["type"] == "message_stop":
                    await _drain(events)
                    yield event
                    return
                if event["type"] != "ping":
                    yield event
                deadline = min(end, clock() + limits.event_gap_timeout_seconds)
        finally:
            await stream.close()

    async def _connect(self) -> AsyncAnthropic:
        async with self._opening:
            if self._client is None:
                self._client = await self._new_client()
            return self._client

    async def _new_client(self) -> AsyncAnthropic:
        base_url = self._base_url or os.environ.get("ANTHROPIC_BASE_URL") or None
        key = await self._vault.secret(API_KEY)
        if key is None and base_url is None:
            raise BrainFailure(
                "request_failed", "No model is configured: set ANTHROPIC_API_KEY or a base URL.", transient=False
            )
        patience = self._settings
        timeout = httpx2.Timeout(
            max(patience.first_event_timeout_seconds, patience.event_gap_timeout_seconds), connect=CONNECT_SECONDS
        )
        limits = httpx2.Limits(max_connections=MAX_CONNECTIONS, max_keepalive_connections=MAX_CONNECTIONS)
        return AsyncAnthropic(
            api_key=key.get_secret_value() if key else PLACEHOLDER_KEY,
            base_url=base_url,
            max_retries=0,
            timeout=timeout,
            http_client=_local_client(limits, timeout)
            if self._local
            else anthropic.DefaultAsyncHttpxClient(limits=limits, timeout=timeout),
        )

    async def _open(self, client: AsyncAnthropic, request: BrainRequest, deadline: float) -> AsyncStream[object]:
        content = _json(request_body(request))
        try:
            async with asyncio.timeout_at(deadline):
                return await _sent(
                    lambda: client.post(
                        "/v1/messages",
                        cast_to=object,
                        content=content,
                        options={"headers": request_headers(request)},
                        stream=True,
                        stream_cls=AsyncStream[object],
                    )
                )
        except anthropic.APIStatusError as error:
            raise _refused(error, client) from error
        except (anthropic.APIError, httpx2.HTTPError, TimeoutError) as error:
            raise from_connection(error, _origin(client.base_url)) from error


async def _sent(send: Callable[[], Awaitable[T]]) -> T:
    """Send a request, and once more if its connection ended before an answer began (RFC 9112, section 9.3.1).

    A model request may be repeated: it has no effect but its answer (law 7).
    """
    try:
        return await send()
    except anthropic.APIConnectionError as error:
        if not isinstance(error.__cause__, _ENDED):
            raise
    return await send()


def _json(body: dict[str, Any]) -> bytes:
    try:
        return orjson.dumps(body)
    except TypeError as error:
        raise BrainFailure("request_failed", f"The request is not JSON: {error}", transient=False) from error


def _refused(error: anthropic.APIStatusError, client: AsyncAnthropic) -> BrainFailure:
    headers = cast("dict[str, str]", error.response.headers)
    origin = _origin(client.base_url)
    return from_status(error.status_code, error.body, headers, origin=origin, secret=client.api_key)


def _local_client(limits: httpx2.Limits, timeout: httpx2.Timeout) -> httpx2.AsyncClient:
    hooks = {"request": [_send_only_what_is_needed]}
    return httpx2.AsyncClient(limits=limits, timeout=timeout, trust_env=False, event_hooks=hooks)


async def _send_only_what_is_needed(request: httpx2.Request) -> None:
    """Drop every other header: the vendor's client takes keys, and more headers, from the environment too."""
    for name in set(request.headers) - _LOCAL_HEADERS:
        del request.headers[name]


async def _next_data(events: AsyncIterator[Any], deadline: float) -> str:
    """Read the data of one event; raises BrainFailure for a stall, a broken or an ended stream."""
    try:
        async with asyncio.timeout_at(deadline):
            return (await anext(events)).data
    except StopAsyncIteration:
        raise BrainFailure("request_failed", "The model's answer broke off.", transient=True) from None
    except TimeoutError as error:
        raise BrainFailure("request_failed", "The model stopped answering.", transient=True) from error
    except httpx2.HTTPError as error:
        raise BrainFailure("request_failed", f"The model's answer broke off ({error!r}).", transient=True) from error


def _event(data: str) -> dict[str, Any]:
    """Return the event that has *data*; raises BrainFailure for an error event, and for what is none."""
    try:
        event: Any = orjson.loads(data) if data else {"type": "ping"}
        kind = event["type"]
        if not isinstance(kind, str) or kind.startswith(OWN):
            raise TypeError("an event of no kind that the API has")
    except (orjson.JSONDecodeError, KeyError, TypeError) as error:
        raise BrainFailure("request_failed", "The model's stream is not readable.", transient=True) from error
    if kind == "error":
        raise from_stream_error(event)
    return event


def _origin(url: httpx2.URL) -> str:
    """Where a request went, without the user and password that a URL may carry."""
    return f"{url.scheme}://{url.netloc.decode('ascii')}"


async def _drain(events: AsyncIterator[Any]) -> None:
    with contextlib.suppress(TimeoutError, httpx2.HTTPError):
        async with asyncio.timeout(DRAIN_SECONDS):
            async for _ in events:
                pass
