"""Keeping workspaces apart: an object of another workspace is answered as if it did not exist.

An object's workspace never changes, so it is asked for once and remembered, within a bound.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping

from agents.access.records import Owned, Owners
from agents.errors import NotFound

_MOST = 50_000

PATH_PARAMETERS: Mapping[str, Owned] = {
    "agent_id": "agent",
    "environment_id": "environment",
    "session_id": "session",
    "vault_id": "vault",
    "memory_store_id": "memory_store",
    "file_id": "file",
    "skill_id": "skill",
    "deployment_id": "deployment",
    "deployment_run_id": "deployment_run",
}
"""What the parameters of paths name; the others (``thread_id``, ``work_id``, …) hang below one of these."""


class Tenancy:
    """Says whether an object belongs to a workspace."""

    def __init__(self, owners: Owners) -> None:
        self._owners = owners
        self._known: OrderedDict[tuple[Owned, str], str] = OrderedDict()

    async def check(self, kind: Owned, object_id: str, workspace_id: str) -> None:
        """Raise NotFound for an object of another workspace and, in the same words, for one that is not there.

        Both before anything else of the request is looked at: nothing tells the two apart. Raises Unavailable.
        """
        key = (kind, object_id)
        owner = self._known.get(key)
        if owner is None:
            owner = await self._owners.workspace_of(kind, object_id)
            if owner is None:
                raise absent(kind, object_id)
            self._known[key] = owner
            if len(self._known) > _MOST:
                self._known.popitem(last=False)
        else:
            self._known.move_to_end(key)
        if owner != workspace_id:
            raise absent(kind, object_id)

    async def check_path(self, parameters: Mapping[str, str], workspace_id: str) -> None:
        """Check every object that a path names. Raises NotFound, Unavailable."""
        for name, object_id in parameters.items():
            kind = PATH_PARAMETERS.get(name)
            if kind is not None:
                await self.check(kind, object_id, workspace_id)


def absent(kind: Owned, object_id: str) -> NotFound:
    """Word that an object is not there, or another workspace's."""
    return NotFound(f"{kind} {object_id} not found")
