"""The timeline: every event becomes the line a person needs, and nothing foreign reaches the terminal (ours)."""

from __future__ import annotations

import io
from typing import Any

import pytest
from rich.console import Console

from agents.commands.timeline import Entry, content_lines, describe, input_line, printable
from agents.commands.timeline_view import TimelineView, plain_lines
from agents.sessions.events import EventType

AT = "2026-11-21T10:00:00.000000Z"
LATER = "2026-11-21T10:00:01.250000Z"


def event(kind: str, at: str | None = AT, **body: Any) -> dict[str, Any]:
    return {"id": "sevt_1", "type": kind, "processed_at": at, **body}


def text(*parts: str) -> list[dict[str, Any]]:
    return [{"type": "text", "text": part} for part in parts]


def told(kind: str, **body: Any) -> Entry:
    entry = describe(event(kind, **body), {})
    assert entry is not None
    return entry


def test_a_user_message_is_shown_once_it_is_processed() -> None:
    assert describe(event("user.message", at=None, content=text("hi")), {}) is None
    assert told("user.message", content=text("hi")) == Entry("you", "hi")


def test_a_message_without_text_is_named_as_attachment() -> None:
    assert told("user.message", content=[{"type": "image"}]).text == "[attachment]"


def test_the_brain_speaks_in_its_own_words() -> None:
    assert told("agent.message", content=text("One.", "Two.")) == Entry("brain", "One.\nTwo.")


@pytest.mark.parametrize(
    ("name", "values", "line"),
    [
        ("bash", {"command": "ls -l"}, "$ ls -l"),
        ("bash", {"command": "cd x\nls\nwc"}, "$ cd x"),
        ("bash", {"restart": True}, "restart the shell"),
        ("write", {"file_path": "a.py", "content": "1\n2\n"}, "a.py  (2 lines)"),
        ("read", {"file_path": "a.py", "view_range": [3, 9]}, "a.py  lines 3-9"),
        ("read", {"file_path": "a.py"}, "a.py"),
        ("edit", {"file_path": "a.py", "old_string": "x"}, "a.py"),
        ("glob", {"pattern": "**/*.md"}, "**/*.md"),
        ("grep", {"pattern": "TODO", "path": "src"}, "TODO  in src"),
        ("lookup", {"city": "Köln"}, '{"city": "Köln"}'),
    ],
)
def test_a_call_is_told_by_what_matters_in_its_input(name: str, values: dict[str, Any], line: str) -> None:
    assert input_line(name, values) == line


def test_a_long_input_is_cut_and_marked() -> None:
    line = input_line("bash", {"command": "x" * 500})
    assert len(line) == 120
    assert line.endswith("…")


def test_an_edit_shows_what_it_changes() -> None:
    entry = told("agent.tool_use", name="edit", input={"file_path": "a", "old_string": "1\n2", "new_string": "3"})
    assert entry.detail == ("- 1", "- 2", "+ 3")


def test_a_script_shows_its_further_lines() -> None:
    entry = told("agent.tool_use", name="bash", input={"command": "cd x\nls\nwc\n"})
    assert (entry.text, entry.detail) == ("bash  $ cd x", ("ls", "wc"))


def test_a_call_that_asks_for_permission_says_so() -> None:
    entry = told("agent.tool_use", name="edit", input={"file_path": "a"}, evaluated_permission="ask")
    assert entry.text.endswith("[asks for permission]")
    assert entry.tone == "warn"


def test_a_result_names_its_tool_its_time_and_its_first_lines() -> None:
    call = event("agent.tool_use", name="bash", input={})
    result = event("agent.tool_result", at=LATER, tool_use_id="sevt_1", content=text("a\nb"))
    assert describe(result, {"sevt_1": call}) == Entry("hand", "bash done in 1.25 s", ("a", "b"), "good")


def test_a_failed_result_is_bad() -> None:
    entry = told("agent.tool_result", tool_use_id="x", is_error=True, content=text("boom"))
    assert (entry.tone, entry.text) == ("bad", "tool failed")


def test_long_results_end_with_how_many_lines_are_left() -> None:
    lines = content_lines(text("\n".join(str(number) for number in range(10))))
    assert lines == ("0", "1", "2", "3", "4", "5", "… 4 more lines")
    assert content_lines(text("\n".join("1234567")))[-1] == "… 1 more line"


def test_blocks_that_are_not_text_are_named() -> None:
    assert content_lines([{"type": "image", "source": {}}]) == ("[image]",)


@pytest.mark.parametrize(
    ("reason", "line", "tone"),
    [
        ({"type": "end_turn"}, "idle: the turn is over", "quiet"),
        ({"type": "requires_action", "event_ids": ["a"]}, "idle: 1 call waits for you", "warn"),
        ({"type": "requires_action", "event_ids": ["a", "b"]}, "idle: 2 calls wait for you", "warn"),
        ({"type": "retries_exhausted"}, "idle: retries_exhausted", "bad"),
    ],
)
def test_idle_says_why(reason: dict[str, Any], line: str, tone: str) -> None:
    entry = told("session.status_idle", stop_reason=reason)
    assert (entry.text, entry.tone) == (line, tone)


def test_an_error_says_whether_it_will_be_tried_again() -> None:
    error = {"type": "model_overloaded_error", "message": "busy", "retry_status": {"type": "retrying"}}
    assert told("session.error", error=error) == Entry(
        "session", "model_overloaded_error: busy  [retrying]", tone="warn"
    )


