"""Resources of type ``file``: uploads that one session sees, read-only, below ``/mnt/session/uploads`` (spec A.7)."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping
from typing import Any

from agents.catalog.resources import ResourceOwner, StoredResource, new_resource_id, stored_resource
from agents.clock import rfc3339
from agents.errors import InvalidRequest, NotFound
from agents.files.service import Files
from agents.hands.port import Mount
from agents.ids import derived_id

UPLOADS = "/mnt/session/uploads"
_MOST = 500  # spec A.7
_PATH_CHARS = 1024  # ours, as of a memory's path (spec A.9)
_NAME_BYTES = 255  # of every file system that a sandbox may be on
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


class FileResources:
    """The ResourceKind of files."""

    most = _MOST
    self_hosted = False
    addable = True

    def __init__(self, files: Files) -> None:
        self._files = files

    async def attach(self, where: str, given: Mapping[str, Any], owner: ResourceOwner) -> StoredResource:
        """See ResourceKind.attach."""
        dot = f"{where}." if where else ""
        path = mount_path(f"{dot}mount_path", given.get("mount_path"), given["file_id"])
        # A run of a deployment that failed halfway makes its session, by the same id, again: with the same copies.
        copy_id = derived_id("file", owner.session_id, where, given["file_id"]) if where else None
        try:
            file = await self._files.mount(given["file_id"], owner.session_id, owner.workspace_id, copy_id)
        except NotFound as error:
            raise NotFound(f"{dot}file_id: {error.message}", error_code=error.error_code) from None
        moment = rfc3339(owner.now)
        wire = {
            "id": new_resource_id(),
            "type": "file",
            "file_id": file.id,
            "mount_path": path,
            "created_at": moment,
            "updated_at": moment,
        }
        mount = Mount("file", file.sha256, path, name=str(file.size))
        return stored_resource(wire, mount=mount)

    async def changed(self, stored: StoredResource, change: Mapping[str, Any], owner: ResourceOwner) -> StoredResource:
        """See ResourceKind.changed."""
        del stored, change, owner
        raise InvalidRequest("authorization_token: only resources of type github_repository have one")

    async def detach(self, stored: StoredResource) -> None:
        """See ResourceKind.detach."""
        try:
            await self._files.delete(stored["wire"]["file_id"])
        except NotFound:
            return  # deleted by itself, or given up before


def mount_path(field: str, given: str | None, file_id: str) -> str:
    """Return where a file is in the sandbox. Raises InvalidRequest.

    ``/x`` and ``x`` are below the uploads directory; a path that begins with that directory is itself; without one the
    file is there under its upload's id.
    """
    if given is None:
        return f"{UPLOADS}/{file_id}"
    if not given or len(given) > _PATH_CHARS or _CONTROL.search(given):
        raise InvalidRequest(f"{field}: must have 1 to {_PATH_CHARS} characters, and none that control")
    below = given.removeprefix(UPLOADS) if given == UPLOADS or given.startswith(f"{UPLOADS}/") else given
    parts = [part for part in below.split("/") if part]
    if not parts or any(part in (".", "..") for part in parts) or given.endswith("/"):
        raise InvalidRequest(f"{field}: must name a file, without . and .. in it")
    if any(len(part.encode("utf-8", "replace")) > _NAME_BYTES for part in parts):
        raise InvalidRequest(f"{field}: no part of it may have more than {_NAME_BYTES} bytes")
    return posixpath.join(UPLOADS, *parts)
