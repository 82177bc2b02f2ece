"""Half-started sandboxes of killed hosts go; those of living hosts stay."""

from __future__ import annotations

import asyncio
import subprocess
import time
from pathlib import Path

from agents.hands.orphans import kill_orphans
from tests.unit.hands.conftest import Start, sandbox_processes


def half_sandbox(root: Path) -> subprocess.Popen[bytes]:
    """Start a bwrap that does not die with its parent, as one caught in the window does not."""
    root.mkdir(exist_ok=True)
    options = ["--unshare-user", "--unshare-pid", "--ro-bind", "/", "/", "--bind", f"{root}/", "/mnt"]
    return subprocess.Popen(["bwrap", *options, "sleep", "1000"])


def wait_for(count: int, marker: str) -> None:
    deadline = time.monotonic() + 5
    while len(sandbox_processes(marker)) != count:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_an_orphan_is_killed_and_a_living_hosts_sandbox_is_not(place: Path) -> None:
    orphan, living = half_sandbox(place / "root"), half_sandbox(place / "root")
    try:
        wait_for(4, f"{place}/root/")
        orphan.kill()
        orphan.wait()
        wait_for(3, f"{place}/root/")
        assert kill_orphans(place / "elsewhere") == 0
        assert kill_orphans(place / "root") == 1
        wait_for(2, f"{place}/root/")
        assert living.poll() is None
    finally:
        for pid in sandbox_processes(f"{place}/root/"):
            subprocess.run(["kill", "-9", str(pid)], check=False)
        living.wait()


async def test_a_new_host_reaps_what_a_killed_one_left(start: Start, place: Path) -> None:
    (place / "root0").mkdir()
    orphan = half_sandbox(place / "root0")
    wait_for(2, f"{place}/root0/")
    orphan.kill()
    orphan.wait()
    await start()
    async with asyncio.timeout(5):
        while sandbox_processes(f"{place}/root0/"):
            await asyncio.sleep(0.01)
