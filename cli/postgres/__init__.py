"""The embedded Postgres: its cluster, its configuration, its process."""
