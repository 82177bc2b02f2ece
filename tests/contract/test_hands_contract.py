"""What every kind of hands must do; run against the in-memory twin and both real drivers.

Bug class this catches: a driver that answers twice or never, loses a shell's state, runs a repeated call
again, or reports a failure in words of its own.
"""

from __future__ import annotations

import asyncio
import base64
import itertools
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest

from agents.config import SandboxSettings
from agents.hands.host import SandboxHost
from agents.hands.memory import MemoryHands
from agents.hands.port import CallNotSent, Hands, ToolCall, ToolResult, Workspace
from tests.open_directory import open_directory

_ids = itertools.count()


class Driver:
    """A kind of hands with the shorthand that the tests use."""

    def __init__(self, hands: Hands) -> None:
        self.hands = hands

    async def batch(self, *calls: tuple[str, dict[str, Any]], session: str = "sesn_a") -> list[ToolResult]:
        """Run the calls together and return their results in the order of the calls."""
        made = [ToolCall(f"call_{next(_ids)}", name, body) for name, body in calls]
        found = {result.call_id: result async for result in self.hands.execute(Workspace(session), made)}
        assert len(found) == len(made)
        return [found[call.call_id] for call in made]

    async def one(self, name: str, session: str = "sesn_a", **body: Any) -> ToolResult:
        return (await self.batch((name, body), session=session))[0]

    async def bash(self, command: str, session: str = "sesn_a", **body: Any) -> ToolResult:
        return await self.one("bash", session, command=command, **body)


def text(result: ToolResult) -> str:
    assert [block["type"] for block in result.content] == ["text"]
    return result.content[0]["text"]


@pytest.fixture(params=["memory", "bubblewrap", "process"])
async def driver(request: pytest.FixtureRequest) -> AsyncIterator[Driver]:
    if request.param == "memory":
        yield Driver(MemoryHands())
        return
    with open_directory("hands-") as base:
        host = SandboxHost(SandboxSettings(driver=request.param, warm=1), base / "sandboxes")
        await host.start()
        try:
            yield Driver(host)
        finally:
            await host.stop()


async def test_bash_answers_with_the_output_of_the_command(driver: Driver) -> None:
    result = await driver.bash("echo hello world")
    assert (text(result), result.is_error) == ("hello world", False)
    assert result.seconds >= 0


async def test_an_empty_output_becomes_a_fixed_placeholder(driver: Driver) -> None:
    assert text(await driver.bash("true")) == "(no output)"


async def test_a_non_zero_exit_is_an_error_with_the_output(driver: Driver) -> None:
    result = await driver.bash("echo before; false")
    assert (text(result), result.is_error) == ("before", True)


async def test_an_unknown_command_is_an_error_that_says_so(driver: Driver) -> None:
    result = await driver.bash("no-such-command-here")
    assert result.is_error
    assert "command not found" in text(result)


async def test_the_working_directory_and_exported_variables_survive_calls(driver: Driver) -> None:
    await driver.bash("export COLOUR=blue; cd /")
    assert text(await driver.bash("echo $COLOUR; pwd")) == "blue\n/"


async def test_a_command_over_its_time_limit_is_an_error_and_asks_for_a_restart(driver: Driver) -> None:
    result = await driver.bash("sleep 30", timeout_ms=100)
    assert result.is_error
    assert "timed out after 0.1s" in text(result)
    refused = await driver.bash("echo still here")
    assert refused.is_error
    assert "restart" in text(refused)


async def test_file_tools_work_on_while_the_shell_waits_for_its_restart(driver: Driver) -> None:
    await driver.one("write", file_path="kept.txt", content="kept")
    await driver.bash("sleep 30", timeout_ms=100)
    assert text(await driver.one("read", file_path="kept.txt")) == "kept"
    assert text(await driver.one("grep", pattern="kept")).endswith("kept.txt:1:kept")


async def test_a_restart_gives_a_fresh_shell_on_the_same_files(driver: Driver) -> None:
    await driver.bash("export A=1; echo data > kept.txt")
    await driver.bash("exit 3")
    assert text(await driver.one("bash", restart=True)) == "bash session restarted"
    assert text(await driver.bash("echo [$A]; cat kept.txt")) == "[]\ndata"


async def test_leaving_the_shell_is_an_error_that_names_the_status(driver: Driver) -> None:
    result = await driver.bash("exit 3")
    assert result.is_error
    assert "3" in text(result)
    assert "restart" in text(await driver.bash("echo no"))


