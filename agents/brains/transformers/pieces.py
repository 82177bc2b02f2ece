"""What a generated text consists of, in the order in which it is found."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Said:
    text: str


@dataclass(frozen=True, slots=True)
class Thought:
    text: str


@dataclass(frozen=True, slots=True)
class CallStarted:
    """A call of the tool *name*; the text of its arguments follows."""

    name: str


@dataclass(frozen=True, slots=True)
class CallArguments:
    text: str


@dataclass(frozen=True, slots=True)
class CallEnded:
    pass


Piece = Said | Thought | CallStarted | CallArguments | CallEnded
"""Between CallStarted and CallEnded there is only CallArguments."""


def held_back(text: str, *marks: str) -> int:
    """Return how many characters at the end of *text* could be the beginning of one of *marks*."""
    longest = min(len(text), max(map(len, marks), default=1) - 1)
    return next((length for length in range(longest, 0, -1) if any(m.startswith(text[-length:]) for m in marks)), 0)
