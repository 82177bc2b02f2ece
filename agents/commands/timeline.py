"""A session's events as lines that a person can follow: who did what, and what came of it.

Everything here is a pure function of wire events, so that a timeline drawn live, read back from
history or tested from a dict is the same. Nothing that a tool or a model wrote reaches the terminal
raw: control characters (and with them escape sequences) are taken out first.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

Who = Literal["you", "brain", "hand", "session"]
Tone = Literal["plain", "quiet", "good", "warn", "bad"]
Event = Mapping[str, Any]

RESULT_LINES = 6
LINE_CHARS = 160
INPUT_CHARS = 120
_CHANGE_LINES = 4

_ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-Z\\-_])")
# C0 and C1 controls but tab and newline, and the marks that reorder text on screen.
_UNPRINTABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the timeline, with detail lines below it."""

    who: Who
    text: str
    detail: tuple[str, ...] = ()
    tone: Tone = "plain"


def printable(text: str) -> str:
    """Return *text* without escape sequences and control characters, tabs widened."""
    return _UNPRINTABLE.sub("", _ESCAPES.sub("", text)).expandtabs(4)


def shorten(text: str, limit: int) -> str:
    """Cut *text* to *limit* characters, marking the cut."""
    return text if len(text) <= limit else text[: limit - 1] + "…"


def describe(event: Event, calls: Mapping[str, Event]) -> Entry | None:
    """Say what *event* means to a person, or None when it adds nothing; *calls* are tool uses by event id."""
    describer = _DESCRIBERS.get(str(event.get("type")))
    return describer(event, calls) if describer else None


def moment(event: Event) -> datetime | None:
    """Return when *event* was processed; a queued one has no moment yet."""
    stamp = event.get("processed_at")
    if stamp is None or isinstance(stamp, datetime):
        return stamp
    return datetime.fromisoformat(str(stamp))


def part(event: Event, key: str) -> dict[str, Any]:
    """Return the object below *key*, empty when there is none."""
    value: dict[str, Any] | None = event.get(key)
    return value or {}


def input_line(name: str, values: Mapping[str, Any]) -> str:
    """Return a tool call's input on one short line."""
    match name:
        case "bash":
            command = str(values.get("command", "")).strip()
            text = "restart the shell" if values.get("restart") else "$ " + command.partition("\n")[0]
        case "write":
            text = f"{values.get('file_path')}  ({len(str(values.get('content', '')).splitlines())} lines)"
        case "read":
            span = values.get("view_range")
            text = f"{values.get('file_path')}" + (f"  lines {span[0]}-{span[1]}" if span else "")
        case "edit":
            text = str(values.get("file_path"))
        case "glob" | "grep":
            text = str(values.get("pattern")) + (f"  in {values['path']}" if values.get("path") else "")
        case _:
            text = json.dumps(dict(values), ensure_ascii=False, default=str)
    return shorten(printable(text).replace("\n", " "), INPUT_CHARS)


def input_detail(name: str, values: Mapping[str, Any]) -> tuple[str, ...]:
    """Return what one line leaves out: the rest of a script, what an edit changes."""
    match name:
        case "edit":
            return _change("-", values.get("old_string")) + _change("+", values.get("new_string"))
        case "bash":
            script = [{"type": "text", "text": str(values.get("command", "")).strip()}]
            return content_lines(script, RESULT_LINES + 1)[1:]
        case _:
            return ()


def content_lines(content: Sequence[Mapping[str, Any]] | None, limit: int = RESULT_LINES) -> tuple[str, ...]:
    """Return the first lines of a result's content blocks and how many more there are."""
    lines: list[str] = []
    for block in content or ():
        if block.get("type") == "text":
            lines += printable(str(block.get("text", ""))).rstrip("\n").split("\n")
        else:
            lines.append(f"[{block.get('type')}]")
    shown = tuple(shorten(line.rstrip(), LINE_CHARS) for line in lines[:limit])
    rest = len(lines) - len(shown)
    return (*shown, f"… {rest} more line{'s' * (rest > 1)}") if rest else shown


