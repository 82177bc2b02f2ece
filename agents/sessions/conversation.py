"""The model's view of a session: a pure fold of the log into Messages-API messages.

Invariants, whatever the interleaving of client input and turn events (design law 2):

- messages alternate between ``user`` and ``assistant`` and start with ``user``;
- every ``tool_use`` block is answered by exactly one ``tool_result`` in the message that follows it,
  results in the order of the calls and before any other content;
- input that was processed while calls were open is held back until their results are complete;
- a ``system`` message stands between a ``user`` message and the answer to it: what the author says meanwhile is held
  back until there is a ``user`` message, and stands behind all of it;
- what is logged at once though the model may be answering (outcomes, verdicts) stands before the next request, and
  before what was said later;
- what the agent was told of the outcome that it works towards stays word for word, unless nothing else is left to cut.

A tool call carries its event id as the model's tool-use id, so the fold needs no table beside the log.

The view is not the log: where an ``agent.thread_context_compacted`` stands, its summary takes the place of all
messages but the last few. It is never logged while calls are open.
"""

from __future__ import annotations

from typing import Any

from agents.brains.policy import estimated_tokens
from agents.brains.summarizing import AGENT, SUMMARY, USER, Speaker, summary_block
from agents.sessions.events import MESSAGES, TOOL_RESULTS, TOOL_USES, Event, EventType, text_content
from agents.sessions.outcome import ANNOUNCED, NEEDS_REVISION, OVER, announcements
from agents.sessions.served import known_as
from agents.web.provenance import PastUrls

_NO_OUTPUT: list[dict[str, Any]] = [{"type": "text", "text": "(no output)"}]
_WORTH_IT = 0.1
"""A compaction that saves less than this part of what it replaces has brought nothing."""

Block = dict[str, Any]
Message = dict[str, Any]


