"""Nothing of an inference server outlives who runs it.

Bug class this catches: a worker process that goes on holding the GPU after its server, its replica or the keeper died.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from agents.brains.server.process import ServerProcess

FAMILY = "sleep 300 & setsid sh -c 'echo up; exec sleep 300' & "
"""A server with a child in its group and a daemon outside of it, which says when it has left."""
WAITS = FAMILY + "wait"
DEAF = "trap '' TERM; " + FAMILY + "while :; do sleep 300; done"


class Ground:
    """Starts processes and hears what they print."""

    def __init__(self) -> None:
        self.lines: asyncio.Queue[str] = asyncio.Queue()
        self.started: list[ServerProcess] = []

    async def start(self, script: str, *, stop_seconds: float = 5.0) -> ServerProcess:
        process = ServerProcess(
            ["sh", "-c", script], environment=os.environ, stop_seconds=stop_seconds, on_line=self.lines.put_nowait
        )
        self.started.append(process)
        async with asyncio.timeout(10):
            await self.lines.get()
        return process


@pytest.fixture
async def ground() -> AsyncIterator[Ground]:
    ground = Ground()
    yield ground
    for process in ground.started:
        process.kill()
        assert await process.ended_within(10)


def family(pid: int) -> list[psutil.Process]:
    """A process and everything below it."""
    parent = psutil.Process(pid)
    return [parent, *parent.children(recursive=True)]


def assert_gone(processes: list[psutil.Process]) -> None:
    """Wait until every one has ended; who collects it afterwards is not the question."""
    deadline = time.monotonic() + 10
    while any(is_alive(one) for one in processes):
        assert time.monotonic() < deadline, [one for one in processes if is_alive(one)]
        time.sleep(0.01)


def is_alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


async def test_the_status_is_the_servers_and_its_last_lines_are_kept(ground: Ground) -> None:
    process = await ground.start("echo up; echo no memory >&2; exit 3")
    assert await process.ended_within(10)
    assert process.how_it_ended() == "ended with status 3; its last lines:\nup\nno memory"


@pytest.mark.parametrize("end", ["stop", "kill", "server dies", "keeper dies"])
async def test_all_that_a_server_started_ends_with_it(ground: Ground, end: str) -> None:
    process = await ground.start(WAITS)
    keeper, server, *others = everything = family(process.pid)
    assert len(others) == 2
    match end:
        case "stop":
            await process.stop()
        case "kill":
            process.kill()
        case "server dies":
            server.kill()
        case _:
            # The daemon has left the group, and only the keeper knew of it.
            [daemon] = [one for one in others if os.getsid(one.pid) == one.pid]
            keeper.kill()
            assert await process.ended_within(10)
            daemon.kill()
    assert await process.ended_within(10)
    assert_gone(everything)
    how = {"stop": "SIGTERM", "kill": "SIGKILL", "server dies": "SIGKILL", "keeper dies": "SIGKILL"}[end]
    assert process.how_it_ended().startswith(f"was ended by {how}")


async def test_a_server_that_does_not_end_softly_is_killed(ground: Ground) -> None:
    process = await ground.start(DEAF, stop_seconds=0.1)
    everything = family(process.pid)
    await process.stop()
    assert_gone(everything)


async def test_a_soft_end_lets_the_server_finish(ground: Ground) -> None:
    process = await ground.start("trap 'echo bye; exit 0' TERM; echo up; while :; do sleep 0.01; done")
    await process.stop()
    assert process.how_it_ended() == "ended with status 0; its last lines:\nup\nbye"


async def test_stopping_again_does_no_harm(ground: Ground) -> None:
    process = await ground.start(WAITS)
    await process.stop()
    await process.stop()
    assert not process.alive


async def test_a_program_that_cannot_be_started_says_so(ground: Ground, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    broken.write_bytes(b"\x7fELF")
    broken.chmod(0o755)
    process = ServerProcess([str(broken)], environment={}, stop_seconds=1, on_line=ground.lines.put_nowait)
    assert await process.ended_within(10)
    assert "cannot be started: [Errno 8] Exec format error" in process.how_it_ended()


_PARENT = """
import asyncio, os
from agents.brains.server.process import ServerProcess
async def main():
    up = asyncio.Event()
    server = ServerProcess(["sh", "-c", {script!r}], environment=os.environ, stop_seconds=9, on_line=lambda _: up.set())
    await up.wait()
    print("up", flush=True)
    await asyncio.sleep(300)
asyncio.run(main())
"""


@contextmanager
def replica() -> Iterator[psutil.Process]:
    """A process of its own that runs a server."""
    command = [sys.executable, "-c", _PARENT.format(script=DEAF)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        try:
            assert parent.stdout is not None and parent.stdout.readline() == "up\n"
            yield psutil.Process(parent.pid)
        finally:
            parent.kill()


def test_a_replica_that_is_killed_leaves_nothing() -> None:
    with replica() as parent:
        everything = family(parent.pid)
        assert len(everything) >= 5
    assert_gone(everything)


def test_when_replica_and_keeper_are_killed_together_the_server_dies_too() -> None:
    with replica() as parent:
        _, keeper, server, *others = family(parent.pid)
        parent.suspend()
        keeper.kill()
        assert_gone([server])
        for one in others:
            one.kill()
