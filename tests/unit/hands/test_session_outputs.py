"""What sessions leave in their outputs directories is brought out: whole, once, and nothing else."""

from __future__ import annotations

import asyncio
import hashlib
import os
import secrets
import shutil
from collections.abc import AsyncIterable, AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from agents.clock import ManualClock, SystemClock
from agents.config import SandboxSettings
from agents.errors import Conflict, NotFound, PayloadTooLarge, Unavailable
from agents.files.blobs import Blob
from agents.hands import output_scan
from agents.hands.host import SandboxHost
from agents.hands.port import ToolCall, ToolResult, Workspace
from agents.hands.session_outputs import SessionOutputs
from tests.unit.hands.results import is_notice, said
from tests.unit.waiting import until


class Kept:
    """An OutputFiles in memory."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.calls: list[str] = []
        self.failure: Exception | None = None
        self.failing: str | None = None
        """The only path that fails, if any."""
        self.most = 10**6
        self.arrived = asyncio.Event()

    async def kept(self, session_id: str) -> dict[str, Blob]:
        del session_id
        return {path: Blob(hashlib.sha256(data).hexdigest(), len(data)) for path, data in self.files.items()}

    async def keep(self, session_id: str, path: str, size: int, chunks: AsyncIterable[bytes]) -> None:
        del session_id
        self.calls.append(path)
        if self.failure is not None and self.failing in (None, path):
            raise self.failure
        if size > self.most:
            raise PayloadTooLarge("too large")
        data = b"".join([chunk async for chunk in chunks])
        assert len(data) == size
        self.files[path] = data
        self.arrived.set()


@pytest.fixture
def kept() -> Kept:
    return Kept()


class Session:
    """One session on a host."""

    def __init__(self, host: SandboxHost) -> None:
        self.host = host

    async def call(self, name: str, **given: Any) -> ToolResult:
        calls = [ToolCall(secrets.token_hex(8), name, given)]
        (result,) = [each async for each in self.host.execute(Workspace("sesn_a"), calls)]
        return result

    async def bash(self, command: str) -> ToolResult:
        return await self.call("bash", command=f"cd /mnt/session/outputs && {command}")


@pytest.fixture
async def session(place: Path, kept: Kept) -> AsyncIterator[Session]:
    host = SandboxHost(SandboxSettings(warm=0), place / "root", outputs=kept)
    await host.start()
    yield Session(host)
    await host.stop()


async def test_what_a_call_leaves_is_there_when_its_result_is(session: Session, kept: Kept) -> None:
    await session.bash("mkdir -p a/b && echo one > a/b/one.txt && : > empty")
    assert kept.files == {"a/b/one.txt": b"one\n", "empty": b""}
    await session.call("write", file_path="/mnt/session/outputs/two.txt", content="two")
    assert kept.files["two.txt"] == b"two"
    assert kept.calls == ["a/b/one.txt", "empty", "two.txt"]


async def test_only_what_has_changed_is_kept_again_and_what_is_removed_stays_kept(session: Session, kept: Kept) -> None:
    await session.bash("echo one > one; echo two > two")
    kept.calls.clear()
    await session.bash("touch one; cat two > /dev/null")
    await session.call("read", file_path="/mnt/session/outputs/one")
    assert kept.calls == []
    await session.bash("echo more >> one; rm two")
    assert kept.calls == ["one"] and kept.files == {"one": b"one\nmore\n", "two": b"two\n"}


async def test_links_pipes_and_what_they_lead_to_are_left_out(session: Session, kept: Kept) -> None:
    result = await session.bash("ln -s /etc/passwd link; ln -s /etc folder; mkfifo pipe; ln -s . loop; echo x > file")
    assert not result.is_error, said(result)
    assert kept.files == {"file": b"x\n"}


async def test_a_directory_that_was_swapped_for_a_link_gives_nothing(tmp_path: Path) -> None:
    (tmp_path / "outputs" / "a").mkdir(parents=True)
    (tmp_path / "outputs" / "a" / "one").write_bytes(b"1")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "one").write_bytes(b"secret")
    found = output_scan.look_through(tmp_path)
    shutil.rmtree(tmp_path / "outputs" / "a")
    (tmp_path / "outputs" / "a").symlink_to(tmp_path / "other")
    assert list(found.there) == ["a/one"]
    with pytest.raises(FileNotFoundError):
        os.close(output_scan.open_output(tmp_path, "a/one"))


async def test_a_failure_keeps_no_call_from_ending_and_the_next_one_brings_it_out(session: Session, kept: Kept) -> None:
    kept.failure = Unavailable("away")
    result = await session.bash("echo one > one")
    assert not result.is_error and kept.files == {}
    kept.failure = None
    await session.bash("true")
    assert kept.files == {"one": b"one\n"}


async def test_what_could_not_be_brought_out_comes_out_without_another_call(place: Path, kept: Kept) -> None:
    clock = ManualClock()
    host = SandboxHost(SandboxSettings(warm=0, idle_seconds=60), place / "root", outputs=kept, clock=clock)
    await host.start()

    async def sweeps(seconds: float) -> None:
        await until(lambda: clock.sleeping)
        clock.advance(seconds)

    try:
        kept.failure = Unavailable("away")
        await Session(host).bash("echo one > one")
        outputs = host._pool._sessions["sesn_a"].outputs
        await sweeps(61)
        await until(lambda: host.stats().live == 0)
        await until(lambda: len(kept.calls) == 2)
        await outputs.settle()
        kept.failure = None
        await sweeps(20)
        await sweeps(20)
        await until(lambda: kept.files)
        assert kept.files == {"one": b"one\n"} and kept.calls == ["one"] * 3
        await sweeps(1)
        await until(lambda: not host._pool.knows("sesn_a"))
    finally:
        await host.stop()


async def test_what_another_host_keeps_at_the_same_time_is_compared_by_the_next_look(
    session: Session, kept: Kept
) -> None:
    kept.failure, kept.failing = Conflict("file_1 has its place"), "one"
    result = await session.bash("echo one > one; echo two > two")
    assert not any(map(is_notice, result.content))
    assert kept.files == {"two": b"two\n"}
    kept.failure = None
    await session.bash("true")
    assert kept.files == {"one": b"one\n", "two": b"two\n"}


async def test_the_model_is_told_once_of_what_the_user_does_not_get(
    session: Session, kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept.most = 10
    first = await session.bash("echo 0123456789 > large; echo ok > small")
    assert is_notice(first.content[0]) and "/mnt/session/outputs/large." in first.content[0]["text"]
    second = await session.bash("echo done")
    assert not is_notice(second.content[0]) and kept.calls == ["large", "small"]
    # Beyond the bounds of one session it is not even tried.
    monkeypatch.setattr(output_scan, "MOST_FILES", 2)
    third = await session.bash("echo x > third; echo y > zzz")
    assert "/mnt/session/outputs/third, /mnt/session/outputs/zzz." in third.content[0]["text"]
    assert not is_notice((await session.bash("echo done")).content[0])
    await session.bash("rm large")
    assert sorted(kept.files) == ["small", "third"]


async def test_what_was_dealt_with_is_known_here_and_compared_elsewhere(tmp_path: Path, kept: Kept) -> None:
    base = tmp_path / "here"
    (base / "outputs").mkdir(parents=True)
    (base / "outputs" / "one").write_bytes(b"1")
    (base / "outputs" / os.fsdecode(b"\xff")).write_bytes(b"2")
    told: list[str] = []
    counted: list[int] = []
    with ThreadPoolExecutor(1) as threads:

        async def look(where: Path) -> None:
            count, clock = counted.append, SystemClock()
            await SessionOutputs("sesn_a", where, kept, threads, lambda: None, count, clock, told.append).cover()

        await look(base)
        assert sorted(kept.files) == ["one", "\udcff"]
        # A file that its user has deleted does not come back.
        del kept.files["one"]
        await look(base)
        assert sorted(kept.files) == ["\udcff"] and len(kept.calls) == 2
        # Elsewhere the same bytes are not kept anew, though nothing is known of them there.
        kept.files["one"] = b"1"
        shutil.copytree(base / "outputs", tmp_path / "elsewhere" / "outputs")
        (tmp_path / "elsewhere" / "outputs" / "new").write_bytes(b"3")
        await look(tmp_path / "elsewhere")
        assert kept.calls[2:] == ["new"] and told == [] and counted == [1, 1, 1]


async def test_what_is_left_in_the_background_comes_out_when_the_sandbox_is_put_away(place: Path, kept: Kept) -> None:
    host = SandboxHost(SandboxSettings(warm=0), place / "root", outputs=kept)
    await host.start()
    try:
        command = "(until [ -e /tmp/go ]; do sleep 0.05; done; echo late > late; : > /tmp/done) >/dev/null 2>&1 &"
        await Session(host).bash(command)
        await Session(host).call("grep", pattern="nothing", path="/mnt/session/outputs")
        assert kept.files == {}
        # The wait is for the process, inside the call; the output appears after the call's own look began.
        (place / "root" / "sesn_a" / "tmp" / "go").touch()
        async with asyncio.timeout(20):
            while not (place / "root" / "sesn_a" / "tmp" / "done").exists():
                await asyncio.sleep(0.02)
        assert kept.files == {}
        await host.release("sesn_a", destroy=False)
        async with asyncio.timeout(20):
            await kept.arrived.wait()
        assert kept.files == {"late": b"late\n"}
    finally:
        await host.stop()


async def test_of_a_session_that_is_not_there_nothing_is_tried_again(session: Session, kept: Kept) -> None:
    kept.failure = NotFound("session sesn_a not found")
    assert not (await session.bash("echo one > one")).is_error
    await session.bash("echo two > two")
    assert kept.calls == ["one"]
