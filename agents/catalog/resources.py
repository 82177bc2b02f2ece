"""Resources of a session: how one is asked for, what is kept of it, what is shown of it (spec A.7).

Each kind (file, github_repository, memory_store) is a :class:`ResourceKind` in the package of its subject. What a
session's row keeps of a resource is one plain dict, the same for all kinds:

    {"id": "sesrsc_...", "wire": {...}, "mount": {...} | absent, "private": {...} | absent}

``wire`` is what the API shows, whole; ``mount`` what goes into the session's sandbox, as the fields of a
:class:`~agents.hands.port.Mount`; ``private`` what its kind needs beside, and what nobody is shown. Invariant: no
secret is in any of them in clear (a token is sealed as a vault's are).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Protocol

from agents.catalog import limits
from agents.errors import InvalidRequest, NotFound
from agents.hands.port import Mount
from agents.ids import new_id

StoredResource = dict[str, Any]


@dataclass(frozen=True, slots=True)
class ResourceOwner:
    """The session that a resource is for, and on whose behalf."""

    session_id: str
    workspace_id: str
    principal: str
    self_hosted: bool
    """Whether its sandbox is at a worker elsewhere: only what a worker fetches by itself can be mounted there."""
    now: datetime


class ResourceKind(Protocol):
    """One kind of resource."""

    most: int
    """As many a session may have."""
    self_hosted: bool
    """Whether sessions whose sandbox is at a worker may have it."""
    addable: bool
    """Whether a session that exists may get one, and lose it."""

    async def attach(self, where: str, given: Mapping[str, Any], owner: ResourceOwner) -> StoredResource:
        """Return what is kept of a new resource; *where* names it in messages, and in a new session (``resources[0]``).

        To attach it to that session again has the same effect, so that the session can be made again.

        Raises InvalidRequest, NotFound (of another workspace, or not there at all), Unavailable.
        """
        ...

    async def changed(self, stored: StoredResource, change: Mapping[str, Any], owner: ResourceOwner) -> StoredResource:
        """Return it with what a client changes (``authorization_token``). Raises InvalidRequest for what stays."""
        ...

    async def detach(self, stored: StoredResource) -> None:
        """Give up what ``attach`` has made beside the dict; again is no error. Raises Unavailable."""
        ...


def stored_resource(
    wire: Mapping[str, Any], *, mount: Mount | None = None, private: Mapping[str, Any] | None = None
) -> StoredResource:
    """Return what is kept of a resource; its id is that of *wire*, or a new one where the API shows none."""
    kept: StoredResource = {"id": wire.get("id") or new_resource_id(), "wire": dict(wire)}
    if mount is not None:
        kept["mount"] = asdict(mount)
    if private:
        kept["private"] = dict(private)
    return kept


def new_resource_id() -> str:
    return new_id("sesrsc")


def resource_wire(stored: StoredResource) -> dict[str, Any]:
    """Return a resource as the API shows it."""
    return stored["wire"]


def mounts_of(resources: Iterable[StoredResource]) -> tuple[Mount, ...]:
    """Return what these resources put into a sandbox, in their order."""
    return tuple(Mount(**stored["mount"]) for stored in resources if "mount" in stored)


def with_change(present: Sequence[StoredResource], change: Mapping[str, Any]) -> tuple[StoredResource, ...]:
    """Return the resources after ``{"add": stored}``, ``{"replace": stored}`` or ``{"remove": id}``.

    A change that is made again, after an answer that was lost, changes nothing. Raises NotFound for a replacement of
    what is no longer there, InvalidRequest for one more where something else is.
    """
    if "add" in change:
        added: StoredResource = change["add"]
        if any(stored["id"] == added["id"] for stored in present):
            return tuple(present)
        _check_place("mount_path", added, present)
        return (*present, added)
    if "replace" in change:
        wanted: StoredResource = change["replace"]
        find(present, wanted["id"])
        return tuple(wanted if stored["id"] == wanted["id"] else stored for stored in present)
    return tuple(stored for stored in present if stored["id"] != change["remove"])


def find(resources: Iterable[StoredResource], resource_id: str) -> StoredResource:
    """Return one resource of a session. Raises NotFound."""
    for stored in resources:
        if stored["id"] == resource_id:
            return stored
    raise NotFound(f"resource {resource_id} not found")


class Resources:
    """All kinds of resources that this server has."""

    def __init__(self, kinds: Mapping[str, ResourceKind]) -> None:
        self._kinds = kinds

    async def attach_all(
        self, given: Sequence[Mapping[str, Any]], owner: ResourceOwner, skills: Sequence[Mount] = ()
    ) -> tuple[StoredResource, ...]:
        """Return what is kept of the resources of a new session that has *skills*, all or none.

        Raises InvalidRequest naming the first fault, NotFound, Unavailable.
        """
        limits.check_count("resources", given, limits.RESOURCES)
        made: list[StoredResource] = []
        try:
            for index, one in enumerate(given):
                made.append(await self._attach(f"resources[{index}]", one, owner, made, skills))
        except BaseException:
            await self.detach_all(made)
            raise
        return tuple(made)

    async def attach(
        self, given: Mapping[str, Any], owner: ResourceOwner, present: Sequence[StoredResource]
    ) -> StoredResource:
        """Return what is kept of one more resource of a session that has *present*. Raises as ``attach_all``."""
        kind = self._kinds.get(given["type"])
        if kind is not None and not kind.addable:
            raise InvalidRequest(f"type: a {given['type']} can only be given when the session is created")
        return await self._attach("", given, owner, present)

    async def detach_all(self, resources: Iterable[StoredResource]) -> None:
        """Give up what the kinds have made for these. Raises Unavailable."""
        for stored in resources:
            await self._kind_of(stored).detach(stored)

    def check_removable(self, stored: StoredResource) -> None:
        """Raise InvalidRequest for a resource that stays with its session."""
        if not self._kind_of(stored).addable:
            raise InvalidRequest(f"a {stored['wire']['type']} stays with its session")

    async def changed(self, stored: StoredResource, change: Mapping[str, Any], owner: ResourceOwner) -> StoredResource:
        """Return a resource with what a client changes of it. Raises InvalidRequest, Unavailable."""
        return await self._kind_of(stored).changed(stored, change, owner)

    def _kind_of(self, stored: StoredResource) -> ResourceKind:
        return self._kinds[stored["wire"]["type"]]

    async def _attach(
        self,
        where: str,
        given: Mapping[str, Any],
        owner: ResourceOwner,
        present: Sequence[StoredResource],
        skills: Sequence[Mount] = (),
    ) -> StoredResource:
        name: str = given["type"]
        field = f"{where}.type" if where else "type"
        kind = self._kinds.get(name)
        if kind is None:
            raise limits.not_available(field, f"resources of type {name} are")
        if owner.self_hosted and not kind.self_hosted:
            raise InvalidRequest(f"{field}: a {name} cannot be mounted in a self-hosted environment")
        if sum(stored["wire"]["type"] == name for stored in present) >= kind.most:
            raise InvalidRequest(f"{field}: a session has at most {kind.most} resources of type {name}")
        made = await kind.attach(where, given, owner)
        try:
            _check_place(f"{where}.mount_path" if where else "mount_path", made, present, skills)
        except InvalidRequest:
            await kind.detach(made)
            raise
        return made


def _check_place(
    field: str, made: StoredResource, present: Sequence[StoredResource], skills: Sequence[Mount] = ()
) -> None:
    """Raise InvalidRequest when something is where *made* is to be, above it or below it."""
    if "mount" not in made:
        return
    path: str = made["mount"]["path"]
    places = [(f"resource {other['id']}", other["mount"]["path"]) for other in present if "mount" in other]
    for who, taken in (*places, *(("a skill", skill.path) for skill in skills)):
        if path == taken or path.startswith(f"{taken}/") or taken.startswith(f"{path}/"):
            raise InvalidRequest(f"{field}: {path} is taken by {who} at {taken}")
