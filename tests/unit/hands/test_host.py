"""The sandbox host: lazy sandboxes, a warm stock, a limit on live ones, and nothing left behind."""

from __future__ import annotations

import asyncio
import os
import subprocess
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import uvloop

from agents.clock import ManualClock
from agents.config import SandboxSettings
from agents.errors import Unavailable
from agents.hands import notices
from agents.hands.drivers import check
from agents.hands.host import SandboxHost
from agents.hands.port import PROVISION, CallRefused, ToolCall, Workspace
from agents.hands.sandbox import SandboxUnavailable
from tests.unit.hands.checkpoint_hosts import wrapped
from tests.unit.hands.conftest import Hands, Start, said, sandbox_processes, told
from tests.unit.waiting import until


async def test_nothing_runs_before_the_first_call(hands: Hands, place: Path) -> None:
    assert hands.host.stats().live == 0
    assert not sandbox_processes(str(place))


async def test_a_call_with_bad_input_starts_no_sandbox(hands: Hands) -> None:
    await hands.one("bash", nonsense=1)
    assert hands.host.stats().provisions == 0


async def test_a_warm_sandbox_is_claimed_and_the_stock_refilled(start: Start) -> None:
    hands = await start(warm=2)
    await until(lambda: hands.host.stats().warm == 2)
    assert await hands.out("pwd; echo data > f; cat f") == "/workspace\ndata"
    stats = hands.host.stats()
    assert (stats.provisions, stats.claims, stats.warm_hits, stats.live) == (1, 1, 1, 1)
    assert stats.claim_seconds > 0
    await until(lambda: hands.host.stats().warm == 2)
    assert (hands.host.root / "sesn_a" / "workspace" / "f").read_text() == "data\n"


async def test_a_dead_warm_sandbox_is_not_handed_out(start: Start) -> None:
    hands = await start(warm=1)
    await until(lambda: hands.host.stats().warm == 1)
    for pid in sandbox_processes(f"{hands.host.root}/.warm"):
        os.kill(pid, 9)
    (ready,) = hands.host._pool._provisioner.stock._ready[None]
    await until(lambda: not ready.sandbox.alive)
    assert await hands.out("echo fine") == "fine"
    assert hands.host.stats().warm_hits == 0


async def test_a_session_that_has_files_is_provisioned_on_them(start: Start) -> None:
    hands = await start(warm=1)
    await hands.out("echo kept > f")
    await hands.host.release("sesn_a", destroy=False)
    assert await hands.out("cat f") == "kept"
    assert hands.host.stats().provisions == 2


async def test_files_survive_a_restart_of_the_host(place: Path) -> None:
    for expected in ("", "kept\n"):
        host = SandboxHost(SandboxSettings(warm=0), place / "root")
        await host.start()
        hands = Hands(host)
        assert await hands.out("cat f 2>/dev/null; echo kept > f") == (expected.strip() or "(no output)")
        await host.stop()


async def test_the_longest_idle_sandbox_makes_place_for_a_new_one(start: Start) -> None:
    hands = await start(max_live=2)
    for session in ("sesn_1", "sesn_2", "sesn_1", "sesn_3"):
        await hands.out(f"echo {session} > f", session=session)
    stats = hands.host.stats()
    assert (stats.live, stats.evictions) == (2, 1)
    assert await hands.out("cat f", session="sesn_1") == "sesn_1"
    assert hands.host.stats().provisions == 3
    assert await hands.out("cat f", session="sesn_2") == "sesn_2"
    assert hands.host.stats().provisions == 4


async def test_a_busy_sandbox_is_passed_over_for_one_that_is_idle(start: Start) -> None:
    hands = await start(max_live=2)
    busy = asyncio.create_task(hands.out("until [ -e go ]; do sleep 0.02; done; echo done", session="sesn_1"))
    await until(lambda: hands.host.stats().provisions == 1)
    for session in ("sesn_2", "sesn_3", "sesn_4"):
        await hands.out("true", session=session)
    assert hands.host.stats().evictions == 2
    (hands.host.root / "sesn_1" / "workspace" / "go").touch()
    assert await busy == "done"
    await hands.out("true", session="sesn_5")
    assert hands.host.stats().evictions == 3
    await hands.out("true", session="sesn_1")
    assert hands.host.stats().provisions == 5


async def test_a_call_waits_while_every_place_is_busy(start: Start) -> None:
    hands = await start(max_live=1)
    busy = asyncio.create_task(hands.out("sleep 0.3", session="sesn_1"))
    await until(lambda: hands.host.stats().provisions == 1)
    assert await hands.out("echo mine", session="sesn_2") == "mine"
    assert busy.done()
    assert hands.host.stats().live == 1


