"""Inserts that SQLAlchemy words for each database apart, by the name of its dialect."""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import Insert, Table
from sqlalchemy.dialects import postgresql, sqlite


def insert_new(table: Table) -> Mapping[str, Insert]:
    """Return the insert that leaves alone what is there: of rows with a taken key, none is written."""
    return {
        "postgresql": postgresql.insert(table).on_conflict_do_nothing(),
        "sqlite": sqlite.insert(table).on_conflict_do_nothing(),
    }