def tool_of(call: Event) -> str:
    """Return the name of the tool that is called, that of its MCP server before it."""
    name, server = printable(str(call.get("name"))), call.get("mcp_server_name")
    return f"{printable(str(server))}/{name}" if server else name


def text_of(content: Sequence[Mapping[str, Any]] | None) -> str:
    """Join the text blocks of a message, made printable."""
    texts = (str(block.get("text", "")) for block in content or () if block.get("type") == "text")
    return printable("\n".join(texts)).strip()


def _change(sign: str, text: Any) -> tuple[str, ...]:
    lines = printable(str(text or "")).splitlines()
    cut = tuple(f"{sign} {shorten(line, LINE_CHARS)}" for line in lines[:_CHANGE_LINES])
    return (*cut, f"{sign} …") if len(lines) > _CHANGE_LINES else cut


def _user_message(event: Event, calls: Mapping[str, Event]) -> Entry | None:
    if event.get("processed_at") is None:
        return None  # shown when a turn takes it up
    return Entry("you", text_of(event.get("content")) or "[attachment]")


def _interrupt(event: Event, calls: Mapping[str, Event]) -> Entry | None:
    return Entry("you", "interrupt", tone="warn") if event.get("processed_at") else None


def _confirmation(event: Event, calls: Mapping[str, Event]) -> Entry | None:
    if event.get("processed_at") is None:
        return None
    call = calls.get(str(event.get("tool_use_id")))
    name = tool_of(call) if call else "the call"
    if event.get("result") == "allow":
        return Entry("you", f"allow {name}", tone="good")
    reason = event.get("deny_message")
    return Entry("you", f"deny {name}" + (f": {printable(str(reason))}" if reason else ""), tone="warn")


def _custom_result(event: Event, calls: Mapping[str, Event]) -> Entry:
    return Entry("you", "custom tool result", content_lines(event.get("content")))


def _agent_message(event: Event, calls: Mapping[str, Event]) -> Entry | None:
    text = text_of(event.get("content"))
    return Entry("brain", text) if text else None


def _thinking(event: Event, calls: Mapping[str, Event]) -> Entry:
    return Entry("brain", "(thinking)", tone="quiet")


def _tool_use(event: Event, calls: Mapping[str, Event]) -> Entry:
    name, values = tool_of(event), part(event, "input")
    permission = event.get("evaluated_permission")
    note = {"ask": "  [asks for permission]", "deny": "  [refused by policy]"}.get(str(permission), "")
    return Entry(
        "hand",
        f"{name}  {input_line(name, values)}{note}",
        input_detail(name, values),
        "warn" if note else "plain",
    )


def _tool_result(event: Event, calls: Mapping[str, Event]) -> Entry:
    call = calls.get(str(event.get("tool_use_id") or event.get("mcp_tool_use_id")), {})
    begun, ended = moment(call), moment(event)
    took = f" in {(ended - begun).total_seconds():.2f} s" if begun and ended else ""
    failed = bool(event.get("is_error"))
    text = f"{tool_of(call) if call else 'tool'} {'failed' if failed else 'done'}{took}"
    return Entry("hand", text, content_lines(event.get("content")), "bad" if failed else "good")


def _custom_tool_use(event: Event, calls: Mapping[str, Event]) -> Entry:
    name = str(event.get("name"))
    return Entry("hand", f"{name}  {input_line(name, event.get('input') or {})}  [yours to run]", tone="warn")


def _running(event: Event, calls: Mapping[str, Event]) -> Entry:
    return Entry("session", "running", tone="quiet")


