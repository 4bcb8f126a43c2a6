"""Recompiles: a version that is live was compiled again, and nodes follow what it runs with now.

The revision before does not know them. To it each is a pause or a resume that changes nothing: the
one that the model is in by then.
"""

from alembic import op

revision = "0007"
down_revision = "0006"

_ACTIONS = "'deploy', 'promote', 'rollback', 'pause', 'resume', 'keep'"
_SINCE = """
UPDATE deployments d SET version_id = NULL, action = coalesce((
    SELECT p.action FROM deployments p
    WHERE (p.tenant_id, p.model_id) = (d.tenant_id, d.model_id)
        AND p.sequence < d.sequence AND p.action IN ('pause', 'resume')
    ORDER BY p.sequence DESC LIMIT 1), 'resume')
WHERE action = 'recompile'
"""


def upgrade() -> None:
    _allow(f"{_ACTIONS}, 'recompile'")


def downgrade() -> None:
    for off in ("NO FORCE ROW LEVEL SECURITY", "DISABLE TRIGGER append_only"):
        op.execute(f"ALTER TABLE deployments {off}")
    op.execute(_SINCE)
    for on in ("ENABLE TRIGGER append_only", "FORCE ROW LEVEL SECURITY"):
        op.execute(f"ALTER TABLE deployments {on}")
    _allow(_ACTIONS)


def _allow(actions: str) -> None:
    """Let an event have one of these actions, and no other."""
    op.execute("ALTER TABLE deployments DROP CONSTRAINT deployments_action_check")
    op.execute(
        "ALTER TABLE deployments ADD CONSTRAINT deployments_action_check "
        f"CHECK (action IN ({actions}))"
    )
