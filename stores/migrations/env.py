"""What Alembic runs for each command: the revisions, on the connection that `schema` opened.

Alembic wants this at import. All revisions of a command are one transaction, and two commands at
the same time come one after the other.
"""

from alembic import context
from sqlalchemy import Connection

_LOCK = 4_206_117_001  # any number that nobody else locks in this database

connection: Connection = context.config.attributes["connection"]
context.configure(connection=connection)
with context.begin_transaction():
    connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_LOCK})")
    context.run_migrations()
