"""A session's files outlive its host: checkpoints with real sandboxes, and what the model is told."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from agents.hands import notices
from agents.hands.host import SandboxHost
from agents.hands.port import CallRefused, ToolCall, Workspace
from agents.hands.session_state import write_state
from tests.unit.hands.checkpoint_hosts import Hosts, Session, TestStore, state_of
from tests.unit.hands.conftest import said, sandbox_processes, told
from tests.unit.hands.test_host import until


@pytest.fixture
def store(place: Path) -> TestStore:
    return TestStore(place / "store")


@pytest.fixture
async def hosts(place: Path, store: TestStore) -> AsyncIterator[Hosts]:
    hosts = Hosts(place, store)
    yield hosts
    store.open.set()
    await hosts.stop()


def wrapped(notice: str) -> str:
    return f"<system-note>{notice}</system-note>"


async def test_files_come_back_on_another_host_and_the_model_is_told(hosts: Hosts) -> None:
    one, two = await hosts.start("one"), await hosts.start("two")
    session = Session()
    await session.bash(one, "mkdir d; echo kept > d/f; ln -s d/f l; echo x > ~/.hidden; export A=1; sleep 100 &")
    await session.one(one, "write", file_path="/mnt/session/outputs/report", content="done")
    await session.bash(one, "echo scratch > /tmp/scratch; chmod 700 d")
    first = await session.bash(
        two, "cat l ~/.hidden /mnt/session/outputs/report; stat -c %a%U d; echo [$A]; ls /tmp; pgrep sleep"
    )
    assert said(first) == "kept\nx\ndone700agent\n[]"
    assert told(first) == wrapped(notices.RESTORED)
    assert told(await session.bash(two, "true")) == ""
    assert two.stats().restores == 1


async def test_a_result_is_given_only_when_its_checkpoint_is_stored(hosts: Hosts, store: TestStore) -> None:
    host = await hosts.start()
    session = Session()
    await session.bash(host, "true")
    store.open.clear()
    call = asyncio.create_task(session.bash(host, "echo x > f"))
    await until(lambda: (host.root / "sesn_a" / "workspace" / "f").exists())
    await asyncio.wait({call}, timeout=0.3)
    assert not call.done()
    store.open.set()
    result = await call
    assert result.version == 1
    assert [pack.name.partition("-")[0] for pack in store.packs()] == ["000000000000001"]


async def test_after_the_result_is_a_mode_of_its_own(hosts: Hosts, store: TestStore) -> None:
    host = await hosts.start(checkpoints={"mode": "after_result"})
    session = Session()
    await session.bash(host, "echo 0 > f")
    await until(lambda: len(store.packs()) == 1)
    store.open.clear()
    result = await session.bash(host, "echo x > f")
    assert result.version == 2
    assert len(store.packs()) == 1
    store.open.set()
    await until(lambda: len(store.packs()) == 2)


async def test_only_calls_that_change_something_make_a_checkpoint(hosts: Hosts, store: TestStore) -> None:
    host = await hosts.start()
    session = Session()
    versions = [
        (await session.one(host, name, **body)).version
        for name, body in [
            ("bash", {"command": "echo hello; ls -la"}),
            ("write", {"file_path": "f", "content": "one"}),
            ("read", {"file_path": "f"}),
            ("glob", {"pattern": "*"}),
            ("grep", {"pattern": "one"}),
            ("bash", {"command": "cat f; false"}),
            ("edit", {"file_path": "f", "old_string": "one", "new_string": "two"}),
            ("edit", {"file_path": "f", "old_string": "missing", "new_string": "two"}),
            ("bash", {"command": "echo three > f; exit 3"}),
            ("bash", {"restart": True}),
        ]
    ]
    assert versions == [None, 1, None, None, None, None, 2, None, 3, None]
    assert host.stats().checkpoints == len(store.packs()) == 3


async def test_parallel_calls_share_checkpoints(hosts: Hosts) -> None:
    host = await hosts.start()
    session = Session()
    await session.bash(host, "true")
    results = await session.batch(host, *(("write", {"file_path": f"f{n}", "content": "x"}) for n in range(16)))
    assert host.stats().checkpoints < 8
    two = await hosts.start("two")
    assert await session.out(two, "ls | wc -l") == "16"
    assert all(result.version is not None for result in results)


async def test_a_restarted_host_continues_on_its_own_files(hosts: Hosts, store: TestStore) -> None:
    session = Session()
    first = await hosts.start()
    await session.bash(first, "head -c 1000000 /dev/urandom > big; echo kept > f; export A=1")
    await first.stop()
    again = await hosts.start()
    result = await session.bash(again, "cat f; echo [$A]; echo more >> f")
    assert said(result) == "kept\n[]"
    assert told(result) == wrapped(notices.HOST_RESTARTED)
    assert result.version == 2
    assert store.packs()[-1].stat().st_size < 10_000
    assert again.stats().restores == 0


async def test_a_session_that_comes_back_from_idleness_is_told_so(hosts: Hosts) -> None:
    host = await hosts.start(idle_seconds=0.2)
    session = Session()
    await session.bash(host, "export A=1; echo x > f")
    await until(lambda: host.stats().live == 0)
    result = await session.one(host, "read", file_path="f")
    assert (said(result), told(result)) == ("x\n", wrapped(notices.IDLE))
    assert told(await session.bash(host, "true")) == ""


async def test_what_background_processes_wrote_is_in_the_last_checkpoint(hosts: Hosts, store: TestStore) -> None:
    one, two = await hosts.start("one", idle_seconds=0.5), await hosts.start("two")
    session = Session()
    await session.bash(one, "(sleep 0.2; echo late > late) &")
    await until(lambda: one.stats().live == 0)
    await until(lambda: len(store.packs()) == 1)
    assert await session.out(two, "cat late") == "late"


async def test_the_first_of_several_results_carries_the_notice_and_no_other(hosts: Hosts) -> None:
    one, two = await hosts.start("one"), await hosts.start("two")
    session = Session()
    await session.bash(one, "echo x > f")
    results = await session.batch(
        two, ("bash", {"command": "sleep 0.3"}), ("read", {"file_path": "f"}), ("bash", {"command": "sleep 0.3"})
    )
    assert [bool(told(result)) for result in results] == [False, True, False]


async def test_a_call_that_only_reads_tells_the_log_where_the_session_goes_on(hosts: Hosts) -> None:
    one, two, three = [await hosts.start(name) for name in ("one", "two", "three")]
    session = Session()
    await session.bash(one, "echo 1 > f")
    assert (await session.one(two, "read", file_path="f")).version == 1_000_000
    await session.bash(two, "echo 2 > f")
    # The first host is back, with older files and a sandbox that still runs on them.
    result = await session.bash(one, "cat f; echo 3 > f")
    assert (said(result), told(result)) == ("2", wrapped(notices.RESTORED))
    assert await session.out(three, "cat f") == "3"


async def test_a_host_that_was_left_behind_does_not_win_over_the_one_that_went_on(
    hosts: Hosts, store: TestStore
) -> None:
    """The first host stood still while the session moved on; then its call ends and is stored after all."""
    one, two, three = [await hosts.start(name) for name in ("one", "two", "three")]
    session = Session()
    await session.bash(one, "echo 1 > f")
    behind = Session()
    behind.workspace = session.workspace
    await session.bash(two, "echo 2 > f")
    for number in range(5):
        await behind.bash(one, f"echo stale {number} > f")
    assert await session.out(three, "cat f") == "2"


async def test_a_damaged_checkpoint_gives_way_to_the_one_before(
    hosts: Hosts, store: TestStore, caplog: pytest.LogCaptureFixture
) -> None:
    one, two = await hosts.start("one"), await hosts.start("two")
    session = Session()
    for number in (1, 2, 3):
        await session.bash(one, f"echo {number} > f")
    newest = store.packs()[-1]
    newest.write_bytes(newest.read_bytes()[:-20])
    result = await session.bash(two, "cat f")
    assert (said(result), told(result)) == ("2", wrapped(notices.RESTORED_OLDER))
    assert newest.name in caplog.text


async def test_a_file_that_no_checkpoint_has_whole_is_named(hosts: Hosts, store: TestStore) -> None:
    one, two = await hosts.start("one"), await hosts.start("two")
    session = Session()
    await session.bash(one, "printf PRECIOUS > f; echo other > g")
    await session.bash(one, "echo 2 > h")
    first = store.packs()[0]
    first.write_bytes(first.read_bytes().replace(b"PRECIOUS", b"precious"))
    result = await session.bash(two, "cat *")
    assert said(result) == "other\n2"
    assert "/workspace/f" in told(result)


async def test_without_any_checkpoint_the_model_learns_that_its_files_are_lost(place: Path) -> None:
    hosts = Hosts(place, None)
    try:
        session = Session()
        first = await session.bash(await hosts.start("one"), "echo x > f")
        assert first.version == 1
        two = await hosts.start("two")
        result = await session.bash(two, "ls")
        assert (said(result), told(result)) == ("(no output)", wrapped(notices.FILES_LOST))
        assert told(await session.bash(two, "ls")) == ""
    finally:
        await hosts.stop()


async def test_without_checkpoints_a_restarted_host_still_knows_its_files(place: Path) -> None:
    hosts = Hosts(place, None)
    try:
        session = Session()
        first = await hosts.start("one")
        await session.bash(first, "echo x > f")
        await first.stop()
        result = await session.bash(await hosts.start("one"), "cat f")
        assert (said(result), told(result)) == ("x", wrapped(notices.HOST_RESTARTED))
    finally:
        await hosts.stop()


async def test_a_store_that_fails_delays_nothing_and_is_used_again_when_it_is_back(
    hosts: Hosts, store: TestStore
) -> None:
    one, two = await hosts.start("one"), await hosts.start("two")
    session = Session()
    await session.bash(one, "echo 1 > f")
    store.broken = True
    assert (await session.bash(one, "echo 2 > f")).version == 2
    store.open.clear()  # from here on it would hang
    assert (await session.bash(one, "echo 3 > f")).version == 3
    store.open.set()
    store.broken = False
    await session.bash(one, "echo 4 > f")
    # Its version is the third still when the pack that hung was filled after this call.
    await until(lambda: int(store.packs()[-1].name.partition("-")[0]) >= session.workspace.version)
    assert await session.out(two, "cat f") == "4"
    assert one.stats().checkpoint_failures >= 1


async def test_changes_that_could_not_be_stored_are_called_lost(hosts: Hosts, store: TestStore) -> None:
    one, two = await hosts.start("one"), await hosts.start("two")
    session = Session()
    await session.bash(one, "echo 1 > f")
    store.broken = True
    await session.bash(one, "echo 2 > f")
    store.broken = False
    result = await session.bash(two, "cat f")
    assert (said(result), told(result)) == ("1", wrapped(notices.RESTORED_OLDER))
    assert told(await session.bash(two, "cat f")) == ""


async def test_files_beyond_the_limit_are_not_copied_and_the_model_learns_it_after_a_loss(hosts: Hosts) -> None:
    one = await hosts.start("one", checkpoints={"max_bytes": 100_000})
    session = Session()
    await session.bash(one, "echo small > f")
    await session.bash(one, "head -c 200000 /dev/zero > g")
    result = await session.bash(await hosts.start("two"), "ls")
    assert (said(result), told(result)) == ("f", wrapped(notices.RESTORED_OLDER))


async def test_while_the_store_is_away_a_lost_session_waits_instead_of_starting_empty(
    hosts: Hosts, store: TestStore, place: Path
) -> None:
    one, two = await hosts.start("one"), await hosts.start("two")
    session = Session()
    await session.bash(one, "echo 1 > f")
    store.broken = True
    known = session.workspace
    result = await session.bash(two, "ls")
    assert result.is_error
    assert "try again" in said(result)
    assert not (place / "two" / "sesn_a").exists()
    assert two.stats().live == 0
    session.workspace = known
    store.broken = False
    assert await session.out(two, "cat f") == "1"


async def test_after_the_machine_itself_went_down_its_files_are_taken_from_the_checkpoint(
    hosts: Hosts, place: Path
) -> None:
    session = Session()
    first = await hosts.start()
    await session.bash(first, "echo whole > f")
    await first.stop()
    base = str(place / "one" / "sesn_a")
    write_state(base, replace(state_of(base), boot="an earlier one"))
    (place / "one" / "sesn_a" / "workspace" / "f").write_text("")  # as a power cut leaves it
    result = await session.bash(await hosts.start(), "cat f")
    assert (said(result), told(result)) == ("whole", wrapped(notices.RESTORED))


async def test_destroying_a_session_deletes_its_checkpoints_on_any_host(hosts: Hosts, store: TestStore) -> None:
    one, two = await hosts.start("one"), await hosts.start("two")
    for name in ("sesn_a", "sesn_b"):
        await Session(name).bash(one, "echo x > f")
    await one.release("sesn_a", destroy=True)
    await two.release("sesn_b", destroy=True)
    await two.release("sesn_b", destroy=True)
    await two.release("sesn_never", destroy=True)
    assert os.listdir(store.directory) == [".deleted"]


async def test_destroying_a_session_in_mid_checkpoint_leaves_nothing(hosts: Hosts, store: TestStore) -> None:
    host = await hosts.start()
    session = Session()
    await session.bash(host, "echo x > f")
    store.open.clear()
    running = asyncio.create_task(session.bash(host, "echo y > f"))
    await until(lambda: (host.root / "sesn_a" / "workspace" / "f").read_text() == "y\n")
    destroying = asyncio.create_task(host.release("sesn_a", destroy=True))
    await asyncio.wait({destroying}, timeout=0.2)
    store.open.set()
    await asyncio.gather(running, destroying)
    assert not (store.directory / "sesn_a").exists()
    assert not (host.root / "sesn_a").exists()


async def test_draining_stores_everything_and_ends_every_sandbox(hosts: Hosts, store: TestStore) -> None:
    one, two = await hosts.start("one"), await hosts.start("two")
    session, other = Session(), Session("sesn_b")
    await session.bash(one, "(sleep 0.1; echo late > late) & export A=1")
    running = asyncio.create_task(other.bash(one, "sleep 0.3; echo done > f"))
    await until(lambda: one.stats().live == 2)
    await one.drain()
    assert not (await running).is_error
    assert one.stats().live == 0
    assert not sandbox_processes(str(one.root / "sesn_"))
    with pytest.raises(CallRefused):
        await session.bash(one, "true")
    assert await session.out(two, "cat late") == "late"
    assert await other.out(two, "cat f") == "done"


async def test_a_cancelled_call_is_covered_by_a_checkpoint_all_the_same(hosts: Hosts, store: TestStore) -> None:
    one, two = await hosts.start("one"), await hosts.start("two")
    session = Session()
    await session.bash(one, "true")
    call = ToolCall("call_long", "bash", {"command": "echo partly > f; sleep 30"})
    results = one.execute(session.workspace, [call])
    running = asyncio.create_task(anext(results))
    path = one.root / "sesn_a" / "workspace" / "f"
    await until(lambda: path.exists() and path.read_text() == "partly\n")
    one.cancel("sesn_a", {"call_long": one.incarnation})
    assert (await running).is_error
    await until(lambda: len(store.packs()) == 1)
    session.workspace = Workspace("sesn_a", host=one.incarnation, version=1)
    assert await session.out(two, "cat f") == "partly"


async def test_a_session_restored_on_a_host_that_dies_before_it_said_so_is_told_by_the_next(
    hosts: Hosts, place: Path
) -> None:
    one, two = await hosts.start("one"), await hosts.start("two")
    session = Session()
    await session.bash(one, "echo x > f")
    known = session.workspace
    await session.bash(two, "true")
    assert state_of(str(place / "two" / "sesn_a")).notice == notices.RESTORED
    session.workspace = known  # the result never reached the log
    again = await hosts.start("two")
    assert told(await session.bash(again, "cat f")) == wrapped(notices.RESTORED)


class Stuck:
    """Holds up a step of starting a sandbox."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, host: SandboxHost) -> None:
        self.reached = asyncio.Event()
        self.go = asyncio.Event()
        real = host._driver.start

        async def start(*args: Any, **options: Any) -> Any:
            self.reached.set()
            await self.go.wait()
            return await real(*args, **options)

        monkeypatch.setattr(host._driver, "start", start)


