"""``/v1/files``: bytes that sessions and messages refer to (spec A.10)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any
from urllib.parse import quote

from anthropic.types.beta import BetaDeletedFile, BetaFileMetadata
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from agents.api import describe
from agents.api.answers import RequestTimedOut, begun, json_answer
from agents.api.multipart import parts_of
from agents.api.paging import page_request
from agents.api.platform import Platform
from agents.api.query import Query
from agents.api.ranges import wanted_range
from agents.api.routes import Operation, Parameter
from agents.api.slots import Slots
from agents.errors import InvalidRequest, Overloaded
from agents.files.blobs import Staged
from agents.files.records import FileListing, FileRecord, expired
from agents.files.service import NewFile
from agents.telemetry import catalogue

_MOST_IDS = 100  # spec A.10
_MOST_PER_PAGE = 1000  # spec A.10
_MAX_DIGITS = 9
FORM: dict[str, Any] = {
    "type": "object",
    "required": ["file"],
    "properties": {
        "file": {"type": "string", "format": "binary"},
        "expires_in_seconds": {"type": "integer", "minimum": 3600, "maximum": 7776000},
    },
}
"""The form of an upload, for ``/openapi.json``."""


class FileRoutes:
    """Upload, list, retrieve, download and delete."""

    def __init__(self, platform: Platform) -> None:
        self._files = platform.files
        self._clock = platform.clock
        self._recorder = platform.recorder
        self._settings = platform.settings.files
        self._uploads = Slots(self._settings.max_uploads, _too_many, share=platform.settings.key_share)

    def operations(self) -> list[Operation]:
        """Return this resource's operations."""
        every, tag, answer = "/v1/files", "files", BetaFileMetadata
        one = f"{every}/{{file_id}}"
        ids = {"type": "array", "items": {"type": "string", "minLength": 1}, "maxItems": _MOST_IDS}
        listing = (
            Parameter("ids[]", ids, "Only these; without page and limit."),
            describe.text("scope_id", "Only files of this session."),
            *describe.page(_MOST_PER_PAGE),
        )
        ranges = (
            Parameter("Range", {"type": "string"}, "One range of bytes.", "header"),
            Parameter("If-Range", {"type": "string"}, "The range only while the file has this ETag.", "header"),
        )
        return [
            Operation(
                "POST",
                every,
                self.upload,
                "uploadFile",
                tag,
                answer,
                form=FORM,
                statuses=[403, 408, 413],
                streams_in=True,
            ),
            Operation("GET", every, self.list, "listFiles", tag, answer, listing=True, parameters=listing),
            Operation("GET", one, self.retrieve, "getFile", tag, answer),
            Operation(
                "GET",
                f"{one}/content",
                self.content,
                "downloadFile",
                tag,
                media_type="application/octet-stream",
                parameters=ranges,
                statuses=[416],
            ),
            Operation("DELETE", one, self.delete, "deleteFile", tag, BetaDeletedFile),
        ]

    async def upload(self, request: Request) -> Response:
        with self._uploads.held_by(request.state.principal):
            try:
                async with asyncio.timeout(self._settings.upload_seconds):
                    file = await self._received(request)
            except TimeoutError:
                words = f"the file did not arrive within {self._settings.upload_seconds:.0f} seconds"
                raise RequestTimedOut(words) from None
        self._recorder.count(catalogue.FILE_BYTES, "upload", by=file.size)
        return json_answer(file.wire())

    async def _received(self, request: Request) -> FileRecord:
        staged: Staged | None = None
        filename: str | None = None
        mime_type: str | None = None
        expires_in: int | None = None
        try:
            async for part in parts_of(request):
                if part.name == "file" and staged is None:
                    filename, mime_type = part.filename, part.content_type
                    staged = await self._files.stage(part.pieces)
                elif part.name == "expires_in_seconds" and expires_in is None:
                    expires_in = _seconds(await part.text())
                else:
                    again = part.name in ("file", "expires_in_seconds")
                    fault = "may be given once" if again else "unknown field; known fields are file, expires_in_seconds"
                    raise InvalidRequest(f"{part.name[:60]}: {fault}")
            if staged is None:
                raise InvalidRequest("file: required, but missing")
            new = NewFile.checked(filename, mime_type, expires_in)
        except BaseException:
            if staged is not None:
                await self._files.blobs.drop(staged)
            raise
        return await self._files.add(staged, new, request.state.workspace_id)

    async def list(self, request: Request) -> Response:
        query = Query(request.query_params)
        ids, scope, mine = query.texts("ids", most=_MOST_IDS), query.text("scope_id"), request.state.workspace_id
        if ids is not None:
            if query.text("page") is not None or query.text("limit") is not None:
                raise InvalidRequest("ids[]: cannot be given together with page or limit")
            listing = FileListing(limit=len(ids), workspace_id=mine, session_id=scope, ids=ids)
            found = await self._files.records.list(listing)
            return json_answer({"data": [file.wire() for file in found], "next_page": None})
        wanted = page_request(query, "files", default=20, most=_MOST_PER_PAGE, with_bounds=False)
        listing = FileListing(workspace_id=mine, session_id=scope, **wanted.listing())
        page = wanted.page(await self._files.records.list(listing))
        return json_answer({"data": [file.wire() for file in page.rows], "next_page": page.next_page})

    async def retrieve(self, request: Request) -> Response:
        return json_answer((await self._found(request)).wire())

    async def content(self, request: Request) -> Response:
        file = await self._found(request)
        if not file.downloadable:
            words = f"file {file.id} was uploaded, and only what sessions have made can be downloaded"
            raise InvalidRequest(words, error_code="file_not_downloadable")
        if file.is_expired(self._clock.now()):
            raise expired(file.id)
        etag, asked = f'"{file.sha256}"', request.headers
        span = wanted_range(asked.get("range"), asked.get("if-range"), etag, file.size)
        start, length = (0, file.size) if span is None else (span.start, span.length)
        headers = {
            # By hand: the framework would say of every text that it is UTF-8.
            "content-type": file.mime_type,
            "content-length": str(length),
            "accept-ranges": "bytes",
            "etag": etag,
            # Never shown by a browser as a page of this origin: whoever made it wrote what it likes.
            "content-disposition": f"attachment; filename*=UTF-8''{quote(file.filename, safe='')}",
            "x-content-type-options": "nosniff",
            **({} if span is None else {"content-range": span.content_range()}),
        }
        status = 200 if span is None else 206
        try:
            pieces = await begun(self._files.content(file, start, length))
        except FileNotFoundError:
            raise expired(file.id) from None
        return StreamingResponse(self._sent(pieces), status, headers)

    async def _sent(self, pieces: AsyncGenerator[bytes]) -> AsyncGenerator[bytes]:
        async with aclosing(pieces):
            async for piece in pieces:
                self._recorder.count(catalogue.FILE_BYTES, "download", by=len(piece))
                yield piece

    async def delete(self, request: Request) -> Response:
        file_id: str = request.path_params["file_id"]
        await self._files.delete(file_id)
        return json_answer({"id": file_id, "type": "file_deleted"})

    async def _found(self, request: Request) -> FileRecord:
        return await self._files.records.get(request.path_params["file_id"])


def _seconds(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= _MAX_DIGITS):
        raise InvalidRequest("expires_in_seconds: must be a whole number")
    return int(text)


def _too_many(most: int) -> Overloaded:
    return Overloaded(f"{most} files are being uploaded to this replica, which is the limit")
