"""Drops, sessions and runs: the first tables. Catalogs of this version exist, so nothing is to be done."""

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Nothing: a catalog without these tables is made anew."""