async def test_a_restart_runs_before_the_commands_that_follow_it_in_the_batch(driver: Driver) -> None:
    await driver.bash("export A=1")
    results = await driver.batch(("bash", {"restart": True}), ("bash", {"command": "echo [$A]"}))
    assert [text(result) for result in results] == ["bash session restarted", "[]"]


async def test_a_broken_command_is_an_error_and_the_shell_lives_on(driver: Driver) -> None:
    assert (await driver.bash("echo 'never closed")).is_error
    assert text(await driver.bash("echo alive")) == "alive"


async def test_parallel_bash_calls_run_at_the_same_time(driver: Driver) -> None:
    await driver.bash("true")
    began = time.monotonic()
    results = await driver.batch(*[("bash", {"command": "sleep 0.2; echo done"})] * 4)
    assert time.monotonic() - began < 0.6
    assert [text(result) for result in results] == ["done"] * 4


async def test_parallel_calls_come_back_as_they_finish(driver: Driver) -> None:
    calls = [
        ToolCall(f"slow_{next(_ids)}", "bash", {"command": "sleep 0.4"}),
        ToolCall(f"fast_{next(_ids)}", "bash", {"command": "echo fast"}),
    ]
    order = [result.call_id async for result in driver.hands.execute(Workspace("sesn_a"), calls)]
    assert order == [calls[1].call_id, calls[0].call_id]


async def test_parallel_calls_see_the_shell_and_their_exports_come_back_in_call_order(driver: Driver) -> None:
    await driver.bash("export SHARED=base; cd /")
    results = await driver.batch(
        ("bash", {"command": "sleep 0.2; export WINNER=first; export ONE=1"}),
        ("bash", {"command": "echo $SHARED; pwd; export WINNER=second"}),
    )
    assert text(results[1]) == "base\n/"
    assert text(await driver.bash("echo $WINNER $ONE $SHARED")) == "second 1 base"


async def test_a_change_of_directory_in_a_parallel_call_comes_back(driver: Driver) -> None:
    await driver.batch(("bash", {"command": "cd /"}), ("bash", {"command": "true"}))
    assert text(await driver.bash("pwd")) == "/"


async def test_a_parallel_call_that_leaves_or_times_out_spares_the_shell(driver: Driver) -> None:
    await driver.bash("export KEPT=yes")
    left, late, fine = await driver.batch(
        ("bash", {"command": "exit 5"}),
        ("bash", {"command": "sleep 30", "timeout_ms": 100}),
        ("bash", {"command": "echo fine"}),
    )
    assert left.is_error
    assert late.is_error
    assert "timed out" in text(late)
    assert text(fine) == "fine"
    assert text(await driver.bash("echo $KEPT")) == "yes"


async def test_write_then_read_gives_the_exact_content(driver: Driver) -> None:
    content = "one\r\ntwo\n\nümläut \u2603 no newline at the end"
    result = await driver.one("write", file_path="deep/er/file.txt", content=content)
    assert text(result) == f"wrote {len(content.encode())} bytes to deep/er/file.txt"
    assert text(await driver.one("read", file_path="deep/er/file.txt")) == content


async def test_the_shell_sees_what_write_wrote_and_read_sees_what_the_shell_wrote(driver: Driver) -> None:
    await driver.one("write", file_path="a.txt", content="from write\n")
    assert text(await driver.bash("cat a.txt")) == "from write"
    await driver.bash("echo from shell > b.txt")
    assert text(await driver.one("read", file_path="b.txt")) == "from shell\n"


@pytest.mark.parametrize(
    ("span", "expected"),
    [([1, 1], "one"), ([2, 3], "two\nthree"), ([2, 0], "two\nthree\n"), ([2, -1], "two\nthree\n"), ([9, 12], None)],
)
async def test_view_range_selects_lines_counted_from_one(driver: Driver, span: list[int], expected: str | None) -> None:
    await driver.one("write", file_path="lines.txt", content="one\ntwo\nthree\n")
    result = await driver.one("read", file_path="lines.txt", view_range=span)
    assert text(result) == (expected or "(no output)")


async def test_reading_what_is_not_there_is_an_error_without_a_host_path(driver: Driver) -> None:
    result = await driver.one("read", file_path="missing.txt")
    assert result.is_error
    assert text(result) == "read: missing.txt: no such file or directory"


async def test_reading_a_directory_is_an_error(driver: Driver) -> None:
    await driver.one("write", file_path="folder/x", content="x")
    assert "is a directory" in text(await driver.one("read", file_path="folder"))


