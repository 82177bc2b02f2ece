"""What changes of environments tell webhooks."""

from __future__ import annotations

from agents.store.ports import EnvironmentRecord
from agents.webhooks.announcing import Announcement


def environment_news(stored: EnvironmentRecord, changed: EnvironmentRecord) -> Announcement:
    """Say what became of an environment that was *stored* and is *changed*."""
    archived = stored.archived_at is None and changed.archived_at is not None
    name = "environment.archived" if archived else "environment.updated"
    return Announcement(name, stored.id, stored.workspace_id, changed.updated_at)
