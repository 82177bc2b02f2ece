"""Children by readiness and pidfd, on both event loops."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
import uvloop

from agents.hands.child_process import ChildProcess, run_program

ENV = {"PATH": "/usr/bin:/bin"}


@pytest.fixture(params=["asyncio", "uvloop"])
def on_loop(request: pytest.FixtureRequest) -> Callable[[Coroutine[Any, Any, Any]], Any]:
    def run(work: Coroutine[Any, Any, Any]) -> Any:
        factory = uvloop.new_event_loop if request.param == "uvloop" else asyncio.new_event_loop
        with asyncio.Runner(loop_factory=factory) as runner:
            return runner.run(work)

    return run


def test_output_and_status_arrive(on_loop: Callable[[Coroutine[Any, Any, Any]], Any]) -> None:
    assert on_loop(run_program(["sh", "-c", "echo out; echo err >&2; exit 3"], seconds=10)) == (3, "out\nerr\n")


def test_more_input_than_a_pipe_holds_is_sent_whole(on_loop: Callable[[Coroutine[Any, Any, Any]], Any]) -> None:
    async def work() -> int:
        heard = bytearray()
        full = asyncio.Event()

        def listen(chunk: bytes) -> None:
            heard.extend(chunk)
            if len(heard) >= 1_000_000:
                full.set()

        child = ChildProcess(["cat"], env=ENV, on_output=listen)
        child.write(b"x" * 1_000_000)
        async with asyncio.timeout(10):
            await full.wait()
        child.kill()
        assert await child.wait() == -9
        return len(heard)

    assert on_loop(work()) == 1_000_000


def test_a_child_that_does_not_read_is_bounded(on_loop: Callable[[Coroutine[Any, Any, Any]], Any]) -> None:
    async def work() -> None:
        child = ChildProcess(["sleep", "60"], env=ENV)
        with pytest.raises(BufferError):
            for _ in range(20):
                child.write(b"x" * 1_000_000)
        child.kill()
        await child.wait()

    on_loop(work())


def test_a_program_over_its_time_is_killed(on_loop: Callable[[Coroutine[Any, Any, Any]], Any]) -> None:
    with pytest.raises(TimeoutError):
        on_loop(run_program(["sleep", "60"], seconds=0.1))


def test_children_cost_no_threads_and_leave_no_descriptors(
    on_loop: Callable[[Coroutine[Any, Any, Any]], Any],
) -> None:
    async def work() -> None:
        await run_program(["true"], seconds=10)
        before = threading.active_count(), len(os.listdir("/proc/self/fd"))
        await asyncio.gather(*(run_program(["true"], seconds=10) for _ in range(20)))
        assert threading.active_count() == before[0]
        assert len(os.listdir("/proc/self/fd")) <= before[1]

    on_loop(work())


def test_nothing_is_inherited(on_loop: Callable[[Coroutine[Any, Any, Any]], Any]) -> None:
    status, output = on_loop(run_program(["sh", "-c", "env; ls /proc/self/fd"], seconds=10))
    assert status == 0
    assert sorted(line for line in output.splitlines() if "=" in line) == [
        "LC_ALL=C",
        "PATH=/usr/bin:/bin:/usr/sbin:/sbin",
        output.splitlines()[[line.startswith("PWD") for line in output.splitlines()].index(True)],
    ]
    assert [line for line in output.splitlines() if line.isdecimal()] == ["0", "1", "2", "3"]


def test_a_program_that_is_not_there_raises(on_loop: Callable[[Coroutine[Any, Any, Any]], Any]) -> None:
    with pytest.raises(FileNotFoundError):
        on_loop(run_program(["/no/such/program"], seconds=1))