def _idle(event: Event, calls: Mapping[str, Event]) -> Entry:
    reason = part(event, "stop_reason")
    match reason.get("type"):
        case "end_turn":
            return Entry("session", "idle: the turn is over", tone="quiet")
        case "requires_action":
            count = len(reason.get("event_ids") or ())
            return Entry(
                "session", f"idle: {count} {'call waits' if count == 1 else 'calls wait'} for you", tone="warn"
            )
        case other:
            return Entry("session", f"idle: {other}", tone="bad")


def _rescheduled(event: Event, calls: Mapping[str, Event]) -> Entry:
    return Entry("session", "rescheduled: will try again", tone="warn")


def _terminated(event: Event, calls: Mapping[str, Event]) -> Entry:
    return Entry("session", "terminated", tone="bad")


def _deleted(event: Event, calls: Mapping[str, Event]) -> Entry:
    return Entry("session", "deleted", tone="bad")


def _updated(event: Event, calls: Mapping[str, Event]) -> Entry:
    changed = [key for key in ("agent", "budget", "metadata", "title") if key in event]
    return Entry("session", f"updated: {', '.join(changed)}", tone="quiet")


def _error(event: Event, calls: Mapping[str, Event]) -> Entry:
    error = part(event, "error")
    status = part(error, "retry_status").get("type")
    return Entry(
        "session",
        f"{error.get('type')}: {printable(str(error.get('message')))}" + (f"  [{status}]" if status else ""),
        tone="warn" if status == "retrying" else "bad",
    )


def _compacted(event: Event, calls: Mapping[str, Event]) -> Entry | None:
    return Entry("brain", "the older part of the conversation was replaced by a summary", tone="quiet")


def _thread_created(event: Event, calls: Mapping[str, Event]) -> Entry | None:
    return Entry("brain", f"hands work to {printable(str(event.get('agent_name')))}", tone="quiet")


def _thread_message(event: Event, calls: Mapping[str, Event]) -> Entry | None:
    if event.get("processed_at") is None:
        return None
    name = event.get("to_agent_name") or event.get("from_agent_name") or "the coordinator"
    word = "to" if event["type"] == "agent.thread_message_sent" else "from"
    return Entry("brain", f"message {word} {printable(str(name))}", detail=content_lines(event.get("content")))


def _model_request_end(event: Event, calls: Mapping[str, Event]) -> Entry | None:
    if event.get("is_error"):
        return Entry("brain", "the model request failed", tone="warn")
    usage = part(event, "model_usage")
    cached = usage.get("cache_read_input_tokens") or 0
    sent = (usage.get("input_tokens") or 0) + (usage.get("cache_creation_input_tokens") or 0) + cached
    if not sent:
        return None
    text = f"{sent:,} tokens in" + (f" ({cached:,} from cache)" if cached else "")
    return Entry("brain", f"{text}, {usage.get('output_tokens') or 0:,} out", tone="quiet")


_DESCRIBERS: dict[str, Callable[[Event, Mapping[str, Event]], Entry | None]] = {
    "user.message": _user_message,
    "user.interrupt": _interrupt,
    "user.tool_confirmation": _confirmation,
    "user.custom_tool_result": _custom_result,
    "user.tool_result": _tool_result,
    "agent.message": _agent_message,
    "agent.thinking": _thinking,
    "agent.tool_use": _tool_use,
    "agent.tool_result": _tool_result,
    "agent.mcp_tool_use": _tool_use,
    "agent.mcp_tool_result": _tool_result,
    "agent.custom_tool_use": _custom_tool_use,
    "agent.thread_context_compacted": _compacted,
    "agent.thread_message_sent": _thread_message,
    "agent.thread_message_received": _thread_message,
    "session.thread_created": _thread_created,
    "session.status_running": _running,
    "session.status_idle": _idle,
    "session.status_rescheduled": _rescheduled,
    "session.status_terminated": _terminated,
    "session.deleted": _deleted,
    "session.updated": _updated,
    "session.error": _error,
    "span.model_request_end": _model_request_end,
}