class Conversation:
    """Messages for the next model request, kept up to date event by event."""

    def __init__(self) -> None:
        self._messages: list[Message] = []
        self._open: dict[str, Block | None] = {}
        self._held: list[Block] = []
        self._remarks: list[Block] = []
        self._announced: list[tuple[str, Block]] = []
        self._relayed: list[tuple[Block, str]] = []
        self._task: Block | None = None
        self._answered = False
        self._summarizing = False
        self._size = 0
        self._counted: int | None = None
        self._since = 0
        self._past = PastUrls()
        self.compactions = 0
        """Compactions since the model's last answer, or the end of a turn."""
        self.futile = 0
        """How many of them, in a row, brought nothing."""

    @property
    def messages(self) -> list[Message]:
        """The messages so far; the caller must not change them."""
        return self._messages

    @property
    def size(self) -> int:
        """About how many tokens the messages of the next request have."""
        return self._size + self._pending

    @property
    def counted(self) -> int | None:
        """Tokens of the next request, system prompt and tools included; None until a model has counted one.

        What came after the last count is estimated.
        """
        return None if self._counted is None else self._counted + self._since + self._pending

    @property
    def _pending(self) -> int:
        return estimated_tokens([block for _, block in self._announced])

    @property
    def awaits_model(self) -> bool:
        """Whether the last word is the user's (or a tool's) and every call has its result.

        An answer without content is an answer too: asking again would only be charged again.
        """
        if self._open:
            return False
        if self._announced:
            return True
        if self._answered:
            return False
        return bool(self._messages) and self._messages[-1]["role"] != "assistant"

    @property
    def last_words(self) -> str:
        """The text of the last message, if it is the model's."""
        last = self._messages[-1] if self._messages else None
        if last is None or last["role"] != "assistant":
            return ""
        return "\n\n".join(block["text"] for block in last["content"] if block.get("type") == "text")

    def apply(self, event: Event) -> None:
        """Take the next event of the log."""
        hidden = event.hidden or {}
        if event.type in TOOL_USES:
            self._add_tool_use(event)
        elif event.type in TOOL_RESULTS:
            self._add_result(event.body[TOOL_RESULTS[event.type]], event.body)
        elif event.type in MESSAGES:
            self._take_announced()
            self._add_user(self._heard(event))
        elif event.type is EventType.SYSTEM_MESSAGE:
            self._add_remark(list(event.body["content"]))
        elif event.type in (EventType.AGENT_MESSAGE, EventType.AGENT_THINKING):
            self._add_assistant(_said(event))
        elif event.type is EventType.MODEL_REQUEST_START:
            self._summarizing = "keeps" in hidden
            if not self._summarizing:
                self._take_announced()
        elif event.type in ANNOUNCED:
            self._announce(event)
        elif event.type is EventType.CONTEXT_COMPACTED:
            self._compact(hidden["summary"], hidden["keeps"])
        elif event.type is EventType.MODEL_REQUEST_END and not self._summarizing:
            self._end_request(hidden.get("tokens"), is_error=event.body["is_error"])
        elif event.type is EventType.THREAD_IDLE:
            self.compactions = self.futile = 0

    def _heard(self, event: Event) -> list[Block]:
        if event.type is EventType.USER_MESSAGE:
            return list(event.body["content"])
        return self._relay(AGENT, [*text_content(_heading(event)), *event.body["content"]])

    def _announce(self, event: Event) -> None:
        """Have the next request tell of an outcome; of one that is over with nothing to do, no longer."""
        outcome = event.body["outcome_id"]
        if event.body.get("result") in OVER:
            self._announced = [(of, block) for of, block in self._announced if of != outcome]
        blocks = [block for text in announcements(event) for block in text_content(text)]
        if event.type is EventType.OUTCOME_EVALUATION_END:
            self._relay(AGENT, blocks)
            if event.body["result"] != NEEDS_REVISION:
                self._task = None
        else:
            self._task = blocks[0]
        self._announced += [(outcome, block) for block in blocks]

    def _relay(self, mark: str, blocks: list[Block]) -> list[Block]:
        """Take note that these blocks of a user's message are no words of the user's; see ``speaker``."""
        self._relayed += [(block, mark) for block in blocks]
        return blocks

    def _take_announced(self) -> None:
        """Take in what was logged while the model was perhaps answering, before what comes after it in the log."""
        if self._announced:
            announced, self._announced = [block for _, block in self._announced], []
            self._add_user(announced)

    def _end_request(self, tokens: int | None, *, is_error: bool) -> None:
        self._answered = not is_error
        if is_error:
            return
        self.compactions = self.futile = 0
        self._counted, self._since = tokens, 0

    def _compact(self, summary: str, keeps: int) -> None:
        first = len(self._messages) - keeps
        before, kept = self._size, self._messages[first:]
        self._past.add(self._messages[:first])
        replaced = _size_of(self._messages[:first])
        remarks = [block for each in self._messages[:first] if each["role"] == "system" for block in each["content"]]
        opening: Message = {"role": "user", "content": self._relay(SUMMARY, [summary_block(summary)])}
        opening["content"] += self._task_among(self._messages[:first])
        if kept and kept[0]["role"] == "user":
            opening["content"] += kept.pop(0)["content"]
        if remarks:
            # What the author has said holds on: no summary may soften it.
            remarks += kept.pop(0)["content"] if kept and kept[0]["role"] == "system" else []
            kept.insert(0, {"role": "system", "content": remarks})
        self._messages = [opening, *kept]
        self._size = _size_of(self._messages) + estimated_tokens(self._remarks)
        stay = {id(block) for each in self._messages for block in each["content"]}
        stay |= {id(block) for _, block in self._announced}
        self._relayed = [(block, mark) for block, mark in self._relayed if id(block) in stay]
        self._counted = None
        self.compactions += 1
        self.futile = self.futile + 1 if before - self._size < _WORTH_IT * replaced else 0

    def _task_among(self, replaced: list[Message]) -> list[Block]:
        """Return what the agent was told of its outcome, where that would go with these messages.

        A compaction that follows another at once lets it go, too: it may be what is too long.
        """
        task = None if self.compactions else self._task
        return [block for each in replaced for block in each["content"] if task is not None and block is task]

    def _add_tool_use(self, event: Event) -> None:
        block = {"type": "tool_use", "id": event.id, "name": known_as(event), "input": event.body["input"]}
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

    def _add_remark(self, blocks: list[Block]) -> None:
        self._count(blocks)
        if self._open or not self._messages or self._messages[-1]["role"] == "assistant":
            self._remarks.extend(blocks)
        else:
            self._join("system", blocks)

    def _add_assistant(self, blocks: list[Block]) -> None:
        if blocks:
            self._append("assistant", blocks)

    def _append(self, role: str, blocks: list[Block]) -> None:
        self._answered = self._answered and role != "user"
        self._count(blocks)
        if role == "user" and self._messages and self._messages[-1]["role"] == "system":
            self._remarks = [*self._messages.pop()["content"], *self._remarks]
        self._join(role, blocks)
        if role == "user" and self._remarks:
            remarks, self._remarks = self._remarks, []
            self._join("system", remarks)

    def _count(self, blocks: list[Block]) -> None:
        tokens = estimated_tokens(blocks)
        self._size += tokens
        self._since += tokens

    def _join(self, role: str, blocks: list[Block]) -> None:
        last = self._messages[-1] if self._messages else None
        if last is not None and last["role"] == role:
            # A new list, not an extension in place: a request in flight may hold the old one.
            self._messages[-1] = {"role": role, "content": [*last["content"], *blocks]}
        else:
            self._messages.append({"role": role, "content": blocks})

    def given(self) -> list[Message]:
        """Return what URLs are looked for in: the messages, and the URLs of those that summaries have replaced."""
        return [*self._past.messages(), *self._messages]

    def speaker(self) -> Speaker:
        """Return who said what in the messages so far: other agents' words, verdicts and summaries are not the user's.

        It holds until the next event.
        """
        marks = {id(block): mark for block, mark in self._relayed}
        return lambda block: marks.get(id(block), USER)

    def snapshot(self) -> list[Message]:
        """A copy that later events leave alone; blocks are shared and immutable by convention."""
        return list(self._messages)


def _said(event: Event) -> list[Block]:
    if event.type is EventType.AGENT_THINKING:
        return [event.hidden["block"]] if event.hidden else []
    return [block for block in event.body["content"] if block.get("text")]


def _heading(event: Event) -> str:
    sender = event.body.get("from_agent_name", "the coordinator")
    return f"Message from {sender} (thread {event.body['from_session_thread_id']}):"


def _size_of(messages: list[Message]) -> int:
    return sum(estimated_tokens(message["content"]) for message in messages)
