"""Where a conversation stands in its plan, and what its templates may know: read from the request alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

from agents.brains.plan import Plan, PlanBook, Step
from agents.brains.plan_templates import Memory, Result
from agents.brains.port import BrainRequest


@dataclass(frozen=True, slots=True)
class Recollection:
    """The plan of a conversation, the step that comes next (None: it is over) and the answers given so far."""

    plan: Plan | None
    step: Step | None
    answers: int
    memory: Memory


def recall(request: BrainRequest, book: PlanBook) -> Recollection:
    """Walk the conversation once."""
    walk = _Walk(book)
    for message in request.messages:
        if message["role"] == "assistant":
            walk.answer(message)
        else:
            walk.user(message)
    return Recollection(
        plan=walk.plan,
        step=walk.step(),
        answers=walk.answers,
        memory=Memory(
            prompt=walk.prompt or "",
            message=walk.newest,
            session_id=request.session_id,
            results=tuple(walk.results),
            labelled=walk.labelled,
        ),
    )


class _Walk:
    """The state while walking: answers counted, calls awaiting their results by id."""

    def __init__(self, book: PlanBook) -> None:
        self._book = book
        self._calls: dict[str, tuple[str, str | None]] = {}
        self._before_turn = 0
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
        number = self.answers - (self._before_turn if self.plan.each_turn else 0)
        return self.plan.steps[number] if number < len(self.plan.steps) else None

    def answer(self, message: dict[str, Any]) -> None:
        step = self.step()
        uses = [block for block in _blocks(message) if block["type"] == "tool_use"]
        for place, use in enumerate(uses):
            label = step.tools[place].label if step and place < len(step.tools) else None
            self._calls[use["id"]] = (use["name"], label)
        self.answers += 1

    def user(self, message: dict[str, Any]) -> None:
        texts = [block["text"] for block in _blocks(message) if block["type"] == "text"]
        if texts:
            self.newest = "\n".join(texts)
            self._before_turn = self.answers
        if texts and self.prompt is None:
            self.prompt = self.newest
            self.plan = self._book.choose(self.prompt)
        for block in _blocks(message):
            if block["type"] == "tool_result":
                self._result(block)

    def _result(self, block: dict[str, Any]) -> None:
        name, label = self._calls.get(block["tool_use_id"], ("", None))
        result = Result.of(_text(block.get("content")), name=name, is_error=bool(block.get("is_error")))
        self.results.append(result)
        if label:
            self.labelled[label] = result


def _blocks(message: dict[str, Any]) -> list[dict[str, Any]]:
    content: object = message["content"]
    return [{"type": "text", "text": content}] if isinstance(content, str) else cast("list[dict[str, Any]]", content)


def _text(content: str | list[dict[str, Any]] | None) -> str:
    if content is None or isinstance(content, str):
        return content or ""
    return "\n".join(block["text"] for block in content if block["type"] == "text")
