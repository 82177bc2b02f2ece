"""The port to a brain: one streaming interface, whatever thinks behind it.

A brain takes a Messages-API request and streams Messages-API events (``message_start``,
``content_block_start`` ... ``message_stop``) as plain dicts. It is stateless: any replica can serve
any turn (law 7 of the design).
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, TypeVar, runtime_checkable

from agents.brains.chunks import ChunkChain
from agents.errors import HecatonError

T = TypeVar("T")

FailureKind = Literal["overloaded", "rate_limited", "request_failed", "billing", "unknown"]


@dataclass(frozen=True, slots=True)
class BrainRequest:
    """What a brain is asked: the context of one model request.

    ``messages`` and ``tools`` have the shapes of the Messages API; ``attempt`` counts from 1 within
    one model request; ``session_id`` is a routing hint (prefix affinity), never needed.
    """

    session_id: str
    model: str
    """What the agent names; an engine is told what its brain makes of it (``RegisteredBrain.told``)."""
    messages: list[dict[str, Any]]
    system: str | None = None
    tools: list[dict[str, Any]] = field(default_factory=lambda: [])
    max_tokens: int = 32_000
    effort: str | None = None
    speed: str | None = None
    inference_geo: str | None = None
    attempt: int = 1
    principal: str = ""
    """Whose request it is: places to think are dealt out fairly between principals."""
    brain: str = ""
    """Id (``name@version``) of the brain that the request was routed to; empty before that."""
    versions: Mapping[str, str] = field(default_factory=lambda: {})
    """Versions that the session stays with, by the brain's name; only who routes the request reads them."""
    live: bool = True
    """Whether somebody watches the answer in the making; a transport may else carry it whole, as one item."""
    body: dict[str, Any] | None = None
    """The body of a Messages-API request that a client made itself. An engine that speaks that API sends it as it is,
    but for the model's name; every other reads the fields above, which are taken from it."""
    betas: tuple[str, ...] = ()
    """Features of the vendor's API that the client named with it (``anthropic-beta``)."""
    chain: ChunkChain | None = field(default=None, compare=False, repr=False)
    """What the conversation's session keeps so that a transport need not carry what it carried before; see
    ``agents.brains.chunks``. It stays with who asks, and without it the context travels whole."""


def content_blocks(content: str | list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the blocks of what a message or a tool's result holds: a string is one of text."""
    return [{"type": "text", "text": content}] if isinstance(content, str) else content


def texts_in(content: str | list[dict[str, Any]]) -> list[str]:
    """Return the texts among the blocks of what a message or a tool's result holds."""
    return [block["text"] for block in content_blocks(content) if block["type"] == "text"]


@dataclass(frozen=True, slots=True)
class Refusal:
    """What a model server has against the request itself: status (400, 404, 413 or 422) and words of its own."""

    status: int
    message: str


class BrainFailure(HecatonError):
    """A model request failed. ``kind`` selects the session error (spec E.4); ``retriable`` is per instance.

    ``refusal`` is set when the request itself is at fault, as the model server sees it.
    """

    code = "api_error"

    def __init__(
        self,
        kind: FailureKind,
        message: str,
        *,
        transient: bool,
        retry_after: float | None = None,
        refusal: Refusal | None = None,
    ) -> None:
        super().__init__(message, retry_after=retry_after)
        self.kind: FailureKind = kind
        self.transient = transient
        self.refusal = refusal

    def __reduce__(self) -> tuple[Any, ...]:
        return (_rebuild_failure, (self.kind, self.message, self.transient, self.retry_after, self.refusal))


def _rebuild_failure(
    kind: FailureKind, message: str, transient: bool, retry_after: float | None, refusal: Refusal | None
) -> BrainFailure:
    return BrainFailure(kind, message, transient=transient, retry_after=retry_after, refusal=refusal)


class BrainLost(BrainFailure):
    """Who was thinking is gone, or was never reached: no failure of the model's. Ask again at once, another will."""

    def __init__(self, message: str) -> None:
        super().__init__("request_failed", message, transient=True)

    def __reduce__(self) -> tuple[Any, ...]:
        return (BrainLost, (self.message,))


class Brain(Protocol):
    """Something that thinks."""

    def think(self, request: BrainRequest) -> AsyncIterator[dict[str, Any]]:
        """Stream the answer as Messages-API events; ends after ``message_stop``.

        Raises BrainFailure (BrainLost among them). Closing the iterator early cancels the generation.
        """
        ...


@runtime_checkable
class TokenCounter(Protocol):
    """An engine that knows how many tokens a request has. Not all do: see ``agents.brains.counting``."""

    async def count_tokens(self, request: BrainRequest) -> int:
        """Return the tokens of the request's messages, system prompt and tools. Raises BrainFailure."""
        ...


@runtime_checkable
class Interruptible(Protocol):
    """An engine that may be unable to think for a while and comes back by itself, as when its server is restarted."""

    @property
    def able(self) -> bool:
        """Whether it can think now; a request that it is asked meanwhile fails."""
        ...

    def watch(self, told: Callable[[bool], None]) -> None:
        """Have *told* called with ``able`` whenever that changes."""
        ...


@runtime_checkable
class Measured(Protocol):
    """An engine that counts what it does."""

    def figures(self) -> dict[str, float]:
        """Return its figures by their names; those that only grow start again with the replica."""
        ...


class TokenCounters(Protocol):
    """The counters of all brains, seen from a gateway."""

    async def count_tokens(self, brain: str, request: BrainRequest) -> int:
        """Return the tokens of a request to the brain with id *brain* (``name@version``). Raises BrainFailure."""
        ...


@asynccontextmanager
async def closing(events: AsyncIterator[T]) -> AsyncGenerator[AsyncIterator[T]]:
    """Close a brain's stream at the end, if it can be closed: what nobody reads must not be generated any more."""
    try:
        yield events
    finally:
        close = getattr(events, "aclose", None)
        if close is not None:
            await close()


@dataclass(frozen=True, slots=True)
class Standing:
    """How a brain stands, as one asker sees it."""

    replicas: int
    """Replicas that can be asked now."""
    places: int
    """Requests that they take at a time."""
    under_way: int
    waiting: int

    @property
    def figures(self) -> dict[str, int]:
        """Replicas that can be asked, and requests that have a place and that wait for one."""
        return {"replicas": self.replicas, "requests": self.under_way, "requests_waiting": self.waiting}


class BrainPools(Protocol):
    """The replicas of every brain, each brain with a line of its own before them."""

    def think(self, brain: str, request: BrainRequest) -> AsyncIterator[dict[str, Any]]:
        """Stream the answer of the brain with id *brain* (``name@version``).

        Raises BrainFailure: ``overloaded`` when the line is full or no place came free in time, BrainLost when the
        replica went away. Closing the iterator early cancels the generation.
        """
        ...

    def standing(self, brain: str) -> Standing:
        """Return how a brain stands; without waiting."""
        ...


class EngineUnusable(HecatonError):
    """An engine cannot run here: a package, a GPU, a program or the weights are missing, or it keeps dying.

    The message says what is missing and what to do.
    """

    code = "api_error"


class Engine(Brain, Protocol):
    """What thinks inside a replica, with a life of its own."""

    async def start(self) -> None:
        """Return when it can think (weights loaded, server healthy, warmed up). Raises EngineUnusable."""
        ...

    def check(self) -> None:
        """Raise EngineUnusable when only another replica can help; returns at once."""
        ...

    async def aclose(self) -> None:
        """End what was started; requests under way end with BrainLost. May be called again."""
        ...
