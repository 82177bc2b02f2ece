"""Pages in SQL: bounds, cursor, order and the one row more that tells of a next page."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import Select, tuple_
from sqlalchemy.sql import ColumnElement

from agents.listing import Listing
from agents.store.codec import findable, micros
from agents.store.ports import EventListing

if TYPE_CHECKING:
    Statement = Select[*tuple[Any, ...]]
Column = ColumnElement[Any]


def within(statement: Statement, moment: Column, query: Listing | EventListing) -> Statement:
    """Keep the rows whose *moment* lies in the query's bounds."""
    if query.created_gt is not None:
        statement = statement.where(moment > micros(query.created_gt))
    if query.created_gte is not None:
        statement = statement.where(moment >= micros(query.created_gte))
    if query.created_lt is not None:
        statement = statement.where(moment < micros(query.created_lt))
    if query.created_lte is not None:
        statement = statement.where(moment <= micros(query.created_lte))
    return statement


def page(
    statement: Statement,
    created_at: Column,
    key: Column,
    archived_at: Column,
    query: Listing,
    *,
    workspace: Column | None = None,
) -> Statement:
    """Apply a Listing: up to ``limit + 1`` rows by ``(created_at, key)``, where asked of one *workspace*."""
    statement = within(statement, created_at, query)
    if query.workspace_id is not None:
        if workspace is None:
            raise ValueError("rows without a workspace cannot be listed by it")
        statement = statement.where(workspace == query.workspace_id)
    if not query.include_archived:
        statement = statement.where(archived_at.is_(None))
    ascending = query.order == "asc"
    if query.after is not None:
        moment, name = query.after
        place, cursor = tuple_(created_at, key), (micros(moment), name if findable(name) else "")
        statement = statement.where(place > cursor if ascending else place < cursor)
    order = (created_at, key) if ascending else (created_at.desc(), key.desc())
    return statement.order_by(*order).limit(query.limit + 1)
