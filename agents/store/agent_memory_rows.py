"""How memory stores, memories and versions become rows, and rows become them: see ``codec`` for the rules."""

from __future__ import annotations

from agents.memory.records import Author, MemoryRecord, MemoryStoreRecord, MemoryVersionRecord, Text
from agents.store.codec import Row, RowView, decode, encode, micros, micros_or_none, moment_at, moment_or_none


def store_row(store: MemoryStoreRecord) -> Row:
    """Return the row of a store."""
    return {
        "id": store.id,
        "body": encode(store.body),
        "created_at": micros(store.created_at),
        "updated_at": micros(store.updated_at),
        "archived_at": micros_or_none(store.archived_at),
        "workspace_id": store.workspace_id,
    }


def store_of(row: RowView) -> MemoryStoreRecord:
    """Return the store of a row."""
    return MemoryStoreRecord(
        id=row["id"],
        body=decode(row["body"]),
        created_at=moment_at(row["created_at"]),
        updated_at=moment_at(row["updated_at"]),
        archived_at=moment_or_none(row["archived_at"]),
        workspace_id=row["workspace_id"],
    )


def memory_row(memory: MemoryRecord) -> Row:
    """Return the row of a memory, whose content is in its version's."""
    return {
        "id": memory.id,
        "store_id": memory.store_id,
        "version_id": memory.version_id,
        "path": memory.path,
        "sha256": memory.text.sha256,
        "size": memory.text.size,
        "created_at": micros(memory.created_at),
        "updated_at": micros(memory.updated_at),
    }


def memory_of(row: RowView, content: str | None) -> MemoryRecord:
    """Return the memory of a row."""
    return MemoryRecord(
        id=row["id"],
        store_id=row["store_id"],
        version_id=row["version_id"],
        path=row["path"],
        text=Text(content, row["sha256"], row["size"]),
        created_at=moment_at(row["created_at"]),
        updated_at=moment_at(row["updated_at"]),
    )


def version_row(version: MemoryVersionRecord) -> Row:
    """Return the row of a version."""
    text, author, redactor = version.text, version.author, version.redacted_by
    return {
        "id": version.id,
        "store_id": version.store_id,
        "memory_id": version.memory_id,
        "operation": version.operation,
        "path": version.path,
        "content": None if text is None else text.content,
        "sha256": None if text is None else text.sha256,
        "size": None if text is None else text.size,
        "created_at": micros(version.created_at),
        "author_kind": None if author is None else author.kind,
        "author_id": None if author is None else author.id,
        "redacted_at": micros_or_none(version.redacted_at),
        "redacted_by": None if redactor is None else encode([redactor.kind, redactor.id]),
    }


def version_of(row: RowView, *, with_content: bool = True) -> MemoryVersionRecord:
    """Return the version of a row, which has a content only where that is asked for."""
    content = row["content"] if with_content else None
    return MemoryVersionRecord(
        id=row["id"],
        store_id=row["store_id"],
        memory_id=row["memory_id"],
        operation=row["operation"],
        path=row["path"],
        text=None if row["sha256"] is None else Text(content, row["sha256"], row["size"]),
        created_at=moment_at(row["created_at"]),
        author=None if row["author_kind"] is None else Author(row["author_kind"], row["author_id"]),
        redacted_at=moment_or_none(row["redacted_at"]),
        redacted_by=None if row["redacted_by"] is None else Author(*decode(row["redacted_by"])),
    )
