"""The file tools (read, write, edit, glob) over one sandbox's :class:`FileRoot`.

Plain blocking functions: they run in a worker thread as the sandbox's own user (``acting_as``), so the
kernel gives them exactly the agent's rights.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from typing import Any

from agents.hands.file_root import FileRoot
from agents.hands.glob_pattern import GlobPattern, State
from agents.hands.linux_calls import RESOLVE_BENEATH, RESOLVE_NO_SYMLINKS, acting_as, openat2
from agents.hands.text_edits import (
    MAX_TEXT_BYTES,
    LineWindow,
    decode_text,
    media_block,
    media_limit,
    media_type,
    replace_text,
    too_large,
)
from agents.hands.tool_failure import ToolFailure, file_failure
from agents.hands.tool_output import text_block
from agents.hands.toolset import EditInput, GlobInput, ReadInput, WriteInput

FileInput = ReadInput | WriteInput | EditInput | GlobInput

NO_MATCHES = "no matches"
_PIECE = 64 * 1024
_MAX_WALKED = 50_000
_MAX_RESULTS = 200


def run_file_tool(files: FileRoot, request: FileInput) -> list[dict[str, Any]]:
    """Run one file tool and return its content blocks; raises ToolFailure."""
    tool, path = _named(request)
    try:
        with acting_as(files.uid):
            match request:
                case ReadInput():
                    return _read(files, request)
                case WriteInput():
                    return text_block(_write(files, request))
                case EditInput():
                    return text_block(_edit(files, request))
                case GlobInput():
                    return text_block(_glob(files, request))
    except OSError as error:
        raise file_failure(tool, path, error) from error


def _named(request: FileInput) -> tuple[str, str]:
    match request:
        case ReadInput():
            return "read", request.file_path
        case WriteInput():
            return "write", request.file_path
        case EditInput():
            return "edit", request.file_path
        case GlobInput():
            return "glob", request.path or request.pattern


def _read_up_to(fd: int, limit: int) -> bytes:
    data = bytearray()
    while len(data) <= limit and (piece := os.read(fd, _PIECE)):
        data += piece
    return bytes(data)


def _read(files: FileRoot, request: ReadInput) -> list[dict[str, Any]]:
    path = request.file_path
    kind = media_type(path)
    with files.reading(path) as (fd, facts):
        if kind is not None:
            if request.view_range:
                raise ToolFailure("read: view_range: is not supported for images and PDF files")
            limit = media_limit(kind)
            data = _read_up_to(fd, limit) if facts.st_size <= limit else b""
            if max(facts.st_size, len(data)) > limit:
                raise ToolFailure(f"read: {path} is {facts.st_size} bytes, over the {limit}-byte limit for its kind")
            return [media_block(kind, data)]
        if request.view_range:
            window = LineWindow(path, request.view_range[0], request.view_range[1])
            while not window.full and (piece := os.read(fd, _PIECE)):
                window.feed(piece)
            return text_block(window.text())
        return text_block(decode_text("read", path, _whole(fd, facts, "read", path)))


def _whole(fd: int, facts: os.stat_result, tool: str, path: str) -> bytes:
    data = b"" if facts.st_size > MAX_TEXT_BYTES else _read_up_to(fd, MAX_TEXT_BYTES)
    size = max(facts.st_size, len(data))
    if size > MAX_TEXT_BYTES:
        raise too_large(tool, path, size, MAX_TEXT_BYTES)
    return data


def _write(files: FileRoot, request: WriteInput) -> str:
    data = request.content.encode(errors="replace")
    files.write(request.file_path, data)
    return f"wrote {len(data)} bytes to {request.file_path}"


def _edit(files: FileRoot, request: EditInput) -> str:
    path = request.file_path
    with files.reading(path) as (fd, facts):
        text = decode_text("edit", path, _whole(fd, facts, "edit", path))
    updated, count = replace_text(path, text, request.old_string, request.new_string, every=bool(request.replace_all))
    files.write(path, updated.encode(errors="replace"))
    return f"edited {path} ({count} replacement{'' if count == 1 else 's'})"


def _glob(files: FileRoot, request: GlobInput) -> str:
    pattern = GlobPattern(request.pattern)
    base = files.absolute(request.path or ".")
    root = files.open_directory(base)
    try:
        found = sorted(_matching(root, pattern), reverse=True)[:_MAX_RESULTS]
    finally:
        os.close(root)
    prefix = base.rstrip("/")
    return "\n".join(f"{prefix}/{path}" for _, path in found) or NO_MATCHES


def _matching(root: int, pattern: GlobPattern) -> Iterator[tuple[int, str]]:
    """Yield (modification time, relative path) of every hit; links are listed but not entered."""
    walked = 0
    pending: list[tuple[str, State]] = [("", pattern.start)]
    while pending:
        folder, state = pending.pop()
        try:
            fd = openat2(
                root, folder or ".", os.O_RDONLY | os.O_DIRECTORY, resolve=RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS
            )
        except OSError:
            continue  # closed to the agent, gone meanwhile, or deeper than a path can say
        try:
            with os.scandir(fd) as entries:
                for entry in entries:
                    walked += 1
                    if walked > _MAX_WALKED:
                        return
                    following = pattern.enter(state, entry.name)
                    if not following:
                        continue
                    facts = os.lstat(entry.name, dir_fd=fd)
                    path = f"{folder}/{entry.name}" if folder else entry.name
                    if pattern.matches(following):
                        yield facts.st_mtime_ns, path
                    if stat.S_ISDIR(facts.st_mode):
                        pending.append((path, following))
        except FileNotFoundError:
            continue
        finally:
            os.close(fd)
