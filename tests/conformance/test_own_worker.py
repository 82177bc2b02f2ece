"""``hecaton worker``: this platform's sandboxes serve a queue over the same protocol as the SDK's worker (spec D.3)."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from anthropic import AsyncAnthropic, AuthenticationError

from agents.hands.memory import MemoryHands
from agents.hands.port import Hands
from agents.workers.journal import FileNotes, SessionJournals
from agents.workers.session_server import ServeOptions
from agents.workers.worker import Worker
from tests.conformance.requirements import requirement
from tests.conformance.scene import ASK, bash, calls, message, of_type, says, text_of, toolset
from tests.conformance.sse import PATIENCE
from tests.conformance.worker_site import Site, patiently, results_of, site

__all__ = ["site"]

_PROCESS_SECONDS = 45.0
"""A worker's process loads the SDK, then makes a sandbox: seconds where nothing else runs."""


@asynccontextmanager
async def working(site: Site, hands: Hands, **options: Any) -> AsyncIterator[tuple[Worker, asyncio.Task[None]]]:
    """Run this platform's worker, until the block ends."""
    made = {"environment": {"type": "cloud"}, "max_idle_seconds": 0.2, **options}
    async with AsyncAnthropic(base_url=site.scene.platform.url, api_key=site.key) as client:
        worker = Worker(
            client, site.id, hands, SessionJournals(FileNotes(site.workdir / "calls")), ServeOptions(**made)
        )
        task = asyncio.create_task(worker.run())
        try:
            yield worker, task
        finally:
            worker.leave()
            async with asyncio.timeout(PATIENCE):
                with suppress(AuthenticationError):
                    await task


def program(site: Site, data_dir: Path, *more: str) -> list[str]:
    return [
        sys.executable, "-m", "agents.cli", "worker", "--environment-id", site.id, "--data-dir", str(data_dir),
        "--base-url", site.scene.platform.url, "--max-idle", "1", "--set", "sandbox.warm=0", *more,
    ]  # fmt: skip


async def started(site: Site, data_dir: Path) -> asyncio.subprocess.Process:
    environment = {**os.environ, "ANTHROPIC_ENVIRONMENT_KEY": site.key}
    return await asyncio.create_subprocess_exec(
        *program(site, data_dir), env=environment, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )


@asynccontextmanager
async def process(site: Site, data_dir: Path) -> AsyncIterator[None]:
    """Run ``hecaton worker`` until the block ends."""
    running = await started(site, data_dir)
    try:
        yield
    finally:
        running.send_signal(signal.SIGTERM)
        said, _ = await asyncio.wait_for(running.communicate(), _PROCESS_SECONDS)
        assert running.returncode == 0, said.decode()


@requirement("workers:own")
async def test_this_platforms_hands_serve_a_session_of_a_queue(site: Site) -> None:
    scene, hands = site.scene, MemoryHands()
    await scene.answers(
        calls(("write", {"file_path": "a.txt", "content": "one"}), bash("cat a.txt; echo; exit 3")),
        calls(("read", {"file_path": "a.txt"})),
        says("done"),
        calls(bash("cat a.txt")),
        says("still there"),
    )
    session = await site.session(toolset(write=ASK))
    async with working(site, hands):
        log = await scene.turn(session)
        (gated,) = [each for each in of_type(log, "agent.tool_use") if each["name"] == "write"]
        log = await scene.until(session, "user.tool_result")
        assert results_of(log)[0]["is_error"]  # the other call of the answer did not wait for the confirmation
        await scene.send(session, {"type": "user.tool_confirmation", "tool_use_id": gated["id"], "result": "allow"})
        log = await scene.until(session, "agent.message")
        assert text_of(results_of(log)[-1]) == "one"
        await site.until("stopped")
        again = await site.turn(session)
        assert "one" in text_of(results_of(again)[0])
    assert [each["state"] for each in await site.items()] == ["stopped", "stopped"]


@requirement("workers:own:leaves")
async def test_a_worker_that_leaves_ends_its_call_and_another_takes_the_session_on(site: Site) -> None:
    scene, hands = site.scene, GatedHands()
    await scene.answers(calls(bash("echo first")), calls(bash("echo second")), says("done"))
    session = await site.session()
    async with working(site, hands) as (worker, task):
        await scene.send(session, message())
        await hands.begun.wait()
        worker.leave()
        await asyncio.sleep(0)
        assert not task.done()
        hands.gate.set()
        async with asyncio.timeout(PATIENCE):
            await task
        assert [text_of(each) for each in results_of(await scene.log(session))] == ["first"]
    async with working(site, MemoryHands()):
        log = await scene.until(session, "agent.message")
    assert [text_of(each) for each in results_of(log)] == ["first", "second"]


@requirement("workers:own:interrupt")
async def test_an_interrupt_stops_the_call_where_it_runs(site: Site) -> None:
    scene, hands = site.scene, GatedHands()
    await scene.answers(calls(bash("echo never")))
    session = await site.session()
    async with working(site, hands):
        await scene.send(session, message())
        await hands.begun.wait()
        await scene.idle(session)
        await scene.send(session, {"type": "user.interrupt"})
        async with asyncio.timeout(PATIENCE):
            await hands.called_off.wait()
    (closed,) = results_of(await scene.log(session))
    assert closed["is_error"]