async def test_a_call_that_waits_too_long_for_a_place_is_an_error_result(start: Start) -> None:
    hands = await start(max_live=1)
    busy = asyncio.create_task(hands.out("sleep 1", session="sesn_1"))
    await until(lambda: hands.host.stats().provisions == 1)
    call = ToolCall("late", "bash", {"command": "true"}, deadline=0.1)
    (result,) = [r async for r in hands.host.execute(Workspace("sesn_2"), [call])]
    assert result.is_error
    assert "0.1s" in said(result)
    await busy


async def test_an_idle_sandbox_is_put_away_and_comes_back_on_demand(start: Start) -> None:
    hands = await start(idle_seconds=0.2)
    await hands.out("echo kept > f; export A=1")
    await until(lambda: hands.host.stats().live == 0)
    assert not sandbox_processes(str(hands.host.root / "sesn_a"))
    assert await hands.out("cat f; echo [$A]") == "kept\n[]"


async def test_a_sandbox_that_is_asked_for_runs_and_what_the_model_must_be_told_waits_for_a_call(start: Start) -> None:
    hands = await start(idle_seconds=0.2)
    assert (await hands.one(PROVISION)).content == []
    assert hands.host.stats().live == 1
    await hands.bash("cd /tmp; echo x > f")
    await until(lambda: hands.host.stats().live == 0)
    result = await hands.one(PROVISION)
    assert (result.content, result.is_error, hands.host.stats().live) == ([], False, 1)
    assert told(await hands.bash("true")) == wrapped(notices.IDLE)


async def test_a_busy_sandbox_is_not_put_away(start: Start) -> None:
    hands = await start(idle_seconds=0.1)
    assert await hands.out("sleep 0.6; echo done") == "done"


async def test_a_killed_sandbox_is_an_error_for_its_call_and_new_for_the_next(hands: Hands) -> None:
    await hands.out("echo kept > f")
    running = asyncio.create_task(hands.bash("sleep 30"))
    await asyncio.sleep(0.1)
    for pid in sandbox_processes(str(hands.host.root / "sesn_a")):
        os.kill(pid, 9)
    result = await running
    assert result.is_error
    assert said(await hands.one("read", file_path="f")) == "kept\n"
    assert said(await hands.one("bash", restart=True)) == "bash session restarted"


async def test_a_sandbox_killed_between_calls_is_replaced_silently(hands: Hands) -> None:
    await hands.out("echo kept > f")
    for pid in sandbox_processes(str(hands.host.root / "sesn_a")):
        os.kill(pid, 9)
    await until(lambda: not hands.host._pool._sessions["sesn_a"]._sandbox.alive)
    assert await hands.out("cat f") == "kept"


async def test_calls_beyond_the_parallel_limit_wait_their_turn(start: Start) -> None:
    hands = await start(max_parallel_calls=2)
    await hands.out("true")
    began = time.monotonic()
    await hands.batch(*[("bash", {"command": "sleep 0.2"})] * 4)
    assert 0.4 <= time.monotonic() - began < 2


async def test_two_batches_of_one_session_do_not_disturb_each_other(hands: Hands) -> None:
    many = [("bash", {"command": f"sleep 0.05; echo {n}; export V{n}={n}"}) for n in range(3)]
    one, two, three = await asyncio.gather(hands.batch(*many), hands.out("echo alone"), hands.batch(*many))
    assert [said(result) for result in one] == ["0", "1", "2"]
    assert two == "alone"
    assert [said(result) for result in three] == ["0", "1", "2"]
    assert await hands.out("echo $V0$V1$V2") == "012"


async def test_cancelled_batches_leave_the_shell_usable(hands: Hands) -> None:
    await hands.out("export KEPT=1")
    for _ in range(5):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await hands.batch(*[("bash", {"command": "sleep 9"})] * 3, ("grep", {"pattern": "x"}))
    assert await hands.out("echo $KEPT") == "1"


async def test_a_batch_cancelled_while_its_sandbox_starts_leaves_nothing_behind(hands: Hands) -> None:
    for number in range(10):
        task = asyncio.create_task(hands.batch(*[("bash", {"command": "true"})] * 2, session=f"sesn_{number}"))
        await asyncio.sleep(0.001 * number)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    assert await hands.out("echo fine", session="sesn_0") == "fine"
    for number in range(10):
        await hands.host.release(f"sesn_{number}", destroy=True)
    await until(lambda: not sandbox_processes(str(hands.host.root)))
    assert hands.host.stats().live == 0


async def test_destroying_a_session_while_it_works_ends_the_work(hands: Hands) -> None:
    running = asyncio.create_task(hands.bash("sleep 30"))
    await until(lambda: hands.host.stats().live == 1)
    await asyncio.sleep(0.05)
    await hands.host.release("sesn_a", destroy=True)
    result = await running
    assert result.is_error
    assert not (hands.host.root / "sesn_a").exists()


