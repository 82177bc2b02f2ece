"""The meter says which brain answered.

The column has a default, so that the release before goes on writing its rows; see 0002 for the rules.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

KEY = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    op.add_column("meter", sa.Column("brain", KEY, server_default="", nullable=False))
