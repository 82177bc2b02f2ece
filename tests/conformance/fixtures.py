"""Fixtures for every suite over a live server; a conftest adds ``platform`` and imports these."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

import anthropic
import httpx
import pytest
from anthropic import Anthropic, AsyncAnthropic

from tests.conformance.platform import LivePlatform
from tests.conformance.scene import Scene
from tests.conformance.wire_check import check_answer

_TIMEOUT = 20.0


def _is_json(headers: Any) -> bool:
    return not headers.get("content-type", "").startswith(("text/event-stream", "application/zip"))


def _check(response: Any) -> None:
    if _is_json(response.headers):
        response.read()
        request = response.request
        check_answer(request.method, request.url.path, response.status_code, response.headers, response.content)


async def _acheck(response: Any) -> None:
    if _is_json(response.headers):
        await response.aread()
        request = response.request
        check_answer(request.method, request.url.path, response.status_code, response.headers, response.content)


@pytest.fixture(scope="package")
def client(platform: LivePlatform) -> Iterator[Anthropic]:
    """The official client, synchronous; it does not retry, so that each answer is the test's to judge."""
    transport = anthropic.DefaultHttpxClient(event_hooks={"response": [_check]}, verify=False)
    with Anthropic(
        base_url=platform.url, api_key=platform.key, max_retries=0, timeout=_TIMEOUT, http_client=transport
    ) as made:
        yield made


@pytest.fixture
async def aclient(platform: LivePlatform) -> AsyncIterator[AsyncAnthropic]:
    """The official client, asynchronous."""
    transport = anthropic.DefaultAsyncHttpxClient(event_hooks={"response": [_acheck]}, verify=False)
    async with AsyncAnthropic(
        base_url=platform.url, api_key=platform.key, max_retries=0, timeout=_TIMEOUT, http_client=transport
    ) as made:
        yield made


@pytest.fixture(scope="package")
def http(platform: LivePlatform) -> Iterator[httpx.Client]:
    """A plain HTTP client with the key."""
    headers = {"authorization": f"Bearer {platform.key}"}
    with httpx.Client(
        base_url=platform.url, headers=headers, timeout=_TIMEOUT, event_hooks={"response": [_check]}, verify=False
    ) as made:
        yield made


@pytest.fixture
async def ahttp(platform: LivePlatform) -> AsyncIterator[httpx.AsyncClient]:
    """A plain HTTP client with the key, asynchronous."""
    headers = {"authorization": f"Bearer {platform.key}"}
    limits = httpx.Limits(max_connections=200)
    async with httpx.AsyncClient(
        base_url=platform.url,
        headers=headers,
        timeout=_TIMEOUT,
        event_hooks={"response": [_acheck]},
        verify=False,
        limits=limits,
    ) as made:
        yield made


@pytest.fixture(scope="package")
def environment_id(client: Anthropic) -> str:
    """The environment that most sessions run in."""
    return client.beta.environments.create(name=f"stage-{id(client):x}").id


@pytest.fixture
async def scene(
    platform: LivePlatform, aclient: AsyncAnthropic, ahttp: httpx.AsyncClient, environment_id: str
) -> Scene:
    return Scene(platform, aclient, ahttp, environment_id)


__all__ = ["aclient", "ahttp", "client", "environment_id", "http", "scene"]
