"""The built-in tools, each through the API and a real sandbox (spec C.1)."""

from __future__ import annotations

import asyncio
import re
import time

import pytest

from tests.conformance.requirements import requirement
from tests.conformance.scene import (
    CUSTOM,
    Json,
    Scene,
    bash,
    calls,
    message,
    of_type,
    ordered_results,
    says,
    text_of,
    toolset,
)
from tests.conformance.test_sending import PNG


def write(path: str, content: str) -> tuple[str, Json]:
    return "write", {"file_path": path, "content": content}


def outcome(result: Json) -> tuple[str, bool]:
    assert set(result) == {"id", "type", "tool_use_id", "content", "is_error", "processed_at"}
    return text_of(result), result["is_error"]


async def rounds(scene: Scene, *each: tuple[str, Json]) -> list[Json]:
    """Run the calls one after the other, each in an answer of its own."""
    await scene.answers(*[calls(call) for call in each], says("done"))
    session = await scene.session(toolset())
    return ordered_results(await scene.turn(session))


@requirement("tools:bash")
async def test_bash_merges_its_streams_and_reports_failure(scene: Scene) -> None:
    results = await rounds(
        scene, bash("echo out; echo err >&2"), bash("echo half; exit_code=7; (exit 7)"), bash("true")
    )
    assert outcome(results[0]) == ("out\nerr", False)
    text, failed = outcome(results[1])
    assert failed and text.startswith("half")
    text, failed = outcome(results[2])
    assert text and not failed


@requirement("tools:bash:persists")
async def test_the_shell_keeps_its_directory_and_variables_between_calls_and_turns(scene: Scene) -> None:
    await scene.answers(
        calls(bash("mkdir -p deep/er && cd deep/er && export WORD=kept && plain=too && f() { echo called; }")),
        calls(bash("pwd; echo $WORD $plain; f")),
        says("one"),
        calls(bash("pwd; echo $WORD; cd ..")),
        calls(bash("pwd")),
        says("two"),
    )
    session = await scene.session(toolset())
    first = ordered_results(await scene.turn(session))
    assert outcome(first[1]) == ("/workspace/deep/er\nkept too\ncalled", False)
    second = ordered_results(await scene.turn(session))
    assert [text_of(result) for result in second] == ["/workspace/deep/er\nkept", "/workspace/deep"]


@requirement("tools:bash:timeout")
async def test_a_command_over_its_time_is_stopped_and_the_shell_wants_a_restart(scene: Scene) -> None:
    started = time.monotonic()
    results = await rounds(
        scene,
        bash("echo begun; sleep 60", timeout_ms=300),
        bash("echo again"),
        ("bash", {"restart": True}),
        bash("echo back"),
    )
    assert time.monotonic() - started < 20
    text, failed = outcome(results[0])
    assert failed and "begun" in text and "timed out" in text
    text, failed = outcome(results[1])
    assert failed and "restart" in text
    assert not outcome(results[2])[1]
    assert outcome(results[3]) == ("back", False)


@requirement("tools:bash:timeout")
async def test_exit_ends_the_shell_until_it_is_restarted(scene: Scene) -> None:
    results = await rounds(scene, bash("exit 3"), bash("echo x"), ("bash", {"restart": True}), bash("echo back"))
    assert [outcome(result)[1] for result in results] == [True, True, False, False]
    assert "restart" in text_of(results[0])


@requirement("tools:read", "tools:write")
async def test_write_and_read_round_trip(scene: Scene) -> None:
    content = "one\ntwo\nthré\n" + "four"
    results = await rounds(
        scene,
        write("a/b/c.txt", content),
        ("read", {"file_path": "a/b/c.txt"}),
        ("read", {"file_path": "/workspace/a/b/c.txt", "view_range": [2, 3]}),
        ("read", {"file_path": "a/b/c.txt", "view_range": [3, 0]}),
        ("read", {"file_path": "a/b/c.txt", "view_range": [4, -1]}),
        ("read", {"file_path": "none.txt"}),
        ("read", {"file_path": "a"}),
        write("a/b/c.txt", "new"),
        bash("cat a/b/c.txt"),
    )
    assert outcome(results[0]) == (f"wrote {len(content.encode())} bytes to a/b/c.txt", False)
    assert text_of(results[1]) == content
    assert text_of(results[2]).rstrip("\n") == "two\nthré"
    assert text_of(results[3]).rstrip("\n") == "thré\nfour"
    assert text_of(results[4]).rstrip("\n") == "four"
    assert outcome(results[5])[1] and "none.txt" in text_of(results[5])
    assert outcome(results[6])[1]
    assert outcome(results[8]) == ("new", False)