async def test_text_over_the_size_cap_needs_a_view_range(driver: Driver) -> None:
    await driver.one("write", file_path="big.txt", content="0123456789abcde\n" * 20_000)
    refused = await driver.one("read", file_path="big.txt")
    assert refused.is_error
    assert "view_range" in text(refused)
    assert text(await driver.one("read", file_path="big.txt", view_range=[19_999, 20_000])) == (
        "0123456789abcde\n0123456789abcde"
    )


async def test_an_image_comes_back_as_a_block(driver: Driver) -> None:
    await driver.one("write", file_path="dot.png", content="not really a picture")
    result = await driver.one("read", file_path="dot.png")
    data = base64.b64encode(b"not really a picture").decode()
    assert result.content == [{"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": data}}]


async def test_a_pdf_comes_back_as_a_document(driver: Driver) -> None:
    await driver.one("write", file_path="paper.pdf", content="%PDF-1.4")
    assert (await driver.one("read", file_path="paper.pdf")).content[0]["type"] == "document"


async def test_edit_replaces_a_unique_match(driver: Driver) -> None:
    await driver.one("write", file_path="e.txt", content="alpha beta gamma")
    result = await driver.one("edit", file_path="e.txt", old_string="beta", new_string="BETA")
    assert text(result) == "edited e.txt (1 replacement)"
    assert text(await driver.one("read", file_path="e.txt")) == "alpha BETA gamma"


async def test_edit_refuses_an_ambiguous_match_unless_it_replaces_all(driver: Driver) -> None:
    await driver.one("write", file_path="e.txt", content="a a a")
    refused = await driver.one("edit", file_path="e.txt", old_string="a", new_string="b")
    assert refused.is_error
    assert "3 times" in text(refused)
    result = await driver.one("edit", file_path="e.txt", old_string="a", new_string="b", replace_all=True)
    assert text(result) == "edited e.txt (3 replacements)"
    assert text(await driver.one("read", file_path="e.txt")) == "b b b"


async def test_edit_says_when_the_text_is_not_there(driver: Driver) -> None:
    await driver.one("write", file_path="e.txt", content="abc")
    result = await driver.one("edit", file_path="e.txt", old_string="xyz", new_string="")
    assert (text(result), result.is_error) == ("edit: old_string not found in e.txt", True)


async def test_glob_lists_absolute_paths_newest_first(driver: Driver) -> None:
    for name in ("src/old.py", "src/deep/new.py", "notes.txt"):
        await driver.one("write", file_path=name, content="x")
    lines = text(await driver.one("glob", pattern="**/*.py")).splitlines()
    assert [line.rpartition("/")[2] for line in lines] == ["new.py", "old.py"]
    assert all(line.startswith("/") and "/workspace/src/" in line for line in lines)


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("*.py", ["top.py"]),
        ("src/*.py", ["a.py"]),
        ("src/**/*.py", ["a.py", "b.py"]),
        ("**/*.{py,md}", ["README.md", "a.py", "b.py", "top.py"]),
        ("s?c/[a-b].py", ["a.py"]),
        ("*/*/b.py", ["b.py"]),
    ],
)
async def test_glob_patterns(driver: Driver, pattern: str, names: list[str]) -> None:
    for name in ("top.py", "README.md", "src/a.py", "src/deep/b.py"):
        await driver.one("write", file_path=name, content="x")
    lines = text(await driver.one("glob", pattern=pattern)).splitlines()
    assert sorted(line.rpartition("/")[2] for line in lines) == names


async def test_glob_searches_below_a_given_path(driver: Driver) -> None:
    await driver.one("write", file_path="one/x.txt", content="x")
    await driver.one("write", file_path="two/x.txt", content="x")
    assert text(await driver.one("glob", pattern="*.txt", path="two")).endswith("/two/x.txt")


async def test_glob_without_a_match_says_so(driver: Driver) -> None:
    await driver.one("write", file_path="x.txt", content="x")
    result = await driver.one("glob", pattern="*.rs")
    assert (text(result), result.is_error) == ("no matches", False)


@pytest.mark.parametrize("pattern", ["/etc/*", "../*", "a/../../*"])
async def test_glob_refuses_patterns_that_leave_the_directory(driver: Driver, pattern: str) -> None:
    result = await driver.one("glob", pattern=pattern)
    assert result.is_error
    assert text(result).startswith("glob: pattern:")