def test_a_model_request_tells_its_tokens_with_the_cached_ones() -> None:
    usage = {"input_tokens": 10, "cache_read_input_tokens": 1000, "output_tokens": 7}
    assert told("span.model_request_end", model_usage=usage).text == "1,010 tokens in (1,000 from cache), 7 out"
    assert describe(event("span.model_request_end", model_usage={}), {}) is None


def test_a_denial_carries_its_reason() -> None:
    call = event("agent.tool_use", name="edit")
    denial = event("user.tool_confirmation", tool_use_id="sevt_1", result="deny", deny_message="not now")
    entry = describe(denial, {"sevt_1": call})
    assert entry is not None
    assert entry.text == "deny edit: not now"


@pytest.mark.parametrize("kind", [kind.value for kind in EventType])
def test_every_event_type_is_told_or_left_out_without_a_fault_even_when_it_is_bare(kind: str) -> None:
    entry = describe({"id": "sevt_1", "type": kind, "processed_at": AT}, {})
    assert entry is None or entry.who in ("you", "brain", "hand", "session")


@pytest.mark.parametrize(
    ("raw", "safe"),
    [
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b]0;title\x07text", "text"),
        ("\x1b]8;;http://x\x1b\\link", "link"),
        ("a\rb\x08c", "abc"),
        ("\x9b31mx", "31mx"),
        ("right\u202eleft", "rightleft"),
        ("tab\tand\nline", "tab and\nline"),
    ],
)
def test_control_sequences_never_reach_the_terminal(raw: str, safe: str) -> None:
    assert printable(raw) == safe


def show(*events: dict[str, Any], terminal: bool = False) -> str:
    out = io.StringIO()
    view = TimelineView(Console(file=out, force_terminal=terminal, width=100, color_system=None))
    with view.live():
        for each in events:
            view.show(each)
    return out.getvalue()


def test_without_a_terminal_lines_are_plain_and_offsets_count_from_the_first_event() -> None:
    shown = show(event("session.status_running"), event("agent.message", at=LATER, content=text("Hello\nthere")))
    assert shown == "    0.00s  session  running\n    1.25s  brain    Hello\n                    there\n"


def test_without_a_terminal_long_lines_are_not_wrapped() -> None:
    assert "x" * 300 in show(event("agent.message", content=text("x" * 300)))


def test_the_time_a_person_took_to_allow_a_call_is_not_counted_as_the_tools() -> None:
    call = event("agent.tool_use", name="edit", input={}, evaluated_permission="ask")
    allowed = event("user.tool_confirmation", at=LATER, tool_use_id="sevt_1", result="allow") | {"id": "sevt_2"}
    result = event("agent.tool_result", at=LATER, tool_use_id="sevt_1", content=text("ok")) | {"id": "sevt_3"}
    assert "edit done in 0.00 s" in show(call, allowed, result)


def test_markup_in_a_message_is_shown_not_obeyed() -> None:
    assert "[bold]no[/bold]" in show(event("agent.message", content=text("[bold]no[/bold]")))


def test_on_a_terminal_text_wraps_inside_its_column() -> None:
    shown = show(event("agent.message", content=text("word " * 40)), terminal=True)
    lines = [line for line in shown.splitlines() if "word" in line]
    assert len(lines) > 1
    assert all(line.startswith(" " * 17) for line in lines[1:])


def test_a_preview_shows_what_is_being_written_and_leaves_only_the_event_that_follows() -> None:
    out = io.StringIO()
    view = TimelineView(Console(file=out, force_terminal=True, width=100, color_system=None))
    with view.live():
        view.show({"type": "event_start", "event": {"type": "agent.message", "id": "sevt_1"}})
        view.show({"type": "event_delta", "event_id": "sevt_1", "delta": {"content": {"type": "text", "text": "Hel"}}})
        assert view.preview == "Hel"
        view.show(event("agent.message", content=text("Hello")))
        assert view.preview == ""
    assert "Hello" in out.getvalue()


def test_a_preview_whose_event_never_comes_is_dropped_with_its_model_request() -> None:
    view = TimelineView(Console(file=io.StringIO()))
    view.show({"type": "event_start", "event": {"type": "agent.message", "id": "sevt_9"}})
    view.show({"type": "event_delta", "event_id": "sevt_9", "delta": {"content": {"text": "half"}}})
    view.show(event("span.model_request_end", is_error=True))
    assert view.preview == ""


def test_details_stand_below_their_line() -> None:
    assert plain_lines(Entry("hand", "bash done", ("a", "b")), 2.5) == (
        "    2.50s  hand     bash done\n                    | a\n                    | b"
    )


def test_a_call_of_an_mcp_tool_names_its_server() -> None:
    call = event("agent.mcp_tool_use", mcp_server_name="crm", name="find", input={"who": "Ada"})
    result = event("agent.mcp_tool_result", at=LATER, mcp_tool_use_id="sevt_1", content=text("found"))
    assert told("agent.mcp_tool_use", mcp_server_name="crm", name="find", input={}).text.startswith("crm/find")
    assert describe(result, {"sevt_1": call}).text.startswith("crm/find done in")


def test_work_that_is_handed_on_is_told_with_the_words() -> None:
    assert told("session.thread_created", agent_name="alice", session_thread_id="sthr_1").text == "hands work to alice"
    sent = told(
        "agent.thread_message_sent", to_agent_name="alice", to_session_thread_id="sthr_1", content=text("do it")
    )
    assert (sent.text, sent.detail) == ("message to alice", ("do it",))
    heard = {"from_agent_name": "alice", "from_session_thread_id": "sthr_1", "content": text("done")}
    assert told("agent.thread_message_received", **heard).text == "message from alice"
    assert describe(event("agent.thread_message_received", at=None, **heard), {}) is None
