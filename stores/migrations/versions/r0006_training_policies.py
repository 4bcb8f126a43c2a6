"""Training policies: orders that come due by the clock or when data have drifted; of one tenant each.

A row is one setting of a policy. It is never deleted: another setting, or a removal, ends it, so a
trigger that is read again finds what it did. A finished run may wait for its replay, too.
"""

from alembic import context, op

revision = "0006"
down_revision = "0005"

_TENANT = "nullif(current_setting('app.tenant', true), '')::uuid"
_NAME = "~ '^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$'"
_STAGES = "'register', 'compile', 'replay', 'promote', 'released', 'withheld'"
_STAGES_BEFORE = "'register', 'compile', 'promote', 'released', 'withheld'"
_CHANGED = (
    "due_at, alert, fired_at, occasion, firings, last_trigger_id, ended_at, ended_by, "
    "ended_trigger_id"
)


def upgrade() -> None:
    op.execute(
        f"""
        CREATE TABLE training_policies (
            tenant_id uuid NOT NULL REFERENCES tenants,
            id uuid NOT NULL DEFAULT gen_random_uuid(),
            name text NOT NULL CHECK (name {_NAME}),
            trigger_id text NOT NULL CHECK (trigger_id {_NAME}),
            trigger text NOT NULL,
            model text NOT NULL CHECK (model {_NAME}),
            actor text NOT NULL CHECK (actor <> ''),
            cause text NOT NULL CHECK (cause IN ('drift', 'schedule')),
            interval_s integer NOT NULL CHECK (interval_s > 0),
            set_at timestamptz NOT NULL DEFAULT clock_timestamp(),
            due_at timestamptz,
            alert text,
            fired_at timestamptz,
            occasion text,
            firings bigint NOT NULL DEFAULT 0,
            last_trigger_id text,
            ended_at timestamptz,
            ended_by text,
            ended_trigger_id text,
            PRIMARY KEY (tenant_id, id),
            UNIQUE (tenant_id, trigger_id),
            CHECK (cause = 'drift' OR due_at IS NOT NULL),
            CHECK ((ended_at IS NULL) = (ended_trigger_id IS NULL))
        )"""
    )
    op.execute("CREATE UNIQUE INDEX ON training_policies (tenant_id, name) WHERE ended_at IS NULL")
    op.execute("CREATE INDEX ON training_policies (tenant_id, ended_trigger_id)")
    op.execute("ALTER TABLE training_policies ENABLE ROW LEVEL SECURITY")
    op.execute("ALTER TABLE training_policies FORCE ROW LEVEL SECURITY")
    op.execute(
        "CREATE POLICY of_tenant ON training_policies "
        f"USING (tenant_id = {_TENANT}) WITH CHECK (tenant_id = {_TENANT})"
    )
    role = context.config.attributes["application_role"].replace('"', '""')
    op.execute(f'GRANT SELECT, INSERT, UPDATE ({_CHANGED}) ON training_policies TO "{role}"')
    _allow(_STAGES)
    op.execute(
        "CREATE INDEX training_runs_to_replay ON training_runs (tenant_id, ended_at) "
        "WHERE stage = 'replay'"
    )


def downgrade() -> None:
    op.execute("DROP INDEX training_runs_to_replay")
    op.execute("ALTER TABLE training_runs NO FORCE ROW LEVEL SECURITY")
    op.execute(
        "UPDATE training_runs SET stage = 'withheld', error = 'it was not replayed' "
        "WHERE stage = 'replay'"
    )
    op.execute("ALTER TABLE training_runs FORCE ROW LEVEL SECURITY")
    _allow(_STAGES_BEFORE)
    op.execute("DROP TABLE training_policies")


def _allow(stages: str) -> None:
    op.execute("ALTER TABLE training_runs DROP CONSTRAINT training_runs_stage_check")
    op.execute(
        "ALTER TABLE training_runs ADD CONSTRAINT training_runs_stage_check "
        f"CHECK (stage IN ({stages}))"
    )
