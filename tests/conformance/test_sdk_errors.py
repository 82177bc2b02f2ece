"""Errors as the official client sees them: typed exceptions, and retries that it does or does not make."""

from __future__ import annotations

import secrets
from collections.abc import Callable

import anthropic
import pytest
from anthropic import Anthropic

from tests.conformance.platform import LivePlatform
from tests.conformance.requirements import requirement
from tests.conformance.scene import MODEL


@requirement("transport:errors:sdk-classes")
@pytest.mark.parametrize(
    "expected, call",
    [
        (anthropic.BadRequestError, lambda c: c.beta.agents.create(name="", model=MODEL)),
        (anthropic.NotFoundError, lambda c: c.beta.sessions.retrieve("sesn_none")),
        (anthropic.NotFoundError, lambda c: c.beta.dreams.list()),
        (anthropic.AuthenticationError, lambda c: c.with_options(api_key="wrong").beta.agents.list()),
        (anthropic.NotFoundError, lambda c: c.beta.sessions.events.stream("sesn_none")),
    ],
    ids=["400", "404", "404-to-come", "401", "404-stream"],
)
def test_the_sdk_raises_its_typed_exception(
    client: Anthropic, expected: type[anthropic.APIStatusError], call: Callable[[Anthropic], object]
) -> None:
    with pytest.raises(expected) as caught:
        call(client)
    assert caught.value.request_id and caught.value.request_id.startswith("req_")
    assert isinstance(caught.value.body, dict) and caught.value.body["type"] == "error"


@requirement("transport:conflict-no-retry", "transport:errors:sdk-classes")
def test_the_sdk_tries_a_semantic_conflict_once_only(platform: LivePlatform) -> None:
    attempts: list[str] = []
    transport = anthropic.DefaultHttpxClient(
        event_hooks={"request": [lambda request: attempts.append(request.method)]}, verify=False
    )
    name = f"taken-{secrets.token_hex(6)}"
    with Anthropic(base_url=platform.url, api_key=platform.key, max_retries=3, http_client=transport) as client:
        client.beta.environments.create(name=name)
        attempts.clear()
        with pytest.raises(anthropic.ConflictError):
            client.beta.environments.create(name=name)
    assert attempts == ["POST"]
