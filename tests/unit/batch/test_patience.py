"""Waiting for a server that is away: how long, for what, and what is never asked twice (ours)."""

from __future__ import annotations

import asyncio

import httpx2
import pytest
from anthropic import APIConnectionError, APIStatusError, AuthenticationError, BadRequestError

from agents.batch.patience import BatchStopped, Failure, GivenUp, Patience, may_have_worked, told

REQUEST = httpx2.Request("GET", "http://hecaton.test")


def refusal(status: int, *, body: object = None, **headers: str) -> APIStatusError:
    kind = {400: BadRequestError, 401: AuthenticationError}.get(status, APIStatusError)
    said = {"type": "error", "error": {"type": "some_error"}} if body is None else body
    return kind(f"status {status}", response=httpx2.Response(status, request=REQUEST, headers=headers), body=said)


GONE = APIConnectionError(request=REQUEST)


class Server:
    """Fails as it is told, then answers; time passes while the client waits."""

    def __init__(self, *failures: Failure) -> None:
        self.failures = list(failures)
        self.waits: list[float] = []
        self.asked = 0

    async def request(self) -> str:
        self.asked += 1
        if self.failures:
            raise self.failures.pop(0)
        return "yes"

    async def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)
        await asyncio.sleep(0)


@pytest.mark.parametrize(
    "failure", [GONE, httpx2.ReadError("cut"), refusal(500), refusal(503), refusal(429), refusal(529)]
)
async def test_what_passes_is_waited_for_ever_longer(failure: Failure) -> None:
    server = Server(*[failure] * 8)
    assert await Patience(600, sleep=server.sleep).ask(server.request) == "yes"
    assert server.asked == 9
    assert server.waits[0] < 1 and 15 <= server.waits[-1] <= 22.5
    assert server.waits[0] < server.waits[2] < server.waits[4]


@pytest.mark.parametrize("status", [400, 403, 404, 409, 413])
async def test_a_refusal_is_not_asked_again(status: int) -> None:
    server = Server(refusal(status))
    with pytest.raises(GivenUp) as given_up:
        await Patience(600, sleep=server.sleep).ask(server.request)
    assert (server.asked, given_up.value.status) == (1, status)


async def test_a_proxy_that_does_not_know_its_backends_yet_is_waited_for() -> None:
    server = Server(refusal(404, body="Path '/v1/sessions' not found."))
    assert await Patience(600, sleep=server.sleep).ask(server.request) == "yes"


def test_a_failure_that_says_nothing_is_told_by_its_kind() -> None:
    assert told(httpx2.ReadError("")) == "ReadError"


async def test_a_key_that_is_not_taken_stops_the_batch() -> None:
    with pytest.raises(BatchStopped, match="key"):
        await Patience(600).ask(Server(refusal(401)).request)


async def test_the_server_says_when_it_may_be_asked_again() -> None:
    server = Server(refusal(429, **{"retry-after": "40"}))
    await Patience(600, sleep=server.sleep).ask(server.request)
    assert 40 <= server.waits[0] <= 60


async def test_a_silent_server_stops_the_batch_and_one_that_answers_others_costs_only_the_request(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    server = Server(*[GONE] * 3)
    with pytest.raises(BatchStopped, match="nothing was heard"):
        await Patience(0, sleep=server.sleep).ask(server.request)
    patience = Patience(60, sleep=server.sleep)
    began = patience.now()
    monkeypatch.setattr(asyncio.get_running_loop(), "time", lambda: began + 61)
    patience.heard()
    with pytest.raises(GivenUp):
        await patience.wait_out(GONE, began, 3)


@pytest.mark.parametrize(
    ("failure", "may"),
    [(GONE, True), (refusal(500), True), (refusal(503), True), (refusal(429), False), (refusal(529), False)],
)
def test_only_some_failures_leave_it_open_whether_anything_was_done(failure: Failure, may: bool) -> None:
    assert may_have_worked(failure) is may
