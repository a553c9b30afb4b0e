"""Of which files the catalog was told all: a row among the contents said so before, of sessions alone."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    """One table more, and the row that is no content goes."""
    op.create_table("known", sa.Column("files", sa.String(), primary_key=True), if_not_exists=True)
    op.execute("INSERT INTO known SELECT 'sessions' FROM contents WHERE digest = '' AND id = '' AND version = ''")
    op.execute("DELETE FROM contents WHERE digest = '' AND id = '' AND version = ''")
