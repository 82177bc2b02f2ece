"""``/v1/skills``: instructions and files that agents can be given (spec A.10)."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any

from anthropic.types.beta import BetaDeletedSkill, BetaSkill
from anthropic.types.beta.skills import BetaDeletedSkillVersion, BetaSkillVersion
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from agents.api import describe
from agents.api.answers import begun, json_answer
from agents.api.forms import Form, read_form
from agents.api.paging import page_request
from agents.api.platform import Platform
from agents.api.query import Query
from agents.api.routes import Operation, Parameter, WorkerAccess
from agents.catalog import limits
from agents.clock import rfc3339
from agents.errors import Conflict, HecatonError, InvalidRequest, NotFound
from agents.hands.threads import to_its_end
from agents.ids import new_id
from agents.listing import Listing
from agents.skills.bundle import Bundle, archived, bundle_of
from agents.skills.files import MOST_BYTES, MOST_FILES, SkillFile
from agents.skills.records import SkillRecord, SkillVersionRecord

_log = logging.getLogger(__name__)

DISPLAY_NAME_CHARS = 255  # the SDK's text of the field
_FILES, _DISPLAY_NAME = "files[]", "display_name"
_MOST, _DEFAULT = 1000, 20  # of a page; the SDK's text of the parameter
_TOGETHER = 4
"""Uploads that one replica unpacks, packs and puts away at a time. The edge counts bodies; what is in a zip is more."""
_SOURCES = ("custom", "anthropic", "anthropic_example", "plugin")
"""The SDK's list; this server has the first alone."""
_FILES_SCHEMA: dict[str, Any] = {"type": "array", "items": {"type": "string", "format": "binary"}, "minItems": 1}
_NEW_VERSION: dict[str, Any] = {
    "type": "object",
    "required": [_FILES],
    "properties": {_FILES: _FILES_SCHEMA},
    "additionalProperties": False,
}
_NEW_SKILL: dict[str, Any] = {
    **_NEW_VERSION,
    "properties": {**_NEW_VERSION["properties"], _DISPLAY_NAME: {"type": "string", "maxLength": DISPLAY_NAME_CHARS}},
}