@requirement("tools:read:image")
async def test_an_image_is_read_as_an_image_and_shown_to_the_model(scene: Scene) -> None:
    results = await rounds(scene, bash(f"echo {PNG} | base64 -d > dot.png"), ("read", {"file_path": "dot.png"}))
    image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}}
    assert results[1]["content"] == [image]
    block = (await scene.shown(3))[2]["messages"][-1]["content"][0]
    assert block["content"] == [image]


@requirement("tools:edit")
async def test_edit_wants_one_exact_match_unless_told_otherwise(scene: Scene) -> None:
    edit = {"file_path": "e.txt", "old_string": "x", "new_string": "y"}
    results = await rounds(
        scene,
        write("e.txt", "x x z"),
        ("edit", edit),
        ("edit", {**edit, "replace_all": True}),
        ("edit", edit),
        ("edit", {**edit, "old_string": "z", "new_string": "w"}),
        bash("cat e.txt"),
    )
    assert [result["is_error"] for result in results] == [False, True, False, True, False, False]
    assert "2 replacements" in text_of(results[2]) and "1 replacement" in text_of(results[4])
    assert text_of(results[5]) == "y y w"


@requirement("tools:glob")
async def test_glob_lists_newest_first_with_absolute_paths(scene: Scene) -> None:
    results = await rounds(
        scene,
        bash("mkdir -p d/e; touch -d @1000 old.py; touch -d @3000 d/e/new.py; touch -d @2000 d/mid.py d/not.txt"),
        ("glob", {"pattern": "**/*.py"}),
        ("glob", {"pattern": "*.py", "path": "d"}),
        ("glob", {"pattern": "*.rs"}),
        ("glob", {"pattern": "/etc/*"}),
    )
    assert text_of(results[1]) == "/workspace/d/e/new.py\n/workspace/d/mid.py\n/workspace/old.py"
    assert text_of(results[2]) == "/workspace/d/mid.py"
    assert outcome(results[3])[1] is False and "/" not in text_of(results[3])
    assert outcome(results[4])[1] is True


@requirement("tools:grep")
async def test_grep_lists_path_line_and_text(scene: Scene) -> None:
    results = await rounds(
        scene,
        bash("mkdir d; printf 'alpha\\nbeta 42\\n' > d/a.txt; printf 'beta 7\\n' > b.txt"),
        ("grep", {"pattern": r"beta \d+"}),
        ("grep", {"pattern": "alpha", "path": "d"}),
        ("grep", {"pattern": "gamma"}),
        ("grep", {"pattern": "("}),
    )
    lines = sorted(text_of(results[1]).splitlines())
    assert [re.sub(r"^(/workspace|\.)/", "", line) for line in lines] == ["b.txt:1:beta 7", "d/a.txt:2:beta 42"]
    assert text_of(results[2]).endswith("a.txt:1:alpha")
    assert outcome(results[3])[1] is False and "gamma" not in text_of(results[3])
    assert outcome(results[4])[1] is True


@requirement("tools:large-output")
async def test_a_long_output_is_previewed_and_kept_whole_in_a_file(scene: Scene) -> None:
    await scene.answers(calls(bash("seq 1 40000")), says("done"))
    session = await scene.session(toolset())
    [result] = ordered_results(await scene.turn(session))
    text = text_of(result)
    assert len(text) <= 100_000 and text.startswith("1\n2\n") and text.rstrip().endswith("40000")
    found = re.search(r"(/\S+\.txt)", text)
    assert found, text[7000:9000]
    await scene.answers(calls(bash(f"wc -c < {found[1]}; sed -n 20000p {found[1]}")), says("done"))
    [looked] = ordered_results(await scene.turn(session))
    assert text_of(looked).split() == [str(len("".join(f"{n}\n" for n in range(1, 40001)))), "20000"]


