"""Watches: the policy that a deployment's version must keep to, and the event that ends a watch well.

A version that passed is kept: an event `keep`, with its weight. What it says the revision before
knows as the deployment made once more, which changes nothing; so the way back makes that of it.
"""

from alembic import op

revision = "0002"
down_revision = "0001"

_ACTIONS = "'deploy', 'promote', 'rollback', 'pause', 'resume'"


def upgrade() -> None:
    op.execute("ALTER TABLE deployments ADD COLUMN watch jsonb")
    op.execute(
        "ALTER TABLE deployments ADD CONSTRAINT deployments_watch_check "
        "CHECK (watch IS NULL OR action IN ('deploy', 'promote'))"
    )
    _allow(f"{_ACTIONS}, 'keep'")


def downgrade() -> None:
    for off in ("NO FORCE ROW LEVEL SECURITY", "DISABLE TRIGGER append_only"):
        op.execute(f"ALTER TABLE deployments {off}")
    op.execute(
        "UPDATE deployments SET action = CASE WHEN weight < 100 THEN 'deploy' ELSE 'promote' END "
        "WHERE action = 'keep'"
    )
    for on in ("ENABLE TRIGGER append_only", "FORCE ROW LEVEL SECURITY"):
        op.execute(f"ALTER TABLE deployments {on}")
    _allow(_ACTIONS)
    op.execute("ALTER TABLE deployments DROP COLUMN watch")


def _allow(actions: str) -> None:
    """Let an event have one of these actions, and no other."""
    op.execute("ALTER TABLE deployments DROP CONSTRAINT deployments_action_check")
    op.execute(
        "ALTER TABLE deployments ADD CONSTRAINT deployments_action_check "
        f"CHECK (action IN ({actions}))"
    )