@requirement("workers:own:refused")
async def test_a_revoked_key_ends_the_worker_with_the_reason(site: Site) -> None:
    async with working(site, MemoryHands()) as (_, task):
        await site.scene.http.delete(f"/v1/environments/{site.id}/keys/{site.key_id}")
        async with asyncio.timeout(PATIENCE):
            with pytest.raises(AuthenticationError):
                await task


@requirement("workers:own:killed")
async def test_a_worker_killed_in_a_call_runs_it_no_second_time_and_ends_well_when_asked(
    site: Site, data_dir: Path
) -> None:
    scene = site.scene
    await scene.answers(calls(bash("echo once >> done; sleep 60")), calls(bash("cat done")), says("done"))
    session = await site.session()
    await scene.turn(session)
    processes = [first := await started(site, data_dir)]
    try:
        await _written(data_dir / "worker" / "sandboxes", "done")
        first.send_signal(signal.SIGKILL)
        await first.wait()
        processes.append(second := await started(site, data_dir))
        log = await patiently(lambda: scene.until(session, "agent.message"), _PROCESS_SECONDS)
        lost, after = results_of(log)
        assert lost["is_error"] and "may have taken effect" in text_of(lost)
        assert text_of(after).endswith("once"), text_of(after)
        second.send_signal(signal.SIGTERM)
        said, _ = await asyncio.wait_for(second.communicate(), _PROCESS_SECONDS)
        assert second.returncode == 0 and b"nothing is under way" in said and site.key.encode() not in said
    finally:
        for process in processes:
            if process.returncode is None:
                process.kill()
                await process.wait()


@requirement("workers:own:skills", "workers:own:memory")
async def test_its_sandboxes_have_the_skills_and_the_memory_of_their_sessions(site: Site, data_dir: Path) -> None:
    scene, name, here = site.scene, f"tidy-{site.scene.mark}", "/mnt/memory"
    content = f"---\nname: {name}\ndescription: Tidies up.\n---\n".encode()
    files = [(f"{name}/SKILL.md", content), (f"{name}/scripts/run.sh", b"#!/bin/sh\necho tidied\n")]
    skill, stores = await scene.client.beta.skills.create(files=files), scene.client.beta.memory_stores
    notes, rules = await stores.create(name="User notes"), await stores.create(name="Rules")
    one = await stores.memories.create(notes.id, path="/a.md", content="one")
    await stores.memories.create(notes.id, path="/gone.md", content="x")
    must = await stores.memories.create(rules.id, path="/must.md", content="obey")
    await scene.answers(
        calls(("read", {"file_path": f"skills/{name}/SKILL.md"})),
        calls(bash(f"/workspace/skills/{name}/scripts/run.sh")),
        calls(bash(f"cd {here}; cat user-notes/a.md rules/must.md; mkdir user-notes/d; rm user-notes/gone.md")),
        calls(("write", {"file_path": f"{here}/user-notes/d/b.md", "content": "new"})),
        calls(bash(f"echo two > {here}/user-notes/a.md; echo mine > {here}/rules/must.md")),
        says("done"),
    )
    skills = [{"type": "custom", "skill_id": skill.id, "version": "latest"}]
    attached = [
        {"type": "memory_store", "memory_store_id": notes.id},
        {"type": "memory_store", "memory_store_id": rules.id, "access": "read_only"},
    ]
    agent = await scene.agent(toolset(), skills=skills)
    session = await scene.session(agent=agent, environment_id=site.id, resources=attached)
    async with process(site, data_dir):
        await scene.send(session, message())
        log = await patiently(lambda: scene.until(session, "agent.message"), _PROCESS_SECONDS)
    said = [text_of(each).strip() for each in results_of(log)]
    assert said[:3] == [content.decode().strip(), "tidied", "oneobey"]
    assert [each["is_error"] for each in results_of(log)] == [False, False, False, False, True]
    found = {each.path: each async for each in stores.memories.list(notes.id, view="full") if each.type == "memory"}
    kept = {path: each.content for path, each in found.items()}
    assert kept == {"/a.md": "two\n", "/d/b.md": "new"} and found["/a.md"].id == one.id
    made = [each async for each in stores.memory_versions.list(notes.id, session_id=session)]
    assert {each.operation for each in made} == {"created", "modified", "deleted"}
    assert (await stores.memories.retrieve(must.id, memory_store_id=rules.id)).content == "obey"


@pytest.fixture
def data_dir() -> Iterator[Path]:
    """A directory that the sandboxes' users may pass through."""
    with TemporaryDirectory(dir="/var/tmp") as made:
        Path(made).chmod(0o755)
        yield Path(made)


async def _written(folder: Path, name: str) -> None:
    """Wait until a file of this name is in a sandbox."""
    async with asyncio.timeout(_PROCESS_SECONDS):
        # Not rglob: it fails when a folder that it is in goes away.
        while not any(name in files for _, _, files in os.walk(folder)):
            await asyncio.sleep(0.05)


class GatedHands(MemoryHands):
    """Holds calls until the gate opens, or they are called off."""

    def __init__(self) -> None:
        super().__init__()
        self.begun, self.gate, self.called_off = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def execute(self, workspace: Any, calls: Any, *, host: str | None = None) -> AsyncIterator[Any]:  # type: ignore[override]
        self.begun.set()
        await self.gate.wait()
        async for result in super().execute(workspace, calls, host=host):
            yield result

    def cancel(self, session_id: str, calls: Any) -> None:
        self.called_off.set()
        self.gate.set()
        super().cancel(session_id, calls)
