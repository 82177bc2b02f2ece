"""A bounded queue and the thread that empties it: whoever finishes a span never waits for who takes it (law 9)."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence

from agents.telemetry.tracing.spans import Span

logger = logging.getLogger(__name__)

_BATCH = 512
"""Spans that are taken at a time: while they are made ready, other threads get few turns."""
_TOLD_EVERY_SECONDS = 60.0

Write = Callable[[Sequence[Span]], None]
"""Takes spans; blocks within bounds of its own. Raises OSError when it could not."""


class ExportQueue:
    """Spans on their way to one place."""

    def __init__(self, name: str, write: Write, *, most: int, every: float) -> None:
        """At most *most* spans wait; they are written *every* so many seconds, or as soon as there is a batch."""
        self._name = name
        self._write = write
        self._most = most
        self._every = every
        self._waiting: deque[Span] = deque()
        self._wake = threading.Event()
        self._closing = False
        self._thread: threading.Thread | None = None
        self._told_at = float("-inf")
        self.dropped = 0
        """Spans for which there was no room."""
        self.failed = 0
        """Spans that could not be written."""

    def start(self) -> None:
        """Begin to write."""
        self._thread = threading.Thread(target=self._run, name=f"spans to {self._name}", daemon=True)
        self._thread.start()

    def put(self, spans: Sequence[Span]) -> None:
        """Let spans wait; those for which there is no room are dropped and counted. Returns at once."""
        room = self._most - len(self._waiting)
        self._waiting.extend(spans[: max(0, room)])
        if len(spans) > room:
            self.dropped += len(spans) - max(0, room)
            self._tell(f"there is no room for spans to {self._name}: {self.dropped} were dropped so far")
        if len(self._waiting) >= _BATCH:
            self._wake.set()

    def close(self, seconds: float) -> None:
        """Write what waits, as far as that takes no longer than *seconds*. Blocks."""
        self._closing = True
        self._wake.set()
        if self._thread is not None:
            self._thread.join(seconds)

    def _run(self) -> None:
        while not self._closing:
            self._wake.wait(self._every)
            self._wake.clear()
            self._flush()
        self._flush()

    def _flush(self) -> None:
        while batch := [self._waiting.popleft() for _ in range(min(_BATCH, len(self._waiting)))]:
            try:
                self._write(batch)
            except OSError as error:
                self._lost(batch, f"{type(error).__name__}: {error}")
            except Exception as error:
                # Supervisor border: without its thread the queue would fill up, and nobody would know why.
                logger.exception("spans could not be written to %s", self._name)
                self._lost(batch, type(error).__name__)

    def _lost(self, batch: Sequence[Span], why: str) -> None:
        self.failed += len(batch)
        self._tell(f"{self.failed} spans could not be written to {self._name} so far: {why}")

    def _tell(self, words: str) -> None:
        """Say it now and then: a receiver that is away is away for every batch."""
        now = time.monotonic()
        if now - self._told_at >= _TOLD_EVERY_SECONDS:
            self._told_at = now
            logger.warning("%s", words)
