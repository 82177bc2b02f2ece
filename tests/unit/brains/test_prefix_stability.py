"""What a model has read of a session it finds again, byte for byte, at the beginning of the next request.

Only so do prompt caches (a vendor's, an inference server's) serve a long session. The sessions here have tools,
thinking, parallel calls, results in any order, input held back while calls run, and requests that failed.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import islice, pairwise
from typing import Any

import orjson
import pytest

from agents.brains.chunk_cache import ChunkCache
from agents.brains.chunks import ChunkChain
from agents.brains.port import BrainRequest
from agents.brains.transformers.chat import chat_of
from agents.brains.transformers.tiny import byte_tokenizer
from agents.brains.transformers.tokenizer import ChatTokenizer
from agents.brains.wire import request_body
from agents.ids import EventId
from agents.sessions.conversation import Conversation
from agents.sessions.events import Event, EventType

TOOLS = [{"name": name, "input_schema": {"type": "object", "required": ["b", "a"]}} for name in ("bash", "weather")]
SEEDS = range(2)
TURNS = 15
RENDERED = 14
"""Requests of which a template makes a prompt; it is slow."""
LOOK_BACK = 20
"""Blocks before a mark in which the API looks for what it has cached."""


@dataclass
class Session:
    """One session's log in the making, by the throw of dice."""

    dice: random.Random
    conversation: Conversation = field(default_factory=Conversation)
    chain: ChunkChain = field(default_factory=ChunkChain)
    events: int = 0

    def log(self, kind: EventType, body: dict[str, Any], hidden: dict[str, Any] | None = None) -> str:
        self.events += 1
        event = Event(EventId(f"sevt_{self.events}"), kind, body, None, self.events, hidden=hidden)
        self.conversation.apply(event)
        return event.id

    def text(self) -> list[dict[str, Any]]:
        return [{"type": "text", "text": f"{self.dice.random()} é\n"}]

    def says(self) -> None:
        self.log(EventType.USER_MESSAGE, {"content": self.text()})

    def request(self) -> BrainRequest:
        messages = self.conversation.snapshot()
        return BrainRequest("sesn_1", "m", messages, system="Be brief.", tools=TOOLS, chain=self.chain)

    def answered(self) -> None:
        """One answer: some thinking, some text, some calls; then their results, with input between them."""
        if self.dice.random() < 0.5:
            block = {"type": "thinking", "thinking": "hm", "signature": f"s{self.events}"}
            self.log(EventType.AGENT_THINKING, {}, {"block": block})
        calls = self.dice.choice([0, 0, 1, 2, 12])
        if not calls or self.dice.random() < 0.5:
            self.log(EventType.AGENT_MESSAGE, {"content": self.text()})
        results: list[tuple[EventType, dict[str, Any]]] = []
        for _ in range(calls):
            if self.dice.random() < 0.5:
                body: dict[str, Any] = {"name": "bash", "input": {"z": 1, "command": "ls", "a": [1.5, None, "ü"]}}
                call = self.log(EventType.AGENT_TOOL_USE, body)
                results.append((EventType.AGENT_TOOL_RESULT, {"tool_use_id": call}))
            else:
                call = self.log(EventType.AGENT_CUSTOM_TOOL_USE, {"name": "weather", "input": {}})
                results.append((EventType.USER_CUSTOM_TOOL_RESULT, {"custom_tool_use_id": call}))
        self.log(EventType.MODEL_REQUEST_END, {"is_error": False})
        self.dice.shuffle(results)
        for kind, body in results:
            if self.dice.random() < 0.2:
                self.says()
            self.log(kind, {**body, "content": self.text(), "is_error": self.dice.random() < 0.2})

    def requests(self) -> Iterator[tuple[BrainRequest, bool]]:
        """Yield each request, and whether it was answered."""
        for _ in range(TURNS):
            self.says()
            while self.conversation.awaits_model:
                fails = self.dice.random() < 0.15
                yield self.request(), not fails
                if fails:
                    self.log(EventType.MODEL_REQUEST_END, {"is_error": True})
                    self.says()
                else:
                    self.answered()


@pytest.fixture(params=SEEDS)
def session(request: pytest.FixtureRequest) -> Session:
    return Session(random.Random(request.param))


def blocks_of(body: dict[str, Any]) -> list[tuple[bytes, bool]]:
    """What the API's cache compares, in its order (so not the marks), each block with whether it is marked."""
    parts = [("tool", block) for block in body["tools"]] + [("system", block) for block in body["system"]]
    parts += [(message["role"], block) for message in body["messages"] for block in message["content"]]
    return [
        (orjson.dumps([role, {k: v for k, v in block.items() if k != "cache_control"}]), "cache_control" in block)
        for role, block in parts
    ]


def prefix_hash(blocks: list[tuple[bytes, bool]]) -> str:
    return hashlib.sha256(b"".join(content for content, _ in blocks)).hexdigest()


def test_a_request_to_a_messages_server_begins_with_all_of_the_one_before(session: Session) -> None:
    """The same body goes to Claude and to the inference server of a replica; a failed request too is continued."""
    bodies = [blocks_of(request_body(request)) for request, _ in session.requests()]
    assert len(bodies) > TURNS
    for before, after in pairwise(bodies):
        assert prefix_hash(after[: len(before)]) == prefix_hash(before)


def test_what_one_request_cached_the_next_one_finds(session: Session) -> None:
    """A cache is written where a mark is, and found when it ends at most so many blocks before a mark."""
    bodies = [blocks_of(request_body(request)) for request, _ in session.requests()]
    for before, after in pairwise(bodies):
        written = max(place for place, (_, marked) in enumerate(before) if marked)
        marks = [place for place, (_, marked) in enumerate(after) if marked]
        assert len(marks) <= 4
        assert any(written <= mark <= written + LOOK_BACK for mark in marks)


@pytest.mark.parametrize("template", ["own", "plain"])
def test_a_prompt_of_the_transformers_engine_begins_with_the_one_before(template: str) -> None:
    """A request that failed was never answered: what was said then is one message with what is said next."""
    pretrained = byte_tokenizer()
    if template == "plain":
        pretrained.chat_template = None
    tokenizer = ChatTokenizer(pretrained, stops=(), thinking=False)
    requests = Session(random.Random(0)).requests()
    asked = [request for request, answered in islice(requests, RENDERED) if answered]
    prompts = [tokenizer.prompt(chat_of(request, tools=True)).tokens for request in asked]
    for before, after in pairwise(prompts):
        assert after[: len(before)] == before


def test_what_a_replica_put_together_is_the_same_to_the_byte(session: Session) -> None:
    cache, held = ChunkCache(10**7), 0
    for request, _ in session.requests():
        assert request.chain is not None
        context = request.chain.follow(request.system, request.tools, request.messages)
        assert context is not None
        assert len(context.fresh) <= 3, "an answer, what followed it, and at first the opening"
        bare = replace(request, system=None, tools=[], messages=[])
        found = cache.restored(bare, context.carried(min(held, len(context.keys) - 2)))
        assert found is not None
        assert orjson.dumps(request_body(found)) == orjson.dumps(request_body(request))
        held = len(context.keys)