async def test_grep_gives_path_line_and_text(driver: Driver) -> None:
    await driver.one("write", file_path="src/a.txt", content="first\nsecond match\n")
    await driver.one("write", file_path="src/b.txt", content="match here\n")
    lines = text(await driver.one("grep", pattern=r"ma\w+h")).splitlines()
    assert [line.rpartition("/src/")[2] for line in lines] == ["a.txt:2:second match", "b.txt:1:match here"]


async def test_grep_in_one_file_still_names_it(driver: Driver) -> None:
    await driver.one("write", file_path="a.txt", content="yes\n")
    assert text(await driver.one("grep", pattern="yes", path="a.txt")).endswith("/a.txt:1:yes")


async def test_grep_without_a_match_says_so(driver: Driver) -> None:
    await driver.one("write", file_path="a.txt", content="yes\n")
    result = await driver.one("grep", pattern="nothing like it")
    assert (text(result), result.is_error) == ("no matches", False)


async def test_grep_with_a_broken_expression_is_an_error(driver: Driver) -> None:
    await driver.one("write", file_path="a.txt", content="yes\n")
    result = await driver.one("grep", pattern="(unclosed")
    assert result.is_error
    assert text(result).startswith("grep: regex parse error")


@pytest.mark.parametrize(
    ("name", "body", "named"),
    [
        ("bash", {}, "command"),
        ("bash", {"command": "true", "cwd": "/"}, "cwd"),
        ("bash", {"command": 5}, "command"),
        ("bash", {"command": "true", "timeout_ms": -1}, "timeout_ms"),
        ("bash", {"restart": "yes"}, "restart"),
        ("read", {}, "file_path"),
        ("read", {"file_path": "x", "view_range": [1]}, "view_range"),
        ("read", {"file_path": "x", "view_range": "1-2"}, "view_range"),
        ("write", {"file_path": "x"}, "content"),
        ("edit", {"file_path": "x", "old_string": "", "new_string": "y"}, "old_string"),
        ("glob", {"pattern": None}, "pattern"),
        ("grep", {"pattern": ""}, "pattern"),
        ("fly", {}, "fly"),
    ],
)
async def test_bad_input_is_an_error_that_names_the_field(
    driver: Driver, name: str, body: dict[str, Any], named: str
) -> None:
    result = (await driver.batch((name, body)))[0]
    assert result.is_error
    assert named in text(result)


async def test_one_bad_call_does_not_spoil_its_batch(driver: Driver) -> None:
    bad, good, file = await driver.batch(
        ("bash", {"nonsense": 1}), ("bash", {"command": "echo fine"}), ("write", {"file_path": "f", "content": ""})
    )
    assert bad.is_error
    assert text(good) == "fine"
    assert not file.is_error


async def test_a_repeated_call_id_is_answered_from_memory(driver: Driver) -> None:
    call = ToolCall("call_repeat", "bash", {"command": "echo once >> count.txt; cat count.txt"})
    first = [result async for result in driver.hands.execute(Workspace("sesn_a"), [call])]
    again = [result async for result in driver.hands.execute(Workspace("sesn_a"), [call])]
    assert first == again
    assert text(await driver.bash("cat count.txt")) == "once"


async def test_a_repeat_while_the_first_runs_waits_for_it(driver: Driver) -> None:
    call = ToolCall("call_repeat", "bash", {"command": "sleep 0.2; echo once >> count.txt"})

    async def run() -> list[ToolResult]:
        return [result async for result in driver.hands.execute(Workspace("sesn_a"), [call])]

    first, second = await asyncio.gather(run(), run())
    assert first == second
    assert text(await driver.bash("cat count.txt")) == "once"


async def test_the_same_call_id_in_two_sessions_is_two_calls(driver: Driver) -> None:
    call = ToolCall("call_same", "bash", {"command": "echo x >> f; cat f"})
    for session in ("sesn_a", "sesn_b"):
        (result,) = [result async for result in driver.hands.execute(Workspace(session), [call])]
        assert text(result) == "x"


async def place_of(driver: Driver, session: str = "sesn_a") -> str:
    host = driver.hands.place(Workspace(session))
    assert host is not None
    return host


async def test_closing_the_iterator_leaves_calls_running_for_who_asks_next(driver: Driver) -> None:
    await driver.bash("true")
    calls = [
        ToolCall(f"fast_{next(_ids)}", "read", {"file_path": "missing"}),
        ToolCall(f"slow_{next(_ids)}", "bash", {"command": "sleep 0.2; echo once >> count.txt; cat count.txt"}),
    ]
    results = driver.hands.execute(Workspace("sesn_a"), calls)
    assert (await anext(results)).call_id == calls[0].call_id
    await results.aclose()
    found = {result.call_id: result async for result in driver.hands.execute(Workspace("sesn_a"), calls)}
    assert text(found[calls[1].call_id]) == "once"