async def nothing_left(host: SandboxHost, *sessions: str) -> None:
    assert host.stats().live == 0
    assert not sandbox_processes(f"{host.root}/sesn_")
    assert sorted(host._root.sessions()) == sorted(sessions)
    await until(lambda: not os.listdir(host.root / ".trash"))
    (own,) = (host.root / ".warm").iterdir()
    assert sorted(os.listdir(own)) == ["lock", "system"]


@pytest.mark.parametrize("how", ["cancelled", "too late", "failed", "the host stops"])
async def test_a_provision_that_comes_to_nothing_leaves_nothing(
    hosts: Hosts, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    host = await hosts.start(max_live=1)
    with monkeypatch.context() as patch:
        stuck = Stuck(patch, host)
        call = ToolCall("call_a", "bash", {"command": "true"}, deadline=0.2 if how == "too late" else 30)
        running = asyncio.ensure_future(anext(host.execute(Workspace("sesn_a"), [call])))
        await stuck.reached.wait()
        match how:
            case "cancelled":
                host.cancel("sesn_a", {"call_a": host.incarnation})
            case "failed":
                patch.setattr("agents.hands.bubblewrap._NAMESPACES", ("user", "pid", "nonsense"))
                stuck.go.set()
            case "the host stops":
                await host.stop()
            case _:
                pass
        assert (await running).is_error
    if how == "the host stops":
        assert not sandbox_processes(str(host.root))
        assert not (host.root / "sesn_a").exists()
        return
    await nothing_left(host)
    assert await Session().out(host, "echo fine") == "fine"


async def test_a_restore_that_is_given_up_leaves_nothing(hosts: Hosts, store: TestStore) -> None:
    one, two = await hosts.start("one"), await hosts.start("two")
    session = Session()
    await session.bash(one, "echo x > f")
    store.open.clear()
    asked = store.asked
    call = ToolCall("call_given_up", "bash", {"command": "cat f"})
    running = asyncio.ensure_future(anext(two.execute(session.workspace, [call])))
    await until(lambda: store.asked > asked)
    two.cancel("sesn_a", {call.call_id: two.incarnation})
    store.open.set()
    assert (await running).is_error
    await nothing_left(two)
    assert await session.out(two, "cat f") == "x"


async def test_a_failed_start_on_restored_files_keeps_them(hosts: Hosts, monkeypatch: pytest.MonkeyPatch) -> None:
    one, two = await hosts.start("one"), await hosts.start("two")
    session = Session()
    await session.bash(one, "echo x > f")
    known = session.workspace
    with monkeypatch.context() as patch:
        patch.setattr("agents.hands.bubblewrap._NAMESPACES", ("user", "pid", "nonsense"))
        assert (await session.bash(two, "cat f")).is_error
    await nothing_left(two, "sesn_a")
    session.workspace = known
    result = await session.bash(two, "cat f")
    assert (said(result), told(result)) == ("x", wrapped(notices.RESTORED))


async def test_calls_that_wait_for_a_place_start_nothing_once_the_host_stops(hosts: Hosts) -> None:
    host = await hosts.start(max_live=1)
    busy = asyncio.create_task(Session().bash(host, "sleep 30"))
    await until(lambda: host.stats().provisions == 1)
    waiting = asyncio.create_task(Session("sesn_b").bash(host, "echo x > f"))
    await asyncio.sleep(0)
    await host.stop()
    assert (await busy).is_error
    assert (await waiting).is_error
    assert not sandbox_processes(str(host.root))
    assert host._root.sessions() == ["sesn_a"]


async def test_a_seed_that_is_half_copied_is_never_a_sessions_workspace(
    hosts: Hosts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seed = tmp_path / "seed"
    seed.mkdir()
    for number in range(5):
        (seed / f"f{number}").write_text("seed")
    host = await hosts.start(seed_dir=seed)
    real, copied = shutil.copy2, list[Any]()

    def copy(source: Any, target: Any, **options: Any) -> Any:
        if len(copied) == 3:
            raise OSError(28, "No space left on device")
        copied.append(source)
        return real(source, target, **options)

    with monkeypatch.context() as patch:
        patch.setattr("agents.hands.seed.shutil.copy2", copy)
        assert (await Session().bash(host, "ls")).is_error
    await nothing_left(host)
    assert await Session().out(host, "ls | wc -l") == "5"
