"""What all tables are made of, and the one that says which releases may work on them."""

from __future__ import annotations

from typing import Any

from sqlalchemy import BigInteger, Column, ColumnElement, Index, Integer, MetaData, Table, Text

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

Key = Text().with_variant(Text(collation="C"), "postgresql")
# SQLite numbers rows by itself only when the key is declared INTEGER.
Serial = BigInteger().with_variant(Integer, "sqlite")


def partial_index(name: str | None, *columns: Column[Any], where: ColumnElement[bool], unique: bool = False) -> Index:
    """Index the rows *where* something holds, and no others."""
    return Index(name, *columns, unique=unique, sqlite_where=where, postgresql_where=where)


schema_info = Table(
    "schema_info",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("compatible_since", Text, nullable=False),
)
