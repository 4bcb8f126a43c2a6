"""Training runs: jobs with their order, their lease, and what came of them; of one tenant each.

The outbox's rows for training are deleted once they are told: a run tells one a second.
"""

from alembic import context, op

revision = "0005"
down_revision = "0004"

_TENANT = "nullif(current_setting('app.tenant', true), '')::uuid"
_PLATFORM = "current_setting('app.platform', true) = 'on'"
_NAME = "~ '^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$'"
_CHANGED = (
    "state, attempt, fruitless, lease_owner, lease_until, device, progress, error, manifest, "
    "cancelled_by, last_trigger_id, stage, started_at, ended_at"
)


def upgrade() -> None:
    op.execute(
        f"""
        CREATE TABLE training_runs (
            tenant_id uuid NOT NULL REFERENCES tenants,
            id uuid NOT NULL DEFAULT gen_random_uuid(),
            run_id text NOT NULL CHECK (run_id {_NAME}),
            trigger_id text NOT NULL CHECK (trigger_id {_NAME}),
            trigger text NOT NULL,
            model text NOT NULL CHECK (model {_NAME}),
            actor text NOT NULL CHECK (actor <> ''),
            reason text NOT NULL,
            priority smallint NOT NULL CHECK (priority BETWEEN 1 AND 9),
            config text NOT NULL,
            until text NOT NULL CHECK (until IN ('registered', 'compiled', 'promoted')),
            state text NOT NULL DEFAULT 'queued'
                CHECK (state IN ('queued', 'running', 'finished', 'failed', 'cancelled')),
            attempt integer NOT NULL DEFAULT 0,
            fruitless integer NOT NULL DEFAULT 0,
            lease_owner text,
            lease_until timestamptz,
            device text,
            progress text,
            error text,
            manifest text,
            cancelled_by text,
            last_trigger_id text,
            stage text CHECK (stage IN
                ('register', 'compile', 'promote', 'released', 'withheld')),
            queued_at timestamptz NOT NULL DEFAULT clock_timestamp(),
            started_at timestamptz,
            ended_at timestamptz,
            PRIMARY KEY (tenant_id, id),
            UNIQUE (tenant_id, run_id),
            UNIQUE (tenant_id, trigger_id),
            CHECK ((state = 'running') = (lease_until IS NOT NULL)),
            CHECK (state <> 'finished' OR manifest IS NOT NULL)
        )"""
    )
    op.execute(
        "CREATE INDEX ON training_runs (tenant_id, priority, queued_at) "
        "WHERE state IN ('queued', 'running')"
    )
    op.execute("ALTER TABLE training_runs ENABLE ROW LEVEL SECURITY")
    op.execute("ALTER TABLE training_runs FORCE ROW LEVEL SECURITY")
    op.execute(
        "CREATE POLICY of_tenant ON training_runs "
        f"USING (tenant_id = {_TENANT}) WITH CHECK (tenant_id = {_TENANT})"
    )
    op.execute(
        "CREATE POLICY told ON outbox FOR DELETE "
        f"USING ({_PLATFORM} AND topic IN ('training.events', 'models.commands'))"
    )
    role = context.config.attributes["application_role"].replace('"', '""')
    op.execute(f'GRANT SELECT, INSERT, UPDATE ({_CHANGED}) ON training_runs TO "{role}"')
    op.execute(f'GRANT DELETE ON outbox TO "{role}"')


def downgrade() -> None:
    role = context.config.attributes["application_role"].replace('"', '""')
    op.execute("SELECT set_config('app.platform', 'on', true)")
    op.execute("DELETE FROM outbox WHERE topic IN ('training.events', 'models.commands')")
    op.execute(f'REVOKE DELETE ON outbox FROM "{role}"')
    op.execute("DROP POLICY told ON outbox")
    op.execute("DROP TABLE training_runs")
