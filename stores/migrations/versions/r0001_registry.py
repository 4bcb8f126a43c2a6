"""The registry: tenants, models, versions, artifacts, deployments, policies, and the outbox.

Every table of a tenant has Row Level Security, also for its owner; a policy compares with the
tenant of the transaction and takes '', which Postgres leaves behind, for none. `app.platform` opens
what belongs to no single tenant: their list, and the outbox. What is history is append-only.
"""

from alembic import context, op

revision = "0001"
down_revision = None

_TENANT = "nullif(current_setting('app.tenant', true), '')::uuid"
_PLATFORM = "current_setting('app.platform', true) = 'on'"
_NAME = "~ '^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$'"
_SHA256 = "~ '^[0-9a-f]{64}$'"
_OWN = "tenant_id uuid NOT NULL REFERENCES tenants, id uuid NOT NULL DEFAULT gen_random_uuid()"

_TABLES = {
    "tenants": f"""
        id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
        name text NOT NULL UNIQUE CHECK (name {_NAME}),
        created_at timestamptz NOT NULL DEFAULT now()""",
    "models": f"""
        {_OWN},
        name text NOT NULL CHECK (name {_NAME}),
        created_at timestamptz NOT NULL DEFAULT now(),
        PRIMARY KEY (tenant_id, id),
        UNIQUE (tenant_id, name)""",
    "versions": f"""
        {_OWN},
        model_id uuid NOT NULL,
        version text NOT NULL CHECK (version {_NAME}),
        manifest_bytes bytea NOT NULL CHECK (octet_length(manifest_bytes) > 0),
        manifest jsonb NOT NULL,
        sha256 text NOT NULL CHECK (sha256 {_SHA256}),
        files jsonb NOT NULL,
        registered_at timestamptz NOT NULL DEFAULT now(),
        registered_by text NOT NULL,
        PRIMARY KEY (tenant_id, id),
        UNIQUE (tenant_id, model_id, version),
        UNIQUE (tenant_id, model_id, id),
        FOREIGN KEY (tenant_id, model_id) REFERENCES models (tenant_id, id)""",
    "artifacts": f"""
        {_OWN},
        version_id uuid NOT NULL,
        tier text NOT NULL CHECK (tier <> ''),
        precision text NOT NULL,
        target text NOT NULL,
        verdict text NOT NULL CHECK (verdict IN ('verified', 'refused', 'skipped')),
        reason text NOT NULL,
        sha256 text CHECK (sha256 {_SHA256}),
        size_bytes bigint CHECK (size_bytes >= 0),
        report jsonb NOT NULL,
        made_at timestamptz NOT NULL DEFAULT clock_timestamp(),
        PRIMARY KEY (tenant_id, id),
        CHECK (verdict <> 'verified' OR (sha256 IS NOT NULL AND size_bytes IS NOT NULL)),
        FOREIGN KEY (tenant_id, version_id) REFERENCES versions (tenant_id, id)""",
    "deployments": f"""
        {_OWN},
        model_id uuid NOT NULL,
        sequence bigint NOT NULL CHECK (sequence > 0),
        action text NOT NULL
            CHECK (action IN ('deploy', 'promote', 'rollback', 'pause', 'resume')),
        version_id uuid,
        weight smallint NOT NULL CHECK (weight BETWEEN 0 AND 100),
        actor text NOT NULL CHECK (actor <> ''),
        reason text NOT NULL,
        command_id text CHECK (command_id <> ''),
        at timestamptz NOT NULL,
        PRIMARY KEY (tenant_id, id),
        UNIQUE (tenant_id, model_id, sequence),
        UNIQUE (tenant_id, command_id),
        CHECK ((action IN ('pause', 'resume')) = (version_id IS NULL)),
        FOREIGN KEY (tenant_id, model_id) REFERENCES models (tenant_id, id),
        FOREIGN KEY (tenant_id, model_id, version_id)
            REFERENCES versions (tenant_id, model_id, id)""",
    "policies": f"""
        {_OWN},
        name text NOT NULL CHECK (name {_NAME}),
        body jsonb NOT NULL,
        updated_at timestamptz NOT NULL DEFAULT now(),
        updated_by text NOT NULL,
        PRIMARY KEY (tenant_id, id),
        UNIQUE (tenant_id, name)""",
    "outbox": """
        id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        tenant_id uuid NOT NULL REFERENCES tenants,
        topic text NOT NULL CHECK (topic <> ''),
        key bytea NOT NULL,
        value bytea NOT NULL,
        headers jsonb NOT NULL,
        created_at timestamptz NOT NULL DEFAULT now(),
        published_at timestamptz""",
}
_OF_A_TENANT = ("models", "versions", "artifacts", "deployments", "policies")
_APPEND_ONLY = ("versions", "artifacts", "deployments")

