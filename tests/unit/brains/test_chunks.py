"""Chunks of a conversation: keys from content alone, and a replica's cache that is never needed."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.brains.chunk_cache import ChunkCache
from agents.brains.chunks import Carried, ChunkChain, Context, SentChunks
from agents.brains.port import BrainRequest
from tests.unit.brains.answers import user

BARE = BrainRequest("sesn_1", "m", [])
TOOLS = [{"name": "bash", "input_schema": {"type": "object"}}]


def chunks_of(*messages: dict[str, Any], system: str | None = "s", chain: ChunkChain | None = None) -> Context:
    context = (chain or ChunkChain()).follow(system, TOOLS, list(messages))
    assert context is not None
    return context


def restored(cache: ChunkCache, carried: Carried) -> list[dict[str, Any]]:
    request = cache.restored(BARE, carried)
    assert request is not None
    assert (request.system, request.tools) == ("s", TOOLS)
    return request.messages


def test_keys_follow_from_content_alone() -> None:
    one, two = chunks_of(user("a"), user("b")), chunks_of(user("a"), user("b"))
    assert one.keys == two.keys
    assert len({*one.keys}) == 3


@pytest.mark.parametrize(
    ("other", "same"),
    [
        (chunks_of(user("a"), user("c")), 2),
        (chunks_of(user("x"), user("b")), 1),
        (chunks_of(user("a"), user("b"), system="other"), 0),
        (chunks_of({"content": user("a")["content"], "role": "user"}, user("b")), 1),
    ],
)
def test_a_key_stands_for_everything_before_it_too(other: Context, same: int) -> None:
    """The order of fields counts as well: a prompt is made of just these bytes."""
    keys = chunks_of(user("a"), user("b")).keys
    assert [mine == its for mine, its in zip(keys, other.keys, strict=True)] == [True] * same + [False] * (3 - same)


def test_only_what_is_new_is_written_again() -> None:
    chain, old = ChunkChain(), [user(str(n)) for n in range(9)]
    first = chain.follow("s", TOOLS, old)
    second = chain.follow("s", TOOLS, [*old, user("new")])
    assert first is not None and second is not None
    assert set(first.fresh) == set(range(10))
    assert set(second.fresh) == {10}
    assert second.keys == chunks_of(*old, user("new")).keys


def test_what_changes_in_the_middle_changes_the_keys_from_there() -> None:
    """As when an answer failed and the user said more, or when a compaction wrote a new beginning."""
    chain, old = ChunkChain(), [user(str(n)) for n in range(4)]
    before = chunks_of(*old, chain=chain)
    grown = [*old[:3], user("3, and more"), user("4")]
    after = chunks_of(*grown, chain=chain)
    assert after.keys == chunks_of(*grown).keys
    assert after.keys[:4] == before.keys[:4] and after.keys[4] != before.keys[4]
    shorter = chunks_of(user("summary"), *grown[3:], chain=chain)
    assert shorter.keys == chunks_of(user("summary"), *grown[3:]).keys


def test_what_is_no_json_has_no_chunks_and_does_no_harm() -> None:
    chain = ChunkChain()
    assert chain.follow(None, [], [user("a"), user("\ud800")]) is None
    fine = chain.follow(None, [], [user("a"), user("b")])
    assert fine is not None and set(fine.fresh) == {0, 1, 2}


def test_a_conversation_is_put_together_from_what_was_kept_and_what_travelled() -> None:
    cache, messages = ChunkCache(10**6), [user(str(n)) for n in range(5)]
    assert restored(cache, chunks_of(*messages[:3]).carried(0)) == messages[:3]
    rest = chunks_of(*messages).carried(4)
    assert len(rest.chunks) == 2
    assert restored(cache, rest) == messages


def test_a_replica_that_lacks_a_chunk_says_so() -> None:
    context = chunks_of(user("a"), user("b"))
    assert ChunkCache(10**6).restored(BARE, context.carried(2)) is None


def test_sessions_share_what_they_begin_with() -> None:
    cache = ChunkCache(10**6)
    restored(cache, chunks_of(user("a"), user("b")).carried(0))
    restored(cache, chunks_of(user("a"), user("c")).carried(0))
    assert len(cache) == 4, "the opening and the first message are there once"


def test_memory_is_bounded_and_the_beginning_is_kept_longest() -> None:
    cache, size = ChunkCache(100_000), 10_000
    messages = [user(str(n) * size) for n in range(20)]
    context = chunks_of(*messages)
    assert restored(cache, context.carried(0)) == messages, "what does not fit is used all the same"
    assert 50_000 < cache.bytes <= 100_000
    held = len(cache)
    assert cache.restored(BARE, Carried(context.keys[held - 1], ())) is not None
    assert cache.restored(BARE, Carried(context.keys[held], ())) is None


def test_what_was_used_last_stays() -> None:
    cache = ChunkCache(60_000)
    old, new = chunks_of(user("o" * 20_000)), chunks_of(user("n" * 20_000))
    restored(cache, old.carried(0))
    restored(cache, new.carried(0))
    assert restored(cache, old.carried(2)) == [user("o" * 20_000)]
    restored(cache, chunks_of(user("z" * 20_000)).carried(0))
    assert cache.restored(BARE, new.carried(2)) is None
    assert cache.restored(BARE, old.carried(2)) is not None


def test_what_nobody_uses_goes_after_a_while() -> None:
    now = 0.0
    cache = ChunkCache(10**6, clock=lambda: now)
    old, new = chunks_of(user("old")), chunks_of(user("new"))
    restored(cache, old.carried(0))
    now = 200.0
    restored(cache, new.carried(0))
    now = 310.0
    cache.drop_unused()
    assert cache.restored(BARE, old.carried(2)) is None
    assert cache.restored(BARE, new.carried(2)) is not None, "with the opening that both have"
    now = 700.0
    cache.drop_unused()
    assert (len(cache), cache.bytes) == (0, 0)


def test_an_asker_remembers_what_was_used_last() -> None:
    sent, keys = SentChunks(most=3), chunks_of(user("a"), user("b"), user("c")).keys
    sent.add(keys)
    assert sent.held(keys) == 4
    assert sent.held(keys[:1]) == 0, "the oldest was forgotten"
    other = chunks_of(user("x")).keys
    sent.add(other)
    assert (sent.held(other), sent.held(keys)) == (2, 4)
    assert sent.held(chunks_of(user("a")).keys) == 1, "the opening was used again"


@st.composite
def talks(draw: st.DrawFn) -> list[list[dict[str, Any]]]:
    """What a session asks, request by request: it grows, its end changes, or it begins anew."""
    asked: list[list[dict[str, Any]]] = []
    messages: list[dict[str, Any]] = []
    for number in range(draw(st.integers(1, 12))):
        match draw(st.sampled_from(["grow", "grow", "change", "compact"])):
            case "change" if messages:
                messages = [*messages[:-1], user(f"changed {number}")]
            case "compact" if len(messages) > 2:
                messages = [user(f"summary {number}"), *messages[-1:]]
            case _:
                messages = [*messages, user(str(number) * draw(st.integers(1, 300)))]
        asked.append(messages)
    return asked


@given(talks(), st.integers(0, 20_000), st.integers(1, 8))
@settings(max_examples=50, deadline=None)
def test_whatever_was_forgotten_a_replica_reads_what_was_asked(
    talk: list[list[dict[str, Any]]], room: int, memory: int
) -> None:
    """The transport in small: believed to be held, else everything."""
    chain, sent, cache = ChunkChain(), SentChunks(memory), ChunkCache(room)
    for messages in talk:
        context = chunks_of(*messages, chain=chain)
        found = cache.restored(BARE, context.carried(sent.held(context.keys)))
        if found is None:
            found = cache.restored(BARE, context.carried(0))
        assert found is not None and found.messages == messages
        assert cache.bytes <= room
        sent.add(context.keys)
