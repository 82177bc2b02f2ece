"""Ids of traces and spans: made from the ids of what they stand for, so that nothing has to be stored or sent.

A gateway knows a turn's trace by the event that it sends, and an owner that goes on with another's turn gives each span
the id that the other would have given it. Formats are those of W3C Trace Context.
"""

from __future__ import annotations

from hashlib import blake2b


def trace_id_of(session_id: str, seed: str) -> int:
    """Return the 128-bit id of the trace that *seed* (an event's id, or the session's) begins in a session."""
    return _number(f"{session_id}/{seed}", 16)


def span_id_of(trace_id: int, what: str) -> int:
    """Return the 64-bit id of *what* (an event's id, or a word of ours) in a trace."""
    return _number(f"{trace_id:x}/{what}", 8)


def _number(text: str, size: int) -> int:
    # 0 is no valid id.
    return int.from_bytes(blake2b(text.encode(), digest_size=size).digest(), "big") or 1
