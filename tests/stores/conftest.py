"""A real Postgres for the tests of the registry: one server, each test a tenant of its own."""

import asyncio
from collections.abc import Iterator

import pytest

from chimera.cli.postgres import EmbeddedPostgres
from chimera.cli.postgres_config import APPLICATION
from chimera.stores import schema


@pytest.fixture(scope="session")
def server() -> Iterator[EmbeddedPostgres]:
    """At the newest revision; shared, so make a tenant of your own (`places.opened`)."""
    with EmbeddedPostgres() as started:
        asyncio.run(schema.upgrade(started.owner_dsn, APPLICATION))
        yield started