async def test_stop_ends_every_sandbox_and_keeps_the_files(place: Path) -> None:
    host = SandboxHost(SandboxSettings(warm=2), place / "root")
    await host.start()
    hands = Hands(host)
    await hands.out("echo kept > f; sleep 100 &")
    await host.stop()
    assert not sandbox_processes(str(place))
    assert (place / "root" / "sesn_a" / "workspace" / "f").exists()
    assert list((place / "root" / ".warm").iterdir()) == []


async def test_a_host_that_is_not_running_says_so(place: Path) -> None:
    host = SandboxHost(SandboxSettings(), place / "root")
    with pytest.raises(Unavailable):
        await Hands(host).bash("true")


async def test_a_host_that_leaves_stays_for_who_may_ask_again_and_runs_nothing_new(place: Path) -> None:
    clock = ManualClock()
    host = SandboxHost(SandboxSettings(driver="process", warm=0), place / "root", clock=clock, linger=5)
    await host.start()
    workspace, call = Workspace("sesn_a"), ToolCall("call_1", "bash", {"command": "echo once | tee -a f"})
    try:
        [first] = [result async for result in host.execute(workspace, [call])]
        clock.advance(2)
        sleeping = clock.sleeping
        leaving = asyncio.create_task(host.drain())
        await until(lambda: clock.sleeping > sleeping)
        assert [result async for result in host.execute(workspace, [call], host=host.incarnation)] == [first]
        with pytest.raises(CallRefused):
            _ = [result async for result in host.execute(workspace, [replace(call, call_id="call_2")])]
        clock.advance(2.9)
        await asyncio.sleep(0)
        assert not leaving.done()
        clock.advance(0.1)
        await leaving
        assert (host.root / "sesn_a" / "workspace" / "f").read_text() == "once\n"
    finally:
        await host.stop()


async def test_a_session_id_that_names_no_directory_is_refused(hands: Hands) -> None:
    with pytest.raises(ValueError, match="session_id"):
        await hands.bash("true", session="../escape")


