"""The memory of calls is bounded and never forgets what still runs."""

from __future__ import annotations

import asyncio

import pytest

from agents.errors import Overloaded, Unavailable
from agents.hands import call_memory
from agents.hands.call_memory import CallMemory
from agents.hands.port import ToolCall, ToolResult


async def result_of(call_id: str, size: int = 1) -> ToolResult:
    return ToolResult(call_id, [{"type": "text", "text": "x" * size}])


async def run(memory: CallMemory, call_id: str, size: int = 1, session: str = "s") -> None:
    joined = memory.join((session, call_id), lambda: asyncio.create_task(result_of(call_id, size)))
    async for _ in memory.results([ToolCall(call_id, "bash", {})], [joined]):
        pass


async def test_the_oldest_finished_calls_go_when_there_are_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(call_memory, "_MAX_ENTRIES", 3)
    memory = CallMemory()
    for number in range(5):
        await run(memory, str(number))
    await run(memory, "5")
    assert ("s", "0") not in memory and memory.has_forgotten
    assert ("s", "4") in memory


async def test_large_results_are_remembered_for_less_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(call_memory, "_MAX_CHARS", 1000)
    memory = CallMemory()
    for number in range(4):
        await run(memory, str(number), size=400)
    assert ("s", "0") not in memory
    assert ("s", "3") in memory


async def test_a_call_that_found_no_room_is_not_kept_and_any_other_failure_is() -> None:
    memory = CallMemory()
    for fault in (Overloaded("no room"), Unavailable("it broke")):

        async def fails(fault: Exception = fault) -> ToolResult:
            raise fault

        key = ("s", type(fault).__name__)
        joined = memory.join(key, lambda fails=fails: asyncio.create_task(fails()))
        await asyncio.wait({joined.run})
        with pytest.raises(type(fault)):
            joined.run.result()
    assert ("s", "Overloaded") not in memory and ("s", "Unavailable") in memory
    again = memory.join(("s", "Unavailable"), lambda: asyncio.create_task(result_of("never")))
    assert isinstance(again.run.exception(), Unavailable)
    assert not memory.has_forgotten


async def test_a_running_call_is_never_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(call_memory, "_MAX_ENTRIES", 1)
    memory = CallMemory()
    gate = asyncio.Event()

    async def waits() -> ToolResult:
        await gate.wait()
        return ToolResult("slow", [])

    slow = memory.join(("s", "slow"), lambda: asyncio.create_task(waits()))
    for number in range(3):
        await run(memory, str(number))
    assert ("s", "slow") in memory
    gate.set()
    assert (await slow.run).call_id == "slow"


async def test_a_call_runs_on_when_nobody_waits_any_more() -> None:
    memory = CallMemory()
    gate = asyncio.Event()

    async def waits() -> ToolResult:
        await gate.wait()
        return ToolResult("c", [])

    first = memory.join(("s", "c"), lambda: asyncio.create_task(waits()))
    second = memory.join(("s", "c"), lambda: pytest.fail("started twice"))
    assert first is second
    memory.leave(first)
    memory.leave(second)
    gate.set()
    assert (await second.run).call_id == "c"


async def test_forgetting_a_session_spares_the_others() -> None:
    memory = CallMemory()
    await run(memory, "c", session="a")
    await run(memory, "c", session="b")
    memory.forget("a")
    assert ("a", "c") not in memory
    assert ("b", "c") in memory


async def test_of_a_finished_run_only_the_result_is_kept() -> None:
    memory = CallMemory()
    joined = memory.join(("s", "c"), lambda: asyncio.create_task(result_of("c")))
    found = [result async for result in memory.results([ToolCall("c", "bash", {})], [joined])]
    again = memory.join(("s", "c"), lambda: pytest.fail("started twice"))
    assert not isinstance(again.run, asyncio.Task)
    assert [result async for result in memory.results([ToolCall("c", "bash", {})], [again])] == found


async def test_cancelling_stops_a_run_and_is_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    memory = CallMemory()
    forever = asyncio.Event()

    async def waits() -> ToolResult:
        await forever.wait()
        return ToolResult("c", [])

    joined = memory.join(("s", "c"), lambda: asyncio.create_task(waits()))
    memory.cancel([("s", "c"), ("s", "never seen")])
    await memory.idle()
    for call_id in ("c", "never seen"):
        again = memory.join(("s", call_id), lambda: pytest.fail("started"))
        (result,) = [each async for each in memory.results([ToolCall(call_id, "bash", {})], [again])]
        assert result.is_error
    assert joined.run.cancelled()
    monkeypatch.setattr(call_memory, "_MAX_ENTRIES", 2)
    memory.cancel([("s", str(number)) for number in range(5)])
    await asyncio.sleep(0)
    await run(memory, "last")
    assert ("s", "never seen") not in memory and ("s", "last") in memory


async def test_idle_waits_for_every_run() -> None:
    memory = CallMemory()
    gate = asyncio.Event()

    async def waits() -> ToolResult:
        await gate.wait()
        return ToolResult("c", [])

    memory.join(("s", "c"), lambda: asyncio.create_task(waits()))
    idle = asyncio.create_task(memory.idle())
    await asyncio.sleep(0)
    assert not idle.done()
    gate.set()
    await asyncio.wait_for(idle, 5)
