"""The model's view of a session: a pure fold of the log into Messages-API messages.

Invariants, whatever the interleaving of client input and turn events (design law 2):

- messages alternate between ``user`` and ``assistant`` and start with ``user``;
- every ``tool_use`` block is answered by exactly one ``tool_result`` in the message that follows it,
  results in the order of the calls and before any other content;
- input that was processed while calls were open is held back until their results are complete.

A tool call carries its event id as the model's tool-use id, so the fold needs no table beside the log.
"""

from __future__ import annotations

from typing import Any

from agents.sessions.events import Event, EventType

_TOOL_USES = frozenset({EventType.AGENT_TOOL_USE, EventType.AGENT_CUSTOM_TOOL_USE})
_RESULTS = {
    EventType.AGENT_TOOL_RESULT: "tool_use_id",
    EventType.USER_CUSTOM_TOOL_RESULT: "custom_tool_use_id",
}
_NO_OUTPUT: list[dict[str, Any]] = [{"type": "text", "text": "(no output)"}]

Block = dict[str, Any]
Message = dict[str, Any]


class Conversation:
    """Messages for the next model request, kept up to date event by event."""

    def __init__(self) -> None:
        self._messages: list[Message] = []
        self._open: dict[str, Block | None] = {}
        self._held: list[Block] = []
        self._answered = False

    @property
    def messages(self) -> list[Message]:
        """The messages so far; the caller must not change them."""
        return self._messages

    @property
    def awaits_model(self) -> bool:
        """Whether the last word is the user's (or a tool's) and every call has its result.

        An answer without content is an answer too: asking again would only be charged again.
        """
        if self._open or self._answered:
            return False
        return bool(self._messages) and self._messages[-1]["role"] == "user"

    def apply(self, event: Event) -> None:
        """Take the next event of the log."""
        if event.type in _TOOL_USES:
            self._add_tool_use(event)
        elif event.type in _RESULTS:
            self._add_result(event.body[_RESULTS[event.type]], event.body)
        elif event.type is EventType.USER_MESSAGE:
            self._add_user(list(event.body["content"]))
        elif event.type is EventType.AGENT_MESSAGE:
            self._add_assistant([block for block in event.body["content"] if block.get("text")])
        elif event.type is EventType.AGENT_THINKING and event.hidden:
            self._add_assistant([event.hidden["block"]])
        elif event.type is EventType.MODEL_REQUEST_END:
            self._answered = not event.body["is_error"]

    def _add_tool_use(self, event: Event) -> None:
        block = {"type": "tool_use", "id": event.id, "name": event.body["name"], "input": event.body["input"]}
        self._add_assistant([block])
        self._open[event.id] = None

    def _add_result(self, call_id: str, body: dict[str, Any]) -> None:
        if call_id not in self._open or self._open[call_id] is not None:
            return
        content = body.get("content") or _NO_OUTPUT
        block: Block = {"type": "tool_result", "tool_use_id": call_id, "content": content}
        if body.get("is_error"):
            block["is_error"] = True
        self._open[call_id] = block
        results = [done for done in self._open.values() if done is not None]
        if len(results) == len(self._open):
            held, self._held, self._open = self._held, [], {}
            self._append("user", results + held)

    def _add_user(self, blocks: list[Block]) -> None:
        if self._open:
            self._held.extend(blocks)
        else:
            self._append("user", blocks)

    def _add_assistant(self, blocks: list[Block]) -> None:
        if blocks:
            self._append("assistant", blocks)

    def _append(self, role: str, blocks: list[Block]) -> None:
        self._answered = self._answered and role != "user"
        last = self._messages[-1] if self._messages else None
        if last is not None and last["role"] == role:
            # A new list, not an extension in place: a request in flight may hold the old one.
            self._messages[-1] = {"role": role, "content": [*last["content"], *blocks]}
        else:
            self._messages.append({"role": role, "content": blocks})

    def snapshot(self) -> list[Message]:
        """A copy that later events leave alone; blocks are shared and immutable by convention."""
        return list(self._messages)
