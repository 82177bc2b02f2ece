"""Loops: a session that makes the same calls with the same results again and again.

A loop is the same round of one to four calls, so many times in a row: same tools, same inputs, same results. Polling
is none, for its results differ until it ends; nor is a call that a user asks for again, for the user's word begins
anew.
"""

from __future__ import annotations

from collections import deque

_LONGEST_ROUND = 4

Signature = int
"""What a call and its result come to: equal for equal ones, and hardly for others."""


class LoopWatch:
    """The last calls of one session."""

    __slots__ = ("_last", "_repeats", "_told")

    def __init__(self, repeats: int) -> None:
        self._repeats = repeats
        self._last: deque[Signature] = deque(maxlen=_LONGEST_ROUND * repeats)
        self._told: frozenset[Signature] = frozenset()

    def restart(self) -> None:
        """Begin anew, for somebody has said something."""
        self._last.clear()
        self._told = frozenset()

    def add(self, signature: Signature) -> int:
        """Take note of a call; returns the calls in the round that has now become a loop, 0 if none has.

        A loop is told once: until the session makes another call, or does so for the first time.
        """
        self._last.append(signature)
        if signature not in self._told:
            self._told = frozenset()
        length = self._round()
        if not length or self._told:
            return 0
        self._told = frozenset(list(self._last)[-length:])
        return length

    def _round(self) -> int:
        calls = list(self._last)
        for length in range(1, _LONGEST_ROUND + 1):
            span = calls[-length * self._repeats :]
            if len(span) == length * self._repeats and span == span[:length] * self._repeats:
                return length
        return 0