async def test_a_cancelled_call_stops_and_is_never_run_again(driver: Driver) -> None:
    await driver.bash("true")
    host = await place_of(driver)
    call = ToolCall("call_cancelled", "bash", {"command": "sleep 5; echo ran > ran.txt"})

    async def run() -> list[ToolResult]:
        return [result async for result in driver.hands.execute(Workspace("sesn_a"), [call], host=host)]

    first = asyncio.create_task(run())
    while not first.done():
        driver.hands.cancel("sesn_a", {"call_cancelled": host})
        await asyncio.wait({first}, timeout=0.01)
    for (result,) in (await first, await run()):
        assert result.is_error
        assert "cancelled" in text(result)


async def test_a_call_that_was_cancelled_before_it_came_does_not_run(driver: Driver) -> None:
    host = await place_of(driver)
    driver.hands.cancel("sesn_a", {"call_early": host})
    call = ToolCall("call_early", "write", {"file_path": "f", "content": "ran"})
    (result,) = [result async for result in driver.hands.execute(Workspace("sesn_a"), [call], host=host)]
    assert result.is_error and "cancelled" in text(result)
    assert "no such file" in text(await driver.one("read", file_path="f"))


async def test_a_call_for_another_incarnation_is_not_run(driver: Driver) -> None:
    call = ToolCall("call_elsewhere", "write", {"file_path": "f", "content": "ran"})
    with pytest.raises(CallNotSent):
        await anext(driver.hands.execute(Workspace("sesn_a"), [call], host="sandbox-host-9/0011"))
    driver.hands.cancel("sesn_a", {"call_elsewhere": "sandbox-host-9/0011"})
    (result,) = [result async for result in driver.hands.execute(Workspace("sesn_a"), [call])]
    assert not result.is_error


async def test_a_result_names_the_incarnation_that_ran_the_call(driver: Driver) -> None:
    host = await driver.hands.locate(Workspace("sesn_a"))
    assert (await driver.bash("true")).host == host == await place_of(driver)


async def test_the_deadline_of_a_call_bounds_it(driver: Driver) -> None:
    call = ToolCall("call_late", "bash", {"command": "sleep 30"}, deadline=0.2)
    began = time.monotonic()
    (result,) = [result async for result in driver.hands.execute(Workspace("sesn_a"), [call])]
    assert result.is_error
    assert "0.2s" in text(result)
    assert time.monotonic() - began < 5


async def test_sessions_do_not_share_files(driver: Driver) -> None:
    await driver.one("write", session="sesn_a", file_path="secret.txt", content="mine")
    assert "no such file" in text(await driver.one("read", session="sesn_b", file_path="secret.txt"))


async def test_release_keeps_files_and_ends_the_shell(driver: Driver) -> None:
    await driver.bash("export A=1; echo kept > f")
    await driver.hands.release("sesn_a", destroy=False)
    notice, output = (await driver.bash("echo [$A]; cat f")).content
    assert output["text"] == "[]\nkept"
    assert "shell is new" in notice["text"]
    assert text(await driver.bash("cat f")) == "kept"


async def test_release_with_destroy_removes_the_files(driver: Driver) -> None:
    await driver.bash("echo gone > f")
    await driver.hands.release("sesn_a", destroy=True)
    assert "no such file" in text(await driver.one("read", file_path="f"))


async def test_release_ends_a_call_that_nobody_waits_for(driver: Driver) -> None:
    await driver.bash("true")
    call = ToolCall("call_left", "bash", {"command": "sleep 30; echo late > f"})
    waiting = asyncio.create_task(anext(driver.hands.execute(Workspace("sesn_a"), [call])))
    await asyncio.wait({waiting}, timeout=0.05)
    waiting.cancel()
    await driver.hands.release("sesn_a", destroy=False)
    async with asyncio.timeout(10):
        (result,) = [result async for result in driver.hands.execute(Workspace("sesn_a"), [call])]
    assert result.is_error


async def test_releasing_an_unknown_session_does_nothing(driver: Driver) -> None:
    await driver.hands.release("sesn_never_seen", destroy=True)


async def test_an_empty_batch_yields_nothing(driver: Driver) -> None:
    assert [result async for result in driver.hands.execute(Workspace("sesn_a"), [])] == []
