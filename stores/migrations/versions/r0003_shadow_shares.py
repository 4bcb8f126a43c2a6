"""Shadows of a part of the requests: a deployment's share, of what its version computes unseen.

The revision before knows shadows of everything alone, and takes each for one.
"""

from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.execute(
        "ALTER TABLE deployments ADD COLUMN share smallint NOT NULL DEFAULT 100 "
        "CHECK (share BETWEEN 1 AND 100)"
    )


def downgrade() -> None:
    op.execute("ALTER TABLE deployments DROP COLUMN share")
