"""Which version of a session holds which file's content. Filled by the next sweep, from the manifests."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """One table more."""
    op.create_table(
        "contents",
        sa.Column("digest", sa.String(), primary_key=True),
        sa.Column("id", sa.String(), primary_key=True),
        sa.Column("version", sa.String(), primary_key=True),
    )
