"""How an agent hands work to others: its roster, the tools of a coordinator, and messages between threads (spec C.6).

A coordinator's calls are run by the state machine itself, in the commit that has them: they concern nothing but the
session, so there is nobody to send them to and nothing that could be lost on the way. A message is one fact with two
sides, ``agent.thread_message_sent`` with the sender and ``agent.thread_message_received`` with the receiver. The second
takes its place in the log when the receiver's next model request does, as a user's message would; until then it waits.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import orjson

from agents.catalog.team import advisor_model, roster
from agents.ids import new_event_id, new_thread_id
from agents.sessions import advising
from agents.sessions.draft import Draft
from agents.sessions.events import Event, EventType, SessionStatus, text_content
from agents.sessions.state import SessionState
from agents.sessions.thread_state import OpenCall, ThreadState

MAX_THREADS = 25
"""Threads beside the primary that may be at work or can be told to be; an advisor's is not one (spec A.12)."""

MAX_CREATED = 1000
"""Threads that a session may ever have beside the primary: those that have ended stay in its lists and its state."""

_TEXT = {"type": "string"}
_TOOLS: Sequence[dict[str, Any]] = (
    {
        "name": "list_agents",
        "description": "List the agents that you can delegate work to, and the threads that you have created so far "
        "with their agents and what they are doing.",
        "input_schema": {"type": "object", "properties": {}},
    },
    {
        "name": "create_agent",
        "description": "Have one of your agents work on a task in a thread of its own, beside you. It knows nothing "
        "of this conversation but what you tell it here. It shares your files. You get its answer as a message when "
        "it has ended; go on with other work or end your turn meanwhile.",
        "input_schema": {
            "type": "object",
            "properties": {
                "agent": {**_TEXT, "description": "The agent's name, as list_agents gives it."},
                "message": {**_TEXT, "description": "The task, with everything that the agent must know."},
            },
            "required": ["agent", "message"],
        },
    },
    {
        "name": "send_to_agent",
        "description": "Send a message to a thread that you have created. It remembers all that was said in it.",
        "input_schema": {
            "type": "object",
            "properties": {
                "thread_id": {**_TEXT, "description": "The thread's id, as create_agent and list_agents give it."},
                "message": _TEXT,
            },
            "required": ["thread_id", "message"],
        },
    },
)


class _Refusal(Exception):
    """Why a call of a coordinator's tool cannot be done, in words for the model."""


def coordinator_tools(thread: ThreadState) -> Sequence[dict[str, Any]]:
    """Return the definitions of the tools by which *thread* delegates; only the primary does (one level deep)."""
    if not thread.primary:
        return ()
    advises = [advising.TOOL] if advisor_model(thread.agent) else []
    return [*(_TOOLS if roster(thread.agent) else ()), *advises]


def run_call(draft: Draft, call: OpenCall) -> tuple[list[dict[str, Any]], bool]:
    """Do what a coordinator's call asks for; returns the content of its result, and whether it is an error."""
    work = {
        "list_agents": _list_agents,
        "create_agent": _create_agent,
        "send_to_agent": _send_to_agent,
        advising.TOOL["name"]: _ask_advisor,
    }
    try:
        return text_content(orjson.dumps(work[call.name](draft, call.input)).decode()), False
    except _Refusal as refusal:
        return text_content(str(refusal)), True


def _list_agents(draft: Draft, given: Mapping[str, Any]) -> dict[str, Any]:
    del given
    agents = [{key: each[key] for key in ("name", "id", "description")} for each in roster(draft.state.agent)]
    threads = [{"thread_id": each.id, "agent": each.name, "status": each.status.value} for each in _open(draft.session)]
    return {"agents": agents, "threads": threads}


def _create_agent(draft: Draft, given: Mapping[str, Any]) -> dict[str, Any]:
    name, words = _text(given, "agent"), _text(given, "message")
    found = [each for each in roster(draft.state.agent) if name in (each["name"], each["id"])]
    if not found:
        names = ", ".join(repr(each["name"]) for each in roster(draft.state.agent))
        raise _Refusal(f"There is no agent named {name!r}. You can delegate to: {names}.")
    if sum(1 for _ in _open(draft.session)) >= MAX_THREADS:
        raise _Refusal(f"There are {MAX_THREADS} threads, which is the limit. Send the task to one that is idle.")
    return {"thread_id": _create_thread(draft, found[0], words)}


def _ask_advisor(draft: Draft, given: Mapping[str, Any]) -> dict[str, Any]:
    words, model = _text(given, "question"), advisor_model(draft.state.agent)
    if model is None:
        raise _Refusal("You have no advisor.")
    if any(thread.advises and thread.status is not SessionStatus.TERMINATED for thread in _children(draft.session)):
        raise _Refusal("The advisor is still at work on your last question: wait for its answer.")
    return {"thread_id": _create_thread(draft, advising.advisor_agent(model), words)}


def _create_thread(draft: Draft, agent: dict[str, Any], words: str) -> str:
    if len(draft.session.threads) > MAX_CREATED:
        raise _Refusal(f"This session has had {MAX_CREATED} threads, which is the limit. Use those that are open.")
    thread_id = new_thread_id()
    told = {"session_thread_id": thread_id, "agent_name": agent["name"]}
    draft.emit(EventType.THREAD_CREATED, told, hidden={"agent": agent})
    send(draft, draft.session.threads[thread_id], text_content(words))
    return thread_id


def _send_to_agent(draft: Draft, given: Mapping[str, Any]) -> dict[str, Any]:
    thread_id, words = _text(given, "thread_id"), _text(given, "message")
    found = [thread for thread in _open(draft.session) if thread.id == thread_id]
    if not found:
        raise _Refusal(f"There is no thread {thread_id!r} that takes messages: see list_agents.")
    send(draft, found[0], text_content(words))
    return {"thread_id": thread_id, "status": "sent"}


def _text(given: Mapping[str, Any], key: str) -> str:
    value = given.get(key)
    if not isinstance(value, str) or not value.strip():
        raise _Refusal(f"{key} must be a text that is not empty.")
    return value


def _open(session: SessionState) -> Iterator[ThreadState]:
    """Yield the threads of agents that take messages."""
    for thread in _children(session):
        if not thread.advises and thread.status is not SessionStatus.TERMINATED:
            yield thread


def _children(session: SessionState) -> Iterator[ThreadState]:
    return (thread for thread in session.threads.values() if not thread.primary)


def send(draft: Draft, to: ThreadState, content: list[dict[str, Any]]) -> None:
    """Log a message of the draft's thread to another one, where it waits for the next model request."""
    sender = draft.state
    sent: dict[str, Any] = {"to_session_thread_id": to.id, "content": content}
    received: dict[str, Any] = {"from_session_thread_id": sender.id, "content": content}
    # The name is left out of what concerns the primary (field texts of the SDK).
    if not to.primary:
        sent["to_agent_name"] = to.name
    if not sender.primary:
        received["from_agent_name"] = sender.name
    draft.emit(EventType.THREAD_MESSAGE_SENT, sent)
    waiting = Event(new_event_id(), EventType.THREAD_MESSAGE_RECEIVED, received, None, thread=draft.of(to).thread)
    draft.hold(waiting)


def report(draft: Draft, words: str | None = None) -> None:
    """Tell the primary how the work that was delegated to this thread has ended: *words*, or the agent's last ones."""
    if not draft.state.primary:
        last = words or draft.state.conversation.last_words or "(The agent ended its turn without a word.)"
        send(draft, draft.session.primary, text_content(last))
