"""How rows of the trail become its records."""

from __future__ import annotations

from agents.governance.audit.chain import hidden_digest, thread_mark
from agents.governance.audit.entries import ChainedEntry
from agents.governance.audit.trail import Hold, Leaf, LoggedRow, Redaction
from agents.store.codec import RowView, moment_at


def entry_of(row: RowView) -> ChainedEntry:
    return ChainedEntry(row["seq"], row["at"], row["actor"], row["action"], row["object"], row["body"], row["hash"])


def leaf_of(row: RowView) -> Leaf:
    return Leaf(row["entry"], row["session_id"], row["seq"], row["head"], bool(row["deleted"]))


def redaction_of(row: RowView) -> Redaction:
    return Redaction(row["session_id"], row["seq"], row["digest_before"], row["digest_after"], row["entry"])


def hold_of(row: RowView) -> Hold:
    return Hold(row["session_id"], row["reason"], row["actor"], moment_at(row["at"]))


def logged_row(row: RowView) -> LoggedRow:
    return LoggedRow(
        row["session_id"],
        row["seq"],
        row["id"],
        row["type"],
        row["processed_at"],
        row["body"],
        hidden_digest(row["hidden"]),
        row["link"],
        thread_mark(row["thread_id"], row["crossposted"]),
    )
