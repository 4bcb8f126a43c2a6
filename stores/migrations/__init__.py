"""The registry's tables as revisions, each with its way back; `schema` runs them with Alembic.

A revision is plain SQL: what stands there is what the database has. `HEAD` is the one that this
release needs; a process that finds another one refuses to start.
"""

HEAD = "0009"
