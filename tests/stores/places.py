"""Places for the tests of the registry: a tenant of its own, versions to register, raw queries."""

import hashlib
import uuid
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import asyncpg
import msgspec

from chimera.cli.postgres.server import EmbeddedPostgres
from chimera.schemas.compile_report import Steady, TierReport, Timings
from chimera.schemas.manifest import File, Manifest, TensorSpec, encode
from chimera.schemas.server_settings import PostgresSettings
from chimera.stores.postgres import Database
from chimera.stores.registry.records import Artifact, Tenant, Version
from chimera.stores.registry.registry import Registry
from chimera.stores.registry.tenants import Tenants

ONE_CONNECTION = PostgresSettings(pool_max=1)
INPUTS = (TensorSpec("x", "FP32", (-1, 4)),)


@dataclass(frozen=True)
class Place:
    """A tenant, and a registry that is its own."""

    database: Database
    tenant: Tenant
    registry: Registry

    async def another(self) -> "Place":
        """A second tenant on the very same pool."""
        return await _place(self.database)


@asynccontextmanager
async def opened(
    server: EmbeddedPostgres, settings: PostgresSettings | None = None
) -> AsyncGenerator[Place]:
    async with Database(server.dsn, settings) as database:
        yield await _place(database)


async def _place(database: Database) -> Place:
    tenant = await Tenants(database).create(f"t{uuid.uuid4().hex[:12]}")
    return Place(database, tenant, Registry(database, tenant.id))


def manifest(name: str = "digits", version: str = "1", **more: Any) -> Manifest:
    digest = hashlib.sha256(f"{name}/{version}".encode()).hexdigest()
    return Manifest(name, version, INPUTS, INPUTS, sha256=digest, **more)


async def register(registry: Registry, name: str = "digits", version: str = "1") -> Version:
    said = manifest(name, version)
    files = {"model.onnx": File(said.sha256, 1_000)}
    return await registry.register(encode(said), said, files, actor="test")


async def compiled(registry: Registry, name: str = "digits", version: str = "1") -> Version:
    """A version that may be deployed."""
    found = await register(registry, name, version)
    await registry.add_artifact(name, version, verified(found.sha256))
    return found


def verified(
    sha256: str, *, tier: str = "onnx-cpu", p99_ms: float = 0.5, target: str = "x86-64"
) -> Artifact:
    timings = Timings(1.0, 1.0, 1.0, 1.0, (Steady(1, 100, p99_ms / 2, p99_ms),), {1: 10})
    report = TierReport(tier, "fp32", "verified", target=target, timings=timings)
    said = msgspec.to_builtins(report, str_keys=True)
    return Artifact(tier, "fp32", target, "verified", "", sha256, 1_000, said)


@asynccontextmanager
async def connected(dsn: str) -> AsyncGenerator["asyncpg.Connection[asyncpg.Record]"]:
    connection = await asyncpg.connect(dsn)
    try:
        yield connection
    finally:
        await connection.close()
