"""What counts as lost between a harness, the brains and the hands, and what does not."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from typing import Any

import pytest

from agents.brains.port import BrainFailure, BrainLost, BrainRequest, Refusal, Standing
from agents.errors import Unavailable
from agents.hands.port import CallNotSent, CallRefused, HostLost, ToolCall, ToolResult, Workspace
from agents.standby.health import CountedHands, CountedPools, PathCounter, PathReport

REQUEST = BrainRequest("sesn_1", "m", [])
WORKSPACE = Workspace("sesn_1")
CALL = ToolCall("c", "bash", {})


class Pools:
    def __init__(self, failure: Exception | None) -> None:
        self._failure = failure

    def standing(self, brain: str) -> Standing:
        return Standing(len(brain), 1, 0, 0)

    async def think(self, brain: str, request: BrainRequest) -> AsyncIterator[dict[str, Any]]:
        yield {"type": "message_start", "brain": brain}
        if self._failure is not None:
            raise self._failure


class Hands:
    def __init__(self, failure: Exception | None) -> None:
        self._failure = failure
        self.asked: list[Any] = []

    def place(self, workspace: Workspace) -> str | None:
        return workspace.session_id

    async def locate(self, workspace: Workspace) -> str:
        if self._failure is not None:
            raise self._failure
        return "host"

    async def execute(
        self, workspace: Workspace, calls: Sequence[ToolCall], *, host: str | None = None
    ) -> AsyncGenerator[ToolResult, None]:
        yield ToolResult("c", [], host=host)
        if self._failure is not None:
            raise self._failure

    def cancel(self, session_id: str, calls: Any) -> None:
        self.asked.append((session_id, calls))

    async def release(self, session_id: str, *, destroy: bool) -> None:
        self.asked.append((session_id, destroy))


def busy(kind: Any) -> BrainFailure:
    return BrainFailure(kind, "no", transient=True)


@pytest.mark.parametrize(
    ("failure", "seen"),
    [
        (None, PathReport(1, 0)),
        (BrainLost("gone"), PathReport(1, 1)),
        (busy("overloaded"), PathReport()),
        (busy("request_failed"), PathReport()),
        (BrainFailure("request_failed", "no", transient=False, refusal=Refusal(400, "no")), PathReport()),
    ],
)
async def test_of_model_requests_only_those_that_were_answered_or_lost_count(
    failure: BrainFailure | None, seen: PathReport
) -> None:
    counter = PathCounter()
    pools = CountedPools(Pools(failure), counter)
    events = list[dict[str, Any]]()
    try:
        async for event in pools.think("a@1", REQUEST):
            events.append(event)
    except BrainFailure as raised:
        assert raised is failure
    assert events == [{"type": "message_start", "brain": "a@1"}]
    assert counter.take() == seen and pools.standing("abc").replicas == 3


async def test_an_answer_that_nobody_waits_for_any_more_says_nothing() -> None:
    counter = PathCounter()
    thinking = CountedPools(Pools(None), counter).think("a@1", REQUEST)
    await anext(thinking)
    await thinking.aclose()
    assert counter.take() == PathReport()


@pytest.mark.parametrize(
    ("failure", "seen"),
    [
        (None, PathReport(1, 0)),
        (HostLost("gone"), PathReport(1, 1)),
        (CallNotSent("gone"), PathReport(1, 1)),
        (Unavailable("silent"), PathReport(1, 1)),
        (CallRefused("leaving"), PathReport()),
    ],
)
async def test_of_batches_of_calls_those_that_ended_or_were_lost_count(
    failure: Exception | None, seen: PathReport
) -> None:
    counter = PathCounter()
    hands = CountedHands(Hands(failure), counter)
    results = list[ToolResult]()
    try:
        async for result in hands.execute(WORKSPACE, [CALL], host="h/1"):
            results.append(result)
    except Unavailable as raised:
        assert raised is failure
    assert [result.host for result in results] == ["h/1"] and counter.take() == seen


async def test_where_there_is_no_host_at_all_a_loss_is_counted_and_the_rest_is_passed_on() -> None:
    counter, inner = PathCounter(), Hands(Unavailable("none"))
    hands = CountedHands(inner, counter)
    with pytest.raises(Unavailable):
        await hands.locate(WORKSPACE)
    assert counter.take(["a@1"]) == PathReport(1, 1, ("a@1",))
    assert hands.place(WORKSPACE) == "sesn_1"
    hands.cancel("sesn_1", {"c": "h/1"})
    await hands.release("sesn_1", destroy=True)
    assert inner.asked == [("sesn_1", {"c": "h/1"}), ("sesn_1", True)]


def test_a_report_that_reached_nobody_is_counted_again() -> None:
    counter = PathCounter()
    counter.count(failed=True)
    report = counter.take(["a@1"])
    counter.count(failed=False)
    counter.give_back(report)
    assert counter.take() == PathReport(2, 1)
