"""Telling webhooks: rows of the outbox, written in the transaction of what they tell of.

One statement for each announcement finds the endpoints that want it and lets it wait for each of them: so nothing is
told that was not committed, and nothing is committed that is not told. Where nobody wants anything, it writes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    Insert,
    Integer,
    Text,
    bindparam,
    literal_column,
    or_,
    select,
)
from sqlalchemy import insert as insert_into

from agents.store.codec import Row, micros
from agents.store.script import Statement, given_rows
from agents.store.tables import webhook_deliveries, webhook_subscriptions
from agents.webhooks.announcing import Announcement

_S = webhook_subscriptions.c
_COLUMNS = ["endpoint_id", "message_id", "body", "created_at", "due_at", "attempts"]
_TYPES = {
    "told_id": "message_id",
    "told_body": "body",
    "told_at": "created_at",
    "told_workspace": "endpoint_id",
    "told_name": "endpoint_id",
}
"""Parameters, each with a column of its type; none has a column's name, which an INSERT takes for its own."""


def _tell(
    message: ColumnElement[str],
    body: ColumnElement[str],
    at: ColumnElement[int],
    workspace: ColumnElement[str],
    name: ColumnElement[str],
) -> Insert:
    wanted = or_(_S.type == name, _S.type == literal_column("'*'"))
    waiting = select(
        _S.endpoint_id,
        message.label("message"),
        body.label("told"),
        at.label("created"),
        at.label("due"),
        literal_column("0", Integer()).label("made"),
    ).where(_S.workspace_id == workspace, wanted)
    return insert_into(webhook_deliveries).from_select(_COLUMNS, waiting)


def _text(name: str) -> ColumnElement[str]:
    return bindparam(name, type_=Text())


_GIVEN = given_rows(webhook_deliveries, _TYPES)
_TELL_ONE = _tell(
    _text("told_id"),
    _text("told_body"),
    bindparam("told_at", type_=BigInteger()),
    _text("told_workspace"),
    _text("told_name"),
)
_TELL_MANY = _tell(*(_GIVEN.c[name] for name in _TYPES))
TELL = Statement(_TELL_ONE.inline(), _TELL_MANY.inline())
"""For a script: writes rows of ``announcement_row``."""


def announcement_row(news: Announcement) -> Row:
    """Return the parameters of an announcement."""
    return {
        "told_id": news.id,
        "told_body": news.body(),
        "told_at": micros(news.at),
        "told_workspace": news.workspace_id,
        "told_name": news.name,
    }


def announce(connection: Connection, *news: Announcement) -> None:
    """Let all who want to know of *news* be told, if the transaction is committed."""
    announce_all(connection, news)


def announce_all(connection: Connection, news: Iterable[Announcement]) -> None:
    """See ``announce``."""
    for each in news:
        connection.execute(_TELL_ONE, announcement_row(each)).close()
