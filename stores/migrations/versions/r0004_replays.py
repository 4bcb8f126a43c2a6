"""Replays: what came of recorded requests through a version, with the verdict that a policy may ask for.

Reports are history: they are added, and never changed.
"""

from alembic import context, op

revision = "0004"
down_revision = "0003"

_TENANT = "nullif(current_setting('app.tenant', true), '')::uuid"


def upgrade() -> None:
    op.execute(
        """
        CREATE TABLE replays (
            tenant_id uuid NOT NULL REFERENCES tenants,
            id uuid NOT NULL DEFAULT gen_random_uuid(),
            version_id uuid NOT NULL,
            verdict text NOT NULL CHECK (verdict IN ('passed', 'failed', 'undecided')),
            report jsonb NOT NULL,
            made_at timestamptz NOT NULL DEFAULT clock_timestamp(),
            made_by text NOT NULL CHECK (made_by <> ''),
            PRIMARY KEY (tenant_id, id),
            FOREIGN KEY (tenant_id, version_id) REFERENCES versions (tenant_id, id)
        )"""
    )
    op.execute("CREATE INDEX ON replays (tenant_id, version_id, made_at)")
    op.execute(
        "CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON replays "
        "FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()"
    )
    op.execute("ALTER TABLE replays ENABLE ROW LEVEL SECURITY")
    op.execute("ALTER TABLE replays FORCE ROW LEVEL SECURITY")
    op.execute(
        "CREATE POLICY of_tenant ON replays "
        f"USING (tenant_id = {_TENANT}) WITH CHECK (tenant_id = {_TENANT})"
    )
    role = context.config.attributes["application_role"].replace('"', '""')
    op.execute(f'GRANT SELECT, INSERT ON replays TO "{role}"')


def downgrade() -> None:
    op.execute("DROP TABLE replays")
