"""What was taken of `training.triggers` stays known, also where Kafka has forgotten how far that was.

`training_changes` has a row for each trigger that cancelled or resumed a run, `training_positions`
how far each topic was read; the latter is of no tenant, and no tenant sees it.
"""

from alembic import context, op

revision = "0009"
down_revision = "0008"

_TENANT = "nullif(current_setting('app.tenant', true), '')::uuid"
_PLATFORM = "current_setting('app.platform', true) = 'on'"
_NAME = "~ '^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$'"


def upgrade() -> None:
    op.execute(
        f"""
        CREATE TABLE training_changes (
            tenant_id uuid NOT NULL,
            trigger_id text NOT NULL CHECK (trigger_id {_NAME}),
            run_id text NOT NULL,
            action text NOT NULL CHECK (action IN ('cancel', 'resume')),
            taken_at timestamptz NOT NULL DEFAULT clock_timestamp(),
            PRIMARY KEY (tenant_id, trigger_id),
            FOREIGN KEY (tenant_id, run_id) REFERENCES training_runs (tenant_id, run_id)
        )"""
    )
    op.execute(
        """
        CREATE TABLE training_positions (
            topic_id text PRIMARY KEY,
            next_offset bigint NOT NULL CHECK (next_offset >= 0)
        )"""
    )
    _bind("training_changes", "of_tenant", f"tenant_id = {_TENANT}")
    _bind("training_positions", "of_platform", _PLATFORM)
    role = context.config.attributes["application_role"].replace('"', '""')
    op.execute(f'GRANT SELECT, INSERT ON training_changes TO "{role}"')
    op.execute(f'GRANT SELECT, INSERT, UPDATE (next_offset) ON training_positions TO "{role}"')


def downgrade() -> None:
    op.execute("DROP TABLE training_positions")
    op.execute("DROP TABLE training_changes")


def _bind(table: str, policy: str, rows: str) -> None:
    op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
    op.execute(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY")
    op.execute(f"CREATE POLICY {policy} ON {table} USING ({rows}) WITH CHECK ({rows})")
