"""What becomes of memory stores, told to webhooks; what is written into them is not."""

from __future__ import annotations

from datetime import datetime

from agents.memory.records import MemoryStoreRecord
from agents.webhooks.announcing import Announcement


def memory_store_news(what: str, store: MemoryStoreRecord, at: datetime) -> Announcement:
    """Say that a store was ``created``, ``archived`` or ``deleted``."""
    return Announcement(f"memory_store.{what}", store.id, store.workspace_id, at)
