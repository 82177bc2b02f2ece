"""What is told to webhooks, as a message: made where the change is made, stored in the change's own transaction.

A message names what happened and to what, and says no more: receivers ask the API for the rest.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import orjson

from agents.clock import rfc3339
from agents.ids import new_id

ORGANIZATION = "default"
"""A platform is one organization; the SDK's types want its id."""


@dataclass(frozen=True, slots=True)
class Announcement:
    """That *name* (``agents.webhooks.names``) happened to an object of a workspace.

    ``more`` are the further fields that the SDK's type of this name has, such as ``vault_id``.
    """

    name: str
    object_id: str
    workspace_id: str
    at: datetime
    more: Mapping[str, str] = field(default_factory=lambda: {})
    id: str = field(default_factory=lambda: new_id("whe"))

    def body(self) -> str:
        """Return the message as it is posted."""
        data: dict[str, Any] = {
            "type": self.name,
            "id": self.object_id,
            "organization_id": ORGANIZATION,
            "workspace_id": self.workspace_id,
            **self.more,
        }
        event = {"type": "event", "id": self.id, "created_at": rfc3339(self.at), "data": data}
        return orjson.dumps(event).decode()


Announce = Callable[[Announcement], None]
"""Takes note of an announcement, within the change that it tells of."""


def silent(news: Announcement) -> None:
    """Tell nobody."""
    del news
