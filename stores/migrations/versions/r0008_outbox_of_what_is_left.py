"""The outbox holds what is still to be told: rows go once the broker has them, whoever publishes them.

Those that are marked as published go now, and so does the mark. The way back brings the mark, not them.
"""

from alembic import context, op

revision = "0008"
down_revision = "0007"

_PLATFORM = "current_setting('app.platform', true) = 'on'"


def upgrade() -> None:
    op.execute("DROP POLICY told ON outbox")
    op.execute(f"CREATE POLICY told ON outbox FOR DELETE USING ({_PLATFORM})")
    op.execute("SELECT set_config('app.platform', 'on', true)")
    op.execute("DELETE FROM outbox WHERE published_at IS NOT NULL")
    op.execute("DROP POLICY published ON outbox")
    op.execute("ALTER TABLE outbox DROP COLUMN published_at")  # and its index, and the right to it


def downgrade() -> None:
    op.execute("ALTER TABLE outbox ADD COLUMN published_at timestamptz")
    op.execute("CREATE INDEX ON outbox (id) WHERE published_at IS NULL")
    op.execute(
        f"CREATE POLICY published ON outbox FOR UPDATE USING ({_PLATFORM}) WITH CHECK ({_PLATFORM})"
    )
    role = context.config.attributes["application_role"].replace('"', '""')
    op.execute(f'GRANT UPDATE (published_at) ON outbox TO "{role}"')
    op.execute("DROP POLICY told ON outbox")
    op.execute(
        "CREATE POLICY told ON outbox FOR DELETE "
        f"USING ({_PLATFORM} AND topic IN ('training.events', 'models.commands'))"
    )