@requirement("tools:parallel")
async def test_parallel_calls_run_side_by_side_and_each_has_one_result(scene: Scene) -> None:
    # Each call waits for the other's file, so they end only if they run at the same time.
    meet = "touch {0}; until [ -e {1} ]; do sleep 0.01; done; echo {0}"
    uses = [bash(meet.format("a", "b")), bash(meet.format("b", "a")), ("grep", {"pattern": "x"}), write("w", "x")]
    async with asyncio.timeout(20):
        results = await scene.results(*uses)
    assert [text_of(result) for result in results[:2]] == ["a", "b"]
    assert len(results) == 4 and not any(result["is_error"] for result in results)
    content = (await scene.shown(2))[1]["messages"][-1]["content"]
    assert [block["tool_use_id"] for block in content] == [result["tool_use_id"] for result in results]


@requirement("tools:bad-input")
@pytest.mark.parametrize(
    "name, given, field",
    [
        ("bash", {}, "command"),
        ("bash", {"command": "true", "cwd": "/"}, "cwd"),
        ("bash", {"command": ["ls"]}, "command"),
        ("read", {"path": "x"}, "file_path"),
        ("read", {"file_path": "x", "view_range": [1]}, "view_range"),
        ("edit", {"file_path": "x", "old_string": "", "new_string": "y"}, "old_string"),
        ("grep", {"pattern": 3}, "pattern"),
    ],
)
async def test_input_that_does_not_fit_is_an_error_naming_the_field(
    scene: Scene, name: str, given: Json, field: str
) -> None:
    [result] = await scene.results((name, given))
    assert result["is_error"] is True and field in text_of(result)


@requirement("tools:bad-input")
async def test_arguments_that_are_not_json_are_denied_and_told_to_the_model(scene: Scene) -> None:
    broken = {"content": [{"type": "tool_use", "name": "bash", "arguments": '{"command": "tou'}]}
    await scene.answers(broken, says("sorry"))
    log = await scene.turn(await scene.session(toolset()))
    [use] = of_type(log, "agent.tool_use")
    [result] = ordered_results(log)
    assert use["evaluated_permission"] == "deny" and result["is_error"] is True
    assert log[-1]["stop_reason"] == {"type": "end_turn"}


@requirement("tools:cut-off")
@pytest.mark.parametrize("written", ['{"command": "tou', " "])
async def test_a_call_in_which_the_answer_was_cut_off_is_not_run(scene: Scene, written: str) -> None:
    cut = {"content": [{"type": "tool_use", "name": "weather", "arguments": written}], "stop_reason": "max_tokens"}
    await scene.answers(cut, says("sorry"))
    log = await scene.turn(await scene.session(CUSTOM))
    assert of_type(log, "agent.custom_tool_use") == [], "its client would run it"
    [result] = ordered_results(log)
    assert result["is_error"] is True
    assert log[-1]["stop_reason"] == {"type": "end_turn"}


@requirement("tools:isolation")
async def test_sessions_do_not_see_each_others_files(scene: Scene) -> None:
    await scene.answers(calls(bash("echo secret > mine.txt; ls /workspace")), says("done"))
    first = await scene.session(toolset())
    assert text_of(ordered_results(await scene.turn(first))[0]) == "mine.txt"
    await scene.answers(
        calls(bash("ls -A /workspace; find /workspace /tmp /mnt /home /var -name mine.txt 2>/dev/null; true")),
        says("done"),
    )
    second = await scene.session(toolset())
    assert "mine.txt" not in text_of(ordered_results(await scene.turn(second))[0])


@requirement("tools:isolation")
async def test_archiving_ends_the_sandbox_but_not_the_log(scene: Scene) -> None:
    await scene.answers(calls(bash("echo kept")), says("done"))
    session = await scene.session(toolset())
    log = await scene.turn(session, message())
    await scene.client.beta.sessions.archive(session)
    assert (await scene.log(session))[: len(log)] == log
