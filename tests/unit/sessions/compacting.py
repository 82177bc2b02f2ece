"""Sessions with tiny contexts, for the tests of compaction."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from agents.brains.assembly import TokenUsage
from agents.brains.port import BrainFailure, BrainRequest, Refusal
from agents.brains.registry import registry_of
from agents.brains.scripted import Fail, Scripted, reply, text
from agents.brains.summarizing import asks_for_summary, entries_of, summary_in
from agents.config import Settings
from agents.economics.price_book import PriceBook
from agents.ids import SessionId
from agents.sessions.budget import Budgets
from agents.sessions.compaction import Compaction

from .conftest import World, make_world, message

FULL = TokenUsage(input_tokens=1500, output_tokens=100)
TINY: dict[str, Any] = {"engine": "replay", "aliases": ["claude-"], "capabilities": {"context_tokens": 2000}}
DIGESTER: dict[str, Any] = {"engine": "replay", "roles": ["summarization"]}
COMPACTED = "agent.thread_context_compacted"
SPANS = ["span.model_request_start", "span.model_request_end"]
PRICES = PriceBook.load()
RECORD = make_world().new_record()
LONG = "prompt is too long: 207791 tokens > 200000 maximum"


def opening(request: BrainRequest) -> str | None:
    """The summary that a request begins with, if it does."""
    return summary_in(request.messages[0]["content"][0]["text"])


def answers(request: BrainRequest) -> Scripted:
    """Each answer but those after a summary fills the context."""
    if asks_for_summary(request):
        return text(f"summary of {len(entries_of(request))}")
    return reply(text("fine"), usage=TokenUsage(20, 5) if opening(request) else FULL)


def refusal(status: int = 400, words: str = LONG) -> Fail:
    return Fail(BrainFailure("request_failed", words, transient=False, refusal=Refusal(status, words)))


@asynccontextmanager
async def world_of(by: Callable[[BrainRequest], Scripted], **changes: Any) -> AsyncIterator[World]:
    changes = {"brains": {"tiny": TINY}, "compaction": {"keep_messages": 2}, **changes}
    world = make_world(**changes)
    world.brain._by = by
    await world.harness.start()
    yield world
    await world.harness.stop()


async def turns(world: World, session: SessionId, *words: str) -> list[dict[str, Any]]:
    for number, each in enumerate(words, 1):
        await world.send(session, message(each))
        await world.idle(session, number)
    await world.quiet()
    return await world.log(session)


def words(request: BrainRequest) -> list[tuple[str, list[str]]]:
    return [
        (each["role"], [block.get("text", block["type"]) for block in each["content"]]) for each in request.messages
    ]


def judged_by(**changes: Any) -> Compaction:
    """The rules of a harness with these settings."""
    settings = Settings.model_validate(changes)
    registry = registry_of(settings)
    return Compaction(settings, registry, Budgets(PRICES, registry), lambda: [])
