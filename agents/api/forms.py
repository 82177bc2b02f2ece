"""Forms whose files are small enough to be held in memory together, where the edge bounds and counts their bodies."""

from __future__ import annotations

from collections.abc import Collection
from contextlib import aclosing
from dataclasses import dataclass, field

from starlette.requests import Request

from agents.api.multipart import Part, parts_of
from agents.errors import InvalidRequest, PayloadTooLarge


@dataclass(frozen=True, slots=True)
class UploadedFile:
    """``name`` is the part's filename, with the path that the client gave it."""

    name: str
    content: bytes


@dataclass(slots=True)
class Form:
    """What a form said: texts by field, and its files in their order."""

    texts: dict[str, str] = field(default_factory=lambda: {})
    files: list[UploadedFile] = field(default_factory=lambda: [])


async def read_form(
    request: Request, *, files: str, texts: Collection[str] = (), most_files: int, most_bytes: int
) -> Form:
    """Return the form of a request whose files are all in the field *files*, and together have at most *most_bytes*.

    Raises PayloadTooLarge, InvalidRequest, also for a field that is neither that nor one of *texts*.
    """
    form, left = Form(), most_bytes
    async with aclosing(parts_of(request)) as parts:
        async for part in parts:
            if part.name == files:
                form.files.append(await _file(part, left))
                left -= len(form.files[-1].content)
                if len(form.files) > most_files:
                    raise InvalidRequest(f"{files}: at most {most_files} files are allowed")
            elif part.name not in texts:
                known = ", ".join([files, *texts])
                raise InvalidRequest(f"{part.name[:100]}: unknown field; known fields are {known}")
            elif part.name in form.texts or part.filename is not None:
                raise InvalidRequest(f"{part.name}: must be one text")
            else:
                form.texts[part.name] = await part.text()
    return form


async def _file(part: Part, most: int) -> UploadedFile:
    if part.filename is None:
        raise InvalidRequest(f"{part.name}: must be a file, with a filename")
    content = bytearray()
    async for piece in part.pieces:
        content += piece
        if len(content) > most:
            raise PayloadTooLarge("the files are larger together than they may be")
    return UploadedFile(part.filename, bytes(content))
