"""How files become rows, and rows become them: see ``codec`` for the rules."""

from __future__ import annotations

from agents.errors import InvalidRequest
from agents.files.records import FileKind, FileRecord
from agents.store.codec import Row, RowView, findable, micros, micros_or_none, moment_at, moment_or_none


def file_row(file: FileRecord) -> Row:
    """Return the row of a file. Raises InvalidRequest for names that no database can hold."""
    if not (findable(file.filename) and findable(file.mime_type) and findable(file.path or "")):
        raise InvalidRequest("filename: must not hold NUL or unpaired surrogates")
    return {
        "id": file.id,
        "workspace_id": file.workspace_id,
        "kind": file.kind.value,
        "filename": file.filename,
        "mime_type": file.mime_type,
        "size": file.size,
        "sha256": file.sha256,
        "session_id": file.session_id,
        "path": file.path,
        "created_at": micros(file.created_at),
        "expires_at": micros_or_none(file.expires_at),
    }


def file_of(row: RowView) -> FileRecord:
    """Return the file of a row."""
    return FileRecord(
        id=row["id"],
        filename=row["filename"],
        mime_type=row["mime_type"],
        size=row["size"],
        sha256=row["sha256"],
        created_at=moment_at(row["created_at"]),
        kind=FileKind(row["kind"]),
        expires_at=moment_or_none(row["expires_at"]),
        session_id=row["session_id"],
        path=row["path"],
        workspace_id=row["workspace_id"],
    )
