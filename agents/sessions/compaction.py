"""When a thread's context must be made shorter, and how much of it stays.

A decision is a pure function of the thread's state and of the settings, taken when a model request is about to be
opened; what was decided is then in the log, so that nobody decides it again. Cuts are made only where the rest is a
conversation of its own: never between a tool call and its result.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from agents.brains.answering import summarizer_of
from agents.brains.policy import CHARACTERS_PER_TOKEN, estimated_tokens
from agents.brains.port import BrainFailure
from agents.brains.registry import Registry
from agents.brains.summarizing import Speaker, transcript
from agents.brains.window import window_of
from agents.config import Settings
from agents.sessions.budget import Budgets
from agents.sessions.conversation import Conversation, Message
from agents.sessions.thread_state import ThreadState

_ASKING_TOKENS = 500
"""What a request for a summary has beside the transcript."""
_FEWEST_TOKENS = 64
_TOO_LONG = re.compile(
    r"\b(prompt|input|request|conversation)\b.{0,60}\btoo long|context[ _](length|size|window|limit)"
    r"|max_model_len|maximum model length",
    re.IGNORECASE | re.DOTALL,
)


@dataclass(slots=True)
class CompactionCounts:
    """What summaries did to contexts, since the start of the process. Tokens are estimates, as those of ``due``."""

    made: int = 0
    futile: int = 0
    """Those that made their context hardly shorter."""
    tokens_before: int = 0
    """Tokens of the messages that contexts had before, all together."""
    tokens_after: int = 0
    """Those that they had then, with the summaries."""

    def add(self, before: int, conversation: Conversation) -> None:
        """Count the compaction that has just left *conversation* of *before* tokens."""
        self.made += 1
        self.futile += conversation.futile > 0
        self.tokens_before += before
        self.tokens_after += conversation.size

    @property
    def figures(self) -> dict[str, int]:
        return {
            "compactions": self.made,
            "compactions_futile": self.futile,
            "compaction_tokens_before": self.tokens_before,
            "compaction_tokens_after": self.tokens_after,
        }


class Compaction:
    """Judges contexts by the brains that there are."""

    def __init__(
        self,
        settings: Settings,
        registry: Registry,
        budgets: Budgets,
        tool_definitions: Callable[[], Sequence[dict[str, Any]]],
    ) -> None:
        """*tool_definitions* are those of the built-in tools."""
        self._settings = settings
        self._registry = registry
        self._budgets = budgets
        self._tool_definitions = tool_definitions

    @property
    def max_futile(self) -> int:
        return self._settings.compaction.max_futile

    def due(self, state: ThreadState) -> int | None:
        """Return how many of the last messages stay when the context must be compacted now, None when it need not.

        Each further compaction in a row keeps half as many.
        """
        room = self._room(state)
        if room is None or not (state.overlong or self._tokens(state) > room):
            return None
        settings, times = self._settings.compaction, state.conversation.compactions
        messages = state.conversation.messages
        cut = _first_kept(messages, settings.keep_messages >> times, int(settings.keep_share * room) >> times)
        return len(messages) - self._readable(state, messages, cut)

    def models(self, state: ThreadState) -> list[str]:
        """Return what to name as the model of a summary, in order: the next is for when the one before fails."""
        own = state.agent["model"]["id"]
        meant = summarizer_of(self._registry, own)
        if meant == own or (state.record.budget is not None and not self._budgets.knows_cost(meant)):
            return [own]  # a budget can hold only what has a price
        return [meant, own]

    def transcript_characters(self, state: ThreadState, model: str) -> int:
        """Return how long a transcript may be that *model* is shown; half as long each time that it was too long."""
        settings = self._settings.compaction
        window = window_of(self._registry, model, tools=False)
        room = window.room(settings.summary_tokens) * settings.share - _ASKING_TOKENS if window else 0
        return max(int(room) >> state.halvings, _FEWEST_TOKENS) * CHARACTERS_PER_TOKEN

    def summary_tokens(self, state: ThreadState) -> int:
        """Return how long a summary may be: no more than a quarter of what may be sent."""
        longest = self._settings.compaction.summary_tokens
        most = self._most(state)
        return longest if most is None else max(_FEWEST_TOKENS, min(longest, int(most) // 4))

    def entries(self, conversation: Conversation, messages: Sequence[Message]) -> list[str]:
        """Return *messages* of a conversation as a summarizer, a grader or a judge is shown them."""
        speaker = conversation.speaker()
        return [entry for message in messages for entry in self._entries(message, speaker)]

    def _entries(self, message: Message, speaker: Speaker) -> list[str]:
        return transcript(message, longest_result=self._settings.compaction.result_characters, speaker=speaker)

    def _room(self, state: ThreadState) -> float | None:
        """Return the most tokens that the next request may have; None when nothing can be won by a compaction."""
        said = [each for each in state.conversation.messages if each["role"] != "system"]
        if len(said) < 2 and not state.overlong:
            return None  # what the user has just said is for the model server to judge
        return self._most(state)

    def _most(self, state: ThreadState) -> float | None:
        """Return the most tokens that a request may have; None when nobody answers it."""
        agent = state.agent
        window = window_of(self._registry, agent["model"]["id"], tools=bool(agent["tools"]))
        if window is None:
            return None
        return window.room(self._settings.brain.max_tokens) * self._settings.compaction.share

    def _tokens(self, state: ThreadState) -> int:
        counted = state.conversation.counted
        if counted is not None:
            return counted
        agent = state.agent
        offered = [[tool.description, tool.input_schema] for offer in state.offers.values() for tool in offer.tools]
        known = [agent["system"], agent["tools"], *self._tool_definitions(), *offered]
        return state.conversation.size + estimated_tokens(known)

    def _readable(self, state: ThreadState, messages: Sequence[Message], cut: int) -> int:
        """Return the last place up to *cut* that one summary can reach: the summarizer has a context, too.

        It reaches beyond the first message, which may be the summary before it: of that alone nothing becomes shorter.
        """
        left, speaker = self.transcript_characters(state, self.models(state)[0]), state.conversation.speaker()
        reached = 0
        for place in range(1, cut + 1):
            left -= sum(map(len, self._entries(messages[place - 1], speaker)))
            if left < 0 and reached > 1:
                break
            if _may_begin(messages, place):
                reached = place
        return reached


def too_long(failure: BrainFailure) -> bool:
    """Whether a model server refuses a request because it is too long."""
    refusal = failure.refusal
    if refusal is None or refusal.status not in (400, 413, 422):
        return False
    return refusal.status == 413 or _TOO_LONG.search(refusal.message) is not None


def _first_kept(messages: Sequence[Message], most: int, tokens: int) -> int:
    """Return the place of the first of at most *most* last messages of together *tokens* tokens."""
    first = len(messages)
    for place in range(len(messages) - 1, 0, -1):
        tokens -= estimated_tokens(messages[place]["content"])
        if tokens < 0 or len(messages) - place > most:
            break
        if _may_begin(messages, place):
            first = place
    return first


def _may_begin(messages: Sequence[Message], place: int) -> bool:
    """Whether what begins at *place* is well-formed behind a summary: no result there has its call before it."""
    if place == len(messages):
        return True
    # A system message stays with what it accompanies.
    first = messages[place]
    return first["role"] != "system" and all(block["type"] != "tool_result" for block in first["content"])
