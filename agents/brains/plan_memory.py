"""Where a conversation stands in its plan, and what its templates may know: read from the request alone.

A conversation that was made shorter begins with a summary. Where the replay brain itself made it, the summary says
where the conversation stood, and the plan goes on from there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import orjson

from agents.brains.plan import Plan, PlanBook, Step
from agents.brains.plan_templates import Memory, Result
from agents.brains.port import BrainRequest, content_blocks, texts_in
from agents.brains.summarizing import AGENT, ASSISTANT, SUMMARY, TOOL, USER, entries_of, summary_block, summary_in

_GONE = Result.of("(no longer in the conversation)", name="", is_error=False)
_REMEMBERED_CHARACTERS = 300
_MARK = "Where it stood: "


@dataclass(frozen=True, slots=True)
class Recollection:
    """The plan of a conversation, the step that comes next (None: it is over) and the answers given so far."""

    plan: Plan | None
    step: Step | None
    answers: int
    memory: Memory


def recall(request: BrainRequest, book: PlanBook) -> Recollection:
    """Walk the conversation once. Raises TemplateError when it cannot be said which calls an earlier answer made."""
    walk = _Walk(book, request.session_id)
    for message in request.messages:
        if message["role"] == "assistant":
            walk.answer(message)
        elif message["role"] == "user":
            walk.user(message)
    return Recollection(walk.plan, walk.step(), walk.answers, walk.memory())


def remember(request: BrainRequest, book: PlanBook) -> str:
    """Return what a summary must say for the plan to go on after it; *request* is one for a summary."""
    walk = _Walk(book, request.session_id)
    for entry in entries_of(request):
        if entry.startswith(ASSISTANT):
            walk.answers += 1
        elif entry.startswith(TOOL):
            walk.results.append(_GONE)
        elif entry.startswith(SUMMARY):
            walk.hear([summary_block(entry.removeprefix(SUMMARY))["text"]])
        else:
            walk.hear([entry.removeprefix(USER).removeprefix(AGENT)])
    stood = {
        "answers": walk.answers,
        "before_turn": walk.before_turn,
        "results": len(walk.results),
        "prompt": (walk.prompt or "")[:_REMEMBERED_CHARACTERS],
        "message": walk.newest[:_REMEMBERED_CHARACTERS],
    }
    return _MARK + orjson.dumps(stood).decode()


class _Walk:
    """The state while walking: answers counted, calls awaiting their results by id."""

    def __init__(self, book: PlanBook, session_id: str) -> None:
        self._book = book
        self._session_id = session_id
        self._calls: dict[str, tuple[str, str | None]] = {}
        self.before_turn = 0
        self.plan: Plan | None = None
        self.prompt: str | None = None
        self.newest = ""
        self.answers = 0
        self.results: list[Result] = []
        self.labelled: dict[str, Result] = {}

    def step(self) -> Step | None:
        """The step that the next answer plays."""
        if self.plan is None:
            return None
        number = self.answers - (self.before_turn if self.plan.each_turn else 0)
        return self.plan.steps[number] if number < len(self.plan.steps) else None

    def memory(self) -> Memory:
        """What templates may know at this point."""
        return Memory(
            prompt=self.prompt or "",
            message=self.newest,
            session_id=self._session_id,
            results=tuple(self.results),
            labelled=self.labelled,
        )

    def answer(self, message: dict[str, Any]) -> None:
        uses = [block for block in content_blocks(message["content"]) if block["type"] == "tool_use"]
        # An answer without calls has no labels to give, and may be one that a client wrote.
        step = self.step() if uses else None
        calls = step.calls(self.memory()) if step else []
        for place, use in enumerate(uses):
            self._calls[use["id"]] = (use["name"], calls[place].label if place < len(calls) else None)
        self.answers += 1

    def user(self, message: dict[str, Any]) -> None:
        self.hear(texts_in(message["content"]))
        for block in content_blocks(message["content"]):
            if block["type"] == "tool_result":
                self._result(block)

    def hear(self, texts: list[str]) -> None:
        """Take in what the user says, all of it together."""
        if texts and self.prompt is None and (summary := summary_in(texts[0])) is not None:
            texts = texts[self._recalls(summary) :]
        if not texts:
            return
        self.newest = "\n".join(texts)
        self.before_turn = self.answers
        if self.prompt is None:
            self._begin(self.newest)

    def _begin(self, prompt: str) -> None:
        self.prompt = prompt
        self.plan = self._book.choose(prompt)

    def _recalls(self, summary: str) -> bool:
        """Go on from where *summary* says that the conversation stood; says whether it does."""
        _, _, told = summary.partition(_MARK)
        try:
            stood = orjson.loads(told)
        except orjson.JSONDecodeError:  # another brain's words, or what is left of our own
            return False
        self.answers, self.before_turn = stood["answers"], stood["before_turn"]
        self.results = [_GONE] * stood["results"]
        self.newest = stood["message"]
        self._begin(stood["prompt"])
        return True

    def _result(self, block: dict[str, Any]) -> None:
        name, label = self._calls.get(block["tool_use_id"], ("", None))
        text = "\n".join(texts_in(block.get("content") or ""))
        result = Result.of(text, name=name, is_error=bool(block.get("is_error")))
        self.results.append(result)
        if label:
            self.labelled[label] = result