async def test_without_bubblewrap_calls_say_how_to_install_it(
    start: Start, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for program in ("setpriv", "rg", "rm", "du", "chmod"):
        (tmp_path / program).symlink_to(f"/usr/bin/{program}")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert any("apt-get install bubblewrap" in problem for problem in check(SandboxSettings()))
    hands = await start(warm=2)
    for name, body in [("bash", {"command": "true"}), ("write", {"file_path": "f", "content": "x"})]:
        result = await hands.one(name, **body)
        assert result.is_error
        assert "apt-get install bubblewrap" in said(result)
        assert "sandbox.driver: process" in said(result)


async def test_the_none_driver_refuses_in_the_same_words(start: Start) -> None:
    hands = await start(driver="none")
    for result in await hands.batch(*[("bash", {"command": "true"})] * 2, ("grep", {"pattern": "x"})):
        assert result.is_error
        assert "apt-get install bubblewrap" in said(result)
    assert check(SandboxSettings(driver="none"))


async def test_a_sandbox_that_fails_to_start_is_an_error_and_frees_its_place(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    hands = await start(max_live=1)

    async def fail(*_: Any, **__: Any) -> Any:
        raise SandboxUnavailable("the sandbox did not start: no space")

    with monkeypatch.context() as patch:
        patch.setattr(hands.host._driver, "start", fail)
        result = await hands.bash("true")
        assert said(result) == "the sandbox did not start: no space"
    assert hands.host.stats().failures == 1
    assert await hands.out("echo again", session="sesn_b") == "again"


async def test_bwraps_own_complaint_reaches_the_model(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    hands = await start()
    monkeypatch.setattr("agents.hands.bubblewrap._NAMESPACES", ("user", "pid", "nonsense"))
    result = await hands.bash("true")
    assert result.is_error
    assert "unshare-nonsense" in said(result)


async def test_a_fault_of_ours_is_an_error_result_without_details(
    hands: Hands, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agents.hands.session_sandbox.run_file_tool", lambda *_: 1 / 0)
    result = await hands.one("read", file_path="f")
    assert (said(result), result.is_error) == ("read: the tool failed inside the server", True)
    result = await hands.one("write", file_path="f", content="x")
    assert (
        said(result).startswith("write: the tool failed inside the server and may have taken effect")
        and result.is_error
    )


async def test_no_networking_gives_a_sandbox_the_hosts_network(hands: Hands) -> None:
    for networking in (None, {"type": "limited", "allowed_hosts": ["example.com"]}, {"type": "unrestricted"}):
        hands.environment = {"type": "cloud", "networking": networking}
        own = os.readlink("/proc/self/ns/net")
        assert await hands.out("ls -l /proc/self/ns/net | sed 's/.*-> //'") != own


async def test_a_warm_sandbox_serves_whatever_networking_is_asked_for(start: Start) -> None:
    hands = await start(warm=1)
    await until(lambda: hands.host.stats().warm == 1)
    hands.environment = {"networking": {"type": "unrestricted"}}
    await hands.out("true", session="sesn_1")
    assert hands.host.stats().warm_hits == 1


async def test_images_and_documents_have_their_limits(hands: Hands) -> None:
    await hands.out("head -c 4000000 /dev/zero > big.png; head -c 3000000 /dev/zero > ok.png; truncate -s 21M big.pdf")
    assert "byte limit for its kind" in said(await hands.one("read", file_path="big.png"))
    assert (await hands.one("read", file_path="ok.png")).content[0]["type"] == "image"
    assert "byte limit for its kind" in said(await hands.one("read", file_path="big.pdf"))
    assert "view_range" in said(await hands.one("read", file_path="ok.png", view_range=[1, 2]))


async def test_binary_files_are_refused_and_large_ones_streamed(hands: Hands) -> None:
    await hands.out("head -c 1000 /dev/urandom > noise; seq 1000000 > numbers")
    assert "not valid UTF-8" in said(await hands.one("read", file_path="noise"))
    assert "over the 262144-byte limit" in said(await hands.one("read", file_path="numbers"))
    assert "over the 262144-byte limit" in said(
        await hands.one("edit", file_path="numbers", old_string="1", new_string="2")
    )
    assert said(await hands.one("read", file_path="numbers", view_range=[999_999, 0])) == "999999\n1000000\n"
    assert "262144-byte limit" in said(await hands.one("read", file_path="numbers", view_range=[1, 500_000]))


async def test_glob_answers_with_at_most_two_hundred_paths(hands: Hands) -> None:
    await hands.out("for i in $(seq 250); do : > f$i; done; touch -d '+1 day' f7")
    lines = said(await hands.one("glob", pattern="f*")).splitlines()
    assert len(lines) == 200
    assert lines[0] == "/workspace/f7"


async def test_grep_honours_ignore_files_and_cuts_endless_lines(hands: Hands) -> None:
    await hands.out(
        "mkdir -p .git x; echo secret > .gitignore; echo match > secret; head -c 5000 /dev/zero | tr '\\0' m > x/l"
    )
    await hands.one("write", file_path="a.txt", content="match\n")
    assert said(await hands.one("grep", pattern="match")) == "/workspace/a.txt:1:match"
    assert len(said(await hands.one("grep", pattern="mmm"))) < 200


async def test_a_file_written_by_a_tool_belongs_to_the_agent(hands: Hands) -> None:
    await hands.one("write", file_path="d/script.sh", content="echo ran\n")
    assert (
        await hands.out("stat -c %U d d/script.sh; chmod +x d/script.sh && echo more >> d/script.sh") == "agent\nagent"
    )
    await hands.out("chmod 000 d/script.sh")
    assert "permission denied" in said(await hands.one("read", file_path="d/script.sh"))


def test_a_host_works_on_uvloop(place: Path) -> None:
    async def work() -> list[str]:
        host = SandboxHost(SandboxSettings(warm=1), place / "root")
        await host.start()
        hands = Hands(host)
        try:
            results = await hands.batch(*[("bash", {"command": f"sleep 0.1; echo {n}"}) for n in range(3)])
            late = await hands.bash("sleep 9", timeout_ms=100)
            return [said(result) for result in (*results, late)]
        finally:
            await host.stop()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        answers = runner.run(work())
    assert answers[:3] == ["0", "1", "2"]
    assert "timed out" in answers[3]
    assert not sandbox_processes(str(place))


def states_of_children() -> str:
    done = subprocess.run(["ps", "--ppid", str(os.getpid()), "-o", "stat="], capture_output=True, text=True)
    return done.stdout


async def test_many_sessions_leave_no_descriptor_thread_or_process(start: Start) -> None:
    hands = await start(warm=1, warm_most=1)

    async def session(number: int) -> None:
        await hands.batch(("bash", {"command": "echo x > f"}), ("grep", {"pattern": "x"}), session=f"sesn_{number}")
        await hands.host.release(f"sesn_{number}", destroy=True)

    await session(0)
    await until(lambda: hands.host.stats().warm == 1)
    before = len(os.listdir("/proc/self/fd"))
    for number in range(1, 16):
        await session(number)
    await until(lambda: hands.host.stats().warm == 1)
    assert len(os.listdir("/proc/self/fd")) <= before
    assert sorted(os.listdir(hands.host.root)) == [".layers", ".trash", ".warm"]
    assert os.listdir(hands.host.root / ".trash") == []
    await until(lambda: "Z" not in states_of_children())
