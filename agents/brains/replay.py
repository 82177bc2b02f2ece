"""The brain that plays a scripted plan: no model, no key, no network, yet real tool calls.

Which step comes next is a pure function of the request (how many answers the conversation already
holds), so any replica plays any turn and a retry says the same again. Invariant: nobody can take it
for a model. The first text of a conversation begins with a notice that none was called, and so does
the text that follows a finished plan, and so does a summary, which says where the plan stood. What is
said (``play``) the simulated brain says, too, only slower.
"""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import orjson

from agents.brains import stream
from agents.brains.assembly import TokenUsage
from agents.brains.counting import CHARACTERS_PER_TOKEN, estimate
from agents.brains.grading import Verdict, asks_for_verdict, verdict_text
from agents.brains.plan import Pace, Plan, PlanBook, Step
from agents.brains.plan_memory import Recollection, recall, remember
from agents.brains.plan_templates import Memory, TemplateError, render
from agents.brains.port import BrainFailure, BrainRequest, texts_in
from agents.brains.summarizing import asks_for_summary
from agents.clock import Clock, SystemClock

NOTICE = "[Replay: no model was called"
DELTA_CHARACTERS = 24
"""Small enough to look like typing at a set pace; an unpaced text goes out in larger pieces."""
UNPACED_CHARACTERS = 400
_COUNT = re.compile(r"[0-9]{1,9}")
"""More can a user's message, which a template may take a count from, not make an answer cost."""

Block = tuple[dict[str, Any], dict[str, Any]]
"""How a block starts, and the delta that is all of its words."""


