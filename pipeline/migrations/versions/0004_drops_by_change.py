"""Drops are found by when they changed: what follows them asks every second."""

from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """One index more."""
    op.create_index("drops_by_change", "drops", ["changed_at"], if_not_exists=True)