class SkillRoutes:
    """Create, retrieve, list, delete; the same of versions, and their archives."""

    def __init__(self, platform: Platform) -> None:
        self._skills = platform.store.skills
        self._archives = platform.skill_archives
        self._clock = platform.clock
        self._together = asyncio.Semaphore(_TOGETHER)

    def operations(self) -> list[Operation]:
        """Return this resource's operations."""
        every, tag, skill, version = "/v1/skills", "skills", BetaSkill, BetaSkillVersion
        one, versions = f"{every}/{{skill_id}}", f"{every}/{{skill_id}}/versions"
        a_version = f"{versions}/{{version}}"
        gone, gone_version = BetaDeletedSkill, BetaDeletedSkillVersion
        pages, workers = describe.page(_MOST, _DEFAULT), WorkerAccess.SKILL
        source = Parameter("source", {"type": "string", "enum": list(_SOURCES)}, "Only skills from there.")
        listing = (source, *pages)
        return [
            Operation("POST", every, self.create, "createSkill", tag, skill, form=_NEW_SKILL, statuses=[409]),
            Operation("GET", every, self.list, "listSkills", tag, skill, listing=True, parameters=listing),
            Operation("GET", one, self.retrieve, "getSkill", tag, skill),
            Operation("DELETE", one, self.delete, "deleteSkill", tag, gone),
            Operation("POST", versions, self.add_version, "createSkillVersion", tag, version, form=_NEW_VERSION),
            Operation(
                "GET", versions, self.versions, "listSkillVersions", tag, version, listing=True, parameters=pages
            ),
            Operation("GET", a_version, self.version, "getSkillVersion", tag, version, workers=workers),
            Operation("DELETE", a_version, self.delete_version, "deleteSkillVersion", tag, gone_version),
            Operation(
                "GET",
                f"{a_version}/content",
                self.content,
                "downloadSkillVersion",
                tag,
                media_type="application/zip",
                workers=workers,
            ),
        ]

    async def create(self, request: Request) -> Response:
        form = await _form(request, [_DISPLAY_NAME])
        async with self._together:
            bundle = await _bundle(form)
            label = form.texts.get(_DISPLAY_NAME) or bundle.name
            _check_label(label)
            skill_id, now = new_id("skill"), self._clock.now()
            mine = request.state.workspace_id
            archive, version = await self._made(skill_id, bundle)
            skill = SkillRecord(skill_id, bundle.name, label, version.id, now, now, workspace_id=mine)
            await self._keep(version, archive, partial(self._skills.insert, skill, version))
        return json_answer(_skill_wire(skill))

    async def retrieve(self, request: Request) -> Response:
        return json_answer(_skill_wire(await self._skills.get(request.path_params["skill_id"])))

    async def list(self, request: Request) -> Response:
        query = Query(request.query_params)
        source = query.text("source")
        if source is not None and source not in _SOURCES:
            raise InvalidRequest(f"source: must be one of {', '.join(_SOURCES)}, not {source[:60]!r}")
        wanted = page_request(query, "skills", default=_DEFAULT, most=_MOST, with_bounds=False)
        listing = Listing(workspace_id=request.state.workspace_id, **wanted.listing())
        page = wanted.page(await self._skills.list(listing) if source in (None, "custom") else [])
        return json_answer({"data": [_skill_wire(row) for row in page.rows], "next_page": page.next_page})

    async def delete(self, request: Request) -> Response:
        skill_id: str = request.path_params["skill_id"]
        removal = partial(self._archives.remove_all, skill_id)
        await to_its_end(self._deleted(self._skills.delete(skill_id), removal, skill_id))
        return json_answer({"id": skill_id, "type": "skill_deleted"})

    async def add_version(self, request: Request) -> Response:
        # Before the body is read: who names a skill that is not there need not send it all.
        skill = await self._skills.get(request.path_params["skill_id"])
        form = await _form(request, [])
        async with self._together:
            archive, version = await self._made(skill.id, await _bundle(form))
            await self._keep(version, archive, partial(self._skills.add_version, version))
        return json_answer(_version_wire(version))

    async def versions(self, request: Request) -> Response:
        skill_id: str = request.path_params["skill_id"]
        kind = f"skill_versions:{skill_id}"
        wanted = page_request(Query(request.query_params), kind, default=_DEFAULT, most=_MOST, with_bounds=False)
        page = wanted.page(await self._skills.versions(skill_id, Listing(**wanted.listing())))
        return json_answer({"data": [_version_wire(row) for row in page.rows], "next_page": page.next_page})

    async def version(self, request: Request) -> Response:
        return json_answer(_version_wire(await self._version(request)))

    async def delete_version(self, request: Request) -> Response:
        skill_id, version_id = request.path_params["skill_id"], request.path_params["version"]
        deletion = self._skills.delete_version(skill_id, version_id, self._clock.now())
        removal = partial(self._archives.remove, skill_id, version_id)
        await to_its_end(self._deleted(deletion, removal, version_id))
        return json_answer({"id": version_id, "type": "skill_version_deleted"})

    async def content(self, request: Request) -> Response:
        version = await self._version(request)
        headers = {
            "content-disposition": f'attachment; filename="{version.name}.zip"',
            "content-length": str(version.size),
        }
        pieces = await begun(self._archives.pieces(version.skill_id, version.id, version.size))
        return StreamingResponse(pieces, headers=headers, media_type="application/zip")

    async def _version(self, request: Request) -> SkillVersionRecord:
        return await self._skills.version(request.path_params["skill_id"], request.path_params["version"])

    async def _made(self, skill_id: str, bundle: Bundle) -> tuple[bytes, SkillVersionRecord]:
        """Return the archive of *bundle*, and the version that it is to be."""
        archive = await asyncio.to_thread(archived, bundle)
        name, description, now = bundle.name, bundle.description, self._clock.now()
        return archive, SkillVersionRecord(new_id("skillver"), skill_id, name, description, len(archive), now)

    async def _keep(self, version: SkillVersionRecord, archive: bytes, insert: Callable[[], Awaitable[None]]) -> None:
        """Have the archive there before its version is, and not at all when there is to be no version."""
        try:
            await self._archives.put(version.skill_id, version.id, archive)
        except BaseException:  # also when the client has gone
            await self._clear(self._archives.remove(version.skill_id, version.id), version.id)
            raise
        await to_its_end(self._inserted(version, insert))

    async def _inserted(self, version: SkillVersionRecord, insert: Callable[[], Awaitable[None]]) -> None:
        try:
            await insert()
        except (Conflict, InvalidRequest, NotFound):
            # Of any other failure nobody knows whether the version was stored.
            await self._clear(self._archives.remove(version.skill_id, version.id), version.id)
            raise

    async def _deleted(self, deletion: Awaitable[None], removal: Callable[[], Awaitable[None]], what: str) -> None:
        await deletion
        await self._clear(removal(), what)

    async def _clear(self, removal: Awaitable[None], what: str) -> None:
        """Remove archives that no version has any more: what was asked for is done, whether or not they can go."""
        try:
            await removal
        except HecatonError as error:
            _log.warning("archives of %s stay in the store, and nobody has them: %s", what, error.message)


async def _form(request: Request, texts: Sequence[str]) -> Form:
    return await read_form(request, files=_FILES, texts=texts, most_files=MOST_FILES, most_bytes=MOST_BYTES)


async def _bundle(form: Form) -> Bundle:
    # In a thread: unpacking takes a while, and the loop has other requests.
    return await asyncio.to_thread(bundle_of, [SkillFile(each.name, each.content) for each in form.files])


def _check_label(label: str) -> None:
    limits.check_length(_DISPLAY_NAME, label, DISPLAY_NAME_CHARS, shortest=1)
    if not label.isprintable():
        raise InvalidRequest(f"{_DISPLAY_NAME}: must be one line of text")


def _skill_wire(skill: SkillRecord) -> dict[str, object]:
    return {
        "id": skill.id,
        "type": "skill",
        "display_name": skill.display_name,
        "latest_version_id": skill.latest_version_id,
        "source": {"type": "custom"},
        "created_at": rfc3339(skill.created_at),
        "updated_at": rfc3339(skill.updated_at),
    }


def _version_wire(version: SkillVersionRecord) -> dict[str, object]:
    return {
        "id": version.id,
        "type": "skill_version",
        "skill_id": version.skill_id,
        "name": version.name,
        "description": version.description,
        "created_at": rfc3339(version.created_at),
    }
