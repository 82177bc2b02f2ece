"""Which partition a session belongs to: the same answer in every process, for the session's whole life.

The number is stored in the session's row. The count of partitions is fixed with the database, which is
refused with any other: a gateway finds a session's owner by hashing its id, without reading its row.
"""

from __future__ import annotations

import hashlib

from agents.ids import SessionId


def partition_of(session_id: SessionId | str, partitions: int) -> int:
    """Return a stable number in ``range(partitions)``; Python's own hash differs between processes."""
    digest = hashlib.blake2b(session_id.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") % partitions
