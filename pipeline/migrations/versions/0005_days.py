"""On which days sessions ran that name nobody. Filled from the manifests, of which the contents are noted anew, too."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """One table more."""
    op.create_table(
        "days",
        sa.Column("day", sa.String(), primary_key=True),
        sa.Column("id", sa.String(), primary_key=True),
        sa.Column("version", sa.String(), primary_key=True),
        if_not_exists=True,
    )
    op.execute("DELETE FROM contents")
