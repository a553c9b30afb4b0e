"""Which runs of the dashboard live, and until when they need not be heard of again."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """One table more."""
    op.create_table(
        "leases",
        sa.Column("run", sa.String(), primary_key=True),
        sa.Column("flow", sa.String(), nullable=False),
        sa.Column("until", sa.Float(), nullable=False),
        if_not_exists=True,
    )