_REFUSE_CHANGE = """
CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% is append-only: no %', TG_TABLE_NAME, TG_OP USING ERRCODE = '23001';
END $$"""

_HISTORY = """
CREATE VIEW deployment_history WITH (security_invoker = true, security_barrier = true) AS
SELECT d.tenant_id, m.name AS model, d.sequence, d.action, v.version, v.sha256, d.weight, d.actor,
       d.reason, d.command_id, d.at
FROM deployments d
JOIN models m ON (m.tenant_id, m.id) = (d.tenant_id, d.model_id)
LEFT JOIN versions v ON (v.tenant_id, v.id) = (d.tenant_id, d.version_id)"""


def upgrade() -> None:
    for name, columns in _TABLES.items():
        op.execute(f"CREATE TABLE {name} ({columns})")
    op.execute("CREATE INDEX ON artifacts (tenant_id, version_id)")
    op.execute("CREATE INDEX ON outbox (id) WHERE published_at IS NULL")
    op.execute(_HISTORY)
    op.execute(_REFUSE_CHANGE)
    for name in _APPEND_ONLY:
        op.execute(
            f"CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON {name} "
            "FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()"
        )
    _secure()
    _grant(context.config.attributes["application_role"])
    op.execute("SELECT set_config('app.platform', 'on', true)")
    op.execute("INSERT INTO tenants (name) VALUES ('default')")


def downgrade() -> None:
    op.execute("DROP VIEW deployment_history")
    for name in reversed(_TABLES):
        op.execute(f"DROP TABLE {name}")
    op.execute("DROP FUNCTION refuse_change")


def _secure() -> None:
    for name in _TABLES:
        op.execute(f"ALTER TABLE {name} ENABLE ROW LEVEL SECURITY")
        op.execute(f"ALTER TABLE {name} FORCE ROW LEVEL SECURITY")
    for name in _OF_A_TENANT:
        op.execute(
            f"CREATE POLICY of_tenant ON {name} "
            f"USING (tenant_id = {_TENANT}) WITH CHECK (tenant_id = {_TENANT})"
        )
    op.execute(f"CREATE POLICY own_row ON tenants FOR SELECT USING (id = {_TENANT})")
    op.execute(f"CREATE POLICY all_rows ON tenants FOR SELECT USING ({_PLATFORM})")
    op.execute(f"CREATE POLICY new_row ON tenants FOR INSERT WITH CHECK ({_PLATFORM})")
    op.execute(f"CREATE POLICY of_tenant ON outbox FOR INSERT WITH CHECK (tenant_id = {_TENANT})")
    op.execute(f"CREATE POLICY to_publish ON outbox FOR SELECT USING ({_PLATFORM})")
    op.execute(
        f"CREATE POLICY published ON outbox FOR UPDATE USING ({_PLATFORM}) WITH CHECK ({_PLATFORM})"
    )


def _grant(role: str) -> None:
    quoted = '"' + role.replace('"', '""') + '"'
    op.execute(f"GRANT SELECT, INSERT ON {', '.join(_TABLES)} TO {quoted}")
    op.execute(f"GRANT UPDATE (body, updated_at, updated_by) ON policies TO {quoted}")
    op.execute(f"GRANT UPDATE (published_at) ON outbox TO {quoted}")
    op.execute(f"GRANT SELECT ON deployment_history, alembic_version TO {quoted}")