@dataclass(frozen=True, slots=True)
class Played:
    """What a plan says to one request."""

    message_id: str
    blocks: Sequence[Block]
    stop_reason: Literal["tool_use", "end_turn"]
    plan: Plan | None = None
    """The plan whose step it is; a summary is none's."""
    simulated_tokens: int = 0
    """Tokens that the answer stands for beyond its words."""

    @property
    def said_tokens(self) -> int:
        """Tokens of its words."""
        said = sum(len(orjson.dumps([delta])) for _, delta in self.blocks)
        return max(1, said // CHARACTERS_PER_TOKEN)


class ReplayBrain:
    """Plays the plan whose ``when`` fits the conversation; *pace* scales all pauses (0 plays at once)."""

    def __init__(self, book: PlanBook, *, pace: float = 1.0, clock: Clock | None = None) -> None:
        self._book = book
        self._pace = pace
        self._clock = clock or SystemClock()

    def think(self, request: BrainRequest) -> AsyncIterator[dict[str, Any]]:
        """Stream the next step; raises BrainFailure when a template cannot be rendered."""
        return self._think(request)

    async def count_tokens(self, request: BrainRequest) -> int:
        """Return what the usage of the answer will say."""
        return estimate(request)

    async def start(self) -> None:
        """Nothing to start: the plan is read already."""

    def check(self) -> None:
        """Nothing to check."""

    async def aclose(self) -> None:
        """Nothing to close."""

    async def _think(self, request: BrainRequest) -> AsyncGenerator[dict[str, Any], None]:
        played = play(request, self._book)
        pace = played.plan.pace if played.plan else Pace()
        usage = TokenUsage()
        if played.plan is None or played.plan.simulate_usage:
            usage = TokenUsage(estimate(request), played.said_tokens + played.simulated_tokens)
        await self._wait(pace.step_seconds)
        yield stream.message_start(played.message_id, request.model, usage)
        for index, (start, delta) in enumerate(played.blocks):
            yield stream.block_start(index, start)
            for piece in _paced(delta, pace):
                if pace.characters_per_second and "text" in piece:
                    await self._wait(len(piece["text"]) / pace.characters_per_second)
                yield stream.block_delta(index, piece)
            yield stream.block_stop(index)
        yield stream.message_delta(played.stop_reason, usage)
        yield stream.message_stop()

    async def _wait(self, seconds: float) -> None:
        if seconds * self._pace > 0:
            await self._clock.sleep(seconds * self._pace)


def play(request: BrainRequest, book: PlanBook) -> Played:
    """Return what the plan that fits says next; raises BrainFailure when a template cannot be rendered."""
    if asks_for_summary(request):
        summary = f"{NOTICE} to summarize the conversation.]\n{remember(request, book)}"
        return Played("msg_replay_summary", [_text_block(summary)], "end_turn")
    if asks_for_verdict(request):
        return Played("msg_replay_verdict", [_text_block(_verdict(request, book))], "end_turn")
    try:
        recalled = recall(request, book)
    except TemplateError as error:
        said = f"an earlier step of the replay plan failed: {error}"
        raise BrainFailure("request_failed", said, transient=False) from error
    plan, step = recalled.plan, recalled.step
    try:
        blocks = _blocks(recalled)
        simulated = _simulated_tokens(step, recalled) if step else 0
    except TemplateError as error:
        where = f"step {recalled.answers} of the replay plan {plan.name if plan else ''!r}"
        raise BrainFailure("request_failed", f"{where} failed: {error}", transient=False) from error
    stop = "tool_use" if any(start["type"] == "tool_use" for start, _ in blocks) else "end_turn"
    return Played(f"msg_replay_{recalled.answers}", blocks, stop, plan, simulated)


def _verdict(request: BrainRequest, book: PlanBook) -> str:
    """Return what the plan for this evaluation says, or that nobody graded; raises BrainFailure."""
    asked = texts_in(request.messages[0]["content"])[0].partition("\n")[0]
    plan = book.choose(asked)
    if plan is None or plan.when is None:
        return verdict_text(Verdict("failed", f"{NOTICE} to grade the outcome.]"))
    memory = Memory(prompt=asked, message=asked, session_id=request.session_id, results=(), labelled={})
    try:
        return f"{opening(plan.name)}\n\n{render(plan.steps[0].text or '', memory)}"
    except TemplateError as error:
        said = f"the verdict of the replay plan {plan.name!r} failed: {error}"
        raise BrainFailure("request_failed", said, transient=False) from error


def _blocks(recalled: Recollection) -> list[Block]:
    plan, step, answers = recalled.plan, recalled.step, recalled.answers
    if plan is None or step is None:
        told = f"; the plan {plan.name!r} is over" if plan else "; no plan fits this conversation"
        return [_text_block(f"{NOTICE}{told}.]")]
    text: str = render(step.text or "", recalled.memory)
    if answers == 0:
        text = f"{opening(plan.name)}\n\n{text}".rstrip("\n")
    blocks = [_text_block(text)] if text else []
    for place, tool in enumerate(step.calls(recalled.memory)):
        start: dict[str, Any] = {"type": "tool_use", "id": f"toolu_replay_{answers}_{place}", "name": tool.name}
        arguments = orjson.dumps(render(tool.input, recalled.memory)).decode()
        blocks.append((start | {"input": {}}, {"type": "input_json_delta", "partial_json": arguments}))
    if not blocks:
        raise TemplateError("nothing is left to say: an answer without content leaves no trace and would be repeated")
    return blocks


def opening(plan: str) -> str:
    """Return the notice with which the first text of a conversation begins, while *plan* is played."""
    return f"{NOTICE}; the scripted plan {plan!r} is played.]"


def _text_block(text: str) -> Block:
    return {"type": "text", "text": ""}, {"type": "text_delta", "text": text}


def _paced(delta: dict[str, Any], pace: Pace) -> list[dict[str, Any]]:
    """Cut a text into the pieces in which it is streamed."""
    if "text" not in delta:
        return [delta]
    text: str = delta["text"]
    width = DELTA_CHARACTERS if pace.characters_per_second else UNPACED_CHARACTERS
    return [{**delta, "text": text[start : start + width]} for start in range(0, len(text), width)]


def _simulated_tokens(step: Step, recalled: Recollection) -> int:
    told: str = str(render(step.simulated_tokens, recalled.memory)).strip()
    if not _COUNT.fullmatch(told):
        raise TemplateError(f"simulate.output_tokens is no number of tokens: {told[:200]!r}")
    return int(told)
