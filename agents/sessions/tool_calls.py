"""Tool calls in a session's log: what a model asked for, and the results that no hand gives."""

from __future__ import annotations

from typing import Any

from agents.brains.assembly import Block
from agents.hands.servers.port import ServerResult
from agents.ids import EventId
from agents.sessions.draft import Draft
from agents.sessions.events import EventType, text_content
from agents.sessions.permissions import Permission, Toolbox
from agents.sessions.served import ServedTool, account
from agents.sessions.thread_state import OpenCall

_HIGH_RISK = "The call was not run: it was judged to be high-risk. Do not try the same by other means."


def record_call(
    draft: Draft, toolbox: Toolbox, block: Block, judged: Permission | None = None
) -> tuple[EventId, str] | None:
    """Log one tool use; returns its id and the reason when it is refused, before any policy or as it was *judged*."""
    name, tool_input = block.name or "", block.input
    verdict = toolbox.judge(name)
    served = verdict.served
    if block.input_error is not None or tool_input is None or verdict.kind == "refused":
        reason = (
            f"The input of {name} was not a JSON object: {block.input_error}."
            if verdict.kind != "refused"
            else f"The tool {name!r} is not available in this session."
        )
        return _log_use(draft, name, served, {"input": tool_input or {}, "evaluated_permission": "deny"}), reason
    if verdict.kind == "custom":
        body = _for_client(draft, {"name": name, "input": tool_input})
        draft.emit(EventType.AGENT_CUSTOM_TOOL_USE, body, crossposted=True)
        return None
    if verdict.kind == "internal":
        draft.emit(EventType.AGENT_TOOL_USE, {"name": name, "input": tool_input}, hidden={"internal": True})
        return None
    if verdict.auto and judged is not None:
        verdict = verdict.judged(judged)
    body = {"input": tool_input, "evaluated_permission": verdict.permission, "evaluation": verdict.evaluation}
    call_id = _log_use(draft, name, served, body)
    return (call_id, _HIGH_RISK) if verdict.permission == "deny" else None


def _for_client(draft: Draft, body: dict[str, Any]) -> dict[str, Any]:
    """Return the body of a call that the client must act on, or of its end; of a child it says whose it is."""
    return body if draft.state.primary else {**body, "session_thread_id": draft.state.id}


def _log_use(draft: Draft, name: str, served: ServedTool | None, body: dict[str, Any]) -> EventId:
    """Log the use of a tool that this side runs; *name* is the model's for it."""
    permission = body["evaluated_permission"]
    shown = permission == "ask" or (served is None and draft.state.record.self_hosted and permission != "deny")
    if shown:
        body = _for_client(draft, body)
    if served is None or not served.server:
        return draft.emit(EventType.AGENT_TOOL_USE, {"name": name, **body}, crossposted=shown).id
    body = {"mcp_server_name": served.server, "name": served.name, **body}
    return draft.emit(EventType.AGENT_MCP_TOOL_USE, body, hidden=served.hidden(name), crossposted=shown).id


def log_result(
    draft: Draft, call: OpenCall, content: list[dict[str, Any]], *, is_error: bool, hidden: dict[str, Any] | None = None
) -> None:
    """Log the result of a call that this side has run, or refused to run."""
    body = {"content": content, "is_error": is_error}
    if call.served is not None and call.served.server:
        draft.emit(EventType.AGENT_MCP_TOOL_RESULT, {"mcp_tool_use_id": call.id, **body}, hidden=hidden)
    else:
        draft.emit(EventType.AGENT_TOOL_RESULT, {"tool_use_id": call.id, **body}, hidden=hidden)


def close_call(draft: Draft, call_id: EventId, reason: str) -> None:
    call = draft.state.calls[call_id]
    host, hidden = draft.state.record.dispatched.get(call_id), None
    if host is not None and call.served is not None:
        draft.recalled.append(call)
        hidden = account(call.served, ServerResult(call_id, [], outcome="cancelled"))
    elif host is not None:
        draft.called_off[call_id] = host
    # A tool runner that reconnects takes only events of the client's own form for a result: closed in any other,
    # the call would be run again (ADR 0003).
    if call.kind == "custom":
        body = {"custom_tool_use_id": call_id, "content": text_content(reason), "is_error": True}
        draft.emit(EventType.USER_CUSTOM_TOOL_RESULT, _for_client(draft, body), crossposted=True)
    elif call.kind == "worker" and call.decision != "deny":
        body = {"tool_use_id": call_id, "content": text_content(reason), "is_error": True}
        draft.emit(EventType.USER_TOOL_RESULT, _for_client(draft, body), crossposted=True)
    else:
        log_result(draft, call, text_content(reason), is_error=True, hidden=hidden)


def close_open_calls(draft: Draft, reason: str) -> None:
    """Give every open call an error result."""
    for call_id in list(draft.state.calls):
        close_call(draft, call_id, reason)


def close_denied_calls(draft: Draft) -> None:
    """Give every call that the client denied its error result, with the client's words."""
    for call in list(draft.state.calls.values()):
        if call.decision == "deny":
            words = f" The user said: {call.deny_message}" if call.deny_message else ""
            close_call(draft, call.id, f"The user denied this tool call; it was not run.{words}")
