"""The registry of one tenant: its models, versions, artifacts and deployments.

Each call is one transaction, in which Postgres shows this tenant's rows and no other's. A version
and the history never change; repeating a call that registers or deploys (with its `command_id`)
changes nothing. `tests/stores/registry/test_registry.py`, `test_deployments.py` and, as another tenant,
`test_isolation.py`.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from chimera.schemas.deployments import Change, Deployment, Live
from chimera.schemas.manifest import File, Manifest
from chimera.schemas.promotion_policy import PromotionPolicy
from chimera.schemas.replay_report import ReplayReport
from chimera.stores.postgres import Database
from chimera.stores.registry import (
    artifacts,
    deployments,
    kept,
    policies,
    replays,
    training_policies,
    training_runs,
    versions,
)
from chimera.stores.registry.deployments import Tell
from chimera.stores.registry.records import Artifact, Model, Policy, Replay, Version
from chimera.stores.registry.training_policies import TrainingPolicy
from chimera.stores.registry.training_runs import TrainingRun


class Registry:
    """Every method raises PostgresUnavailable when the server is away, beside what it says."""

    def __init__(self, database: Database, tenant_id: UUID) -> None:
        self._database = database
        self._tenant_id = tenant_id

    async def register(
        self,
        manifest_bytes: bytes,
        manifest: Manifest,
        files: Mapping[str, File],
        *,
        actor: str,
    ) -> Version:
        """Register a version, or find that these very bytes are registered.

        Args:
            manifest_bytes: as they were signed; kept as they are.
            manifest: what they say.
            files: every file of the version, by name.

        Raises:
            VersionTaken: other bytes are registered under that name and version.
            ModelRefused: the manifest holds what the registry cannot.
        """
        async with self._database.tenant(self._tenant_id) as connection:
            return await versions.register(
                connection, self._tenant_id, manifest_bytes, manifest, files, actor=actor
            )

    async def models(self) -> list[Model]:
        """In the order of their names."""
        async with self._database.tenant(self._tenant_id) as connection:
            return await versions.models(connection)

    async def versions(self, model: str) -> list[Version]:
        """Of one model, the newest first. Raises UnknownModel."""
        async with self._database.tenant(self._tenant_id) as connection:
            return await versions.versions(connection, model)

    async def version(self, model: str, version: str) -> Version:
        """Raises UnknownModel: no such model, or no such version."""
        async with self._database.tenant(self._tenant_id) as connection:
            return await versions.version(connection, model, version)

    async def add_artifact(self, model: str, version: str, artifact: Artifact) -> Artifact:
        """Write down what a tier made; returns it with the time. Raises UnknownModel."""
        async with self._database.tenant(self._tenant_id) as connection:
            return await artifacts.add(connection, self._tenant_id, model, version, artifact)

    async def artifacts(self, model: str, version: str) -> list[Artifact]:
        """The newest of each tier, precision and target. Raises UnknownModel."""
        async with self._database.tenant(self._tenant_id) as connection:
            return await artifacts.newest(connection, model, version)

    async def record_deployment(
        self, model: str, change: Change, tell: Tell = lambda _before, _after: ()
    ) -> Live:
        """Add to the history and to the outbox, in one transaction; the state after it.

        `tell`: events to go with it, made of the states before and after.

        Raises:
            UnknownModel: no such model, or no such version.
            DeploymentRefused: the change makes no sense now.
        """
        async with self._database.tenant(self._tenant_id) as connection:
            return await deployments.record(connection, self._tenant_id, model, change, tell)

    async def live(self, model: str) -> Live:
        """What serves it now; `sequence` 0: nothing was ever deployed. Raises UnknownModel."""
        async with self._database.tenant(self._tenant_id) as connection:
            return await deployments.live(connection, self._tenant_id, model)

    async def history(self, model: str) -> list[Deployment]:
        """Everything that was done to it, oldest first. Raises UnknownModel."""
        async with self._database.tenant(self._tenant_id) as connection:
            return await deployments.history(connection, model)

    async def what_served(self, at: datetime | None = None) -> list[Live]:
        """The state of each model at a moment by the server's clock (now, if none)."""
        async with self._database.tenant(self._tenant_id) as connection:
            return await deployments.what_served(connection, self._tenant_id, at)

    async def training_runs(self, limit: int = 100) -> list[TrainingRun]:
        """The newest that were ordered, newest first."""
        async with self._database.tenant(self._tenant_id) as connection:
            return await training_runs.newest(connection, limit)

    async def training_run(self, run_id: str) -> TrainingRun | None:
        async with self._database.tenant(self._tenant_id) as connection:
            return await training_runs.find(connection, run_id)

    async def training_policies(self) -> list[TrainingPolicy]:
        """All that may order runs, by their names."""
        async with self._database.tenant(self._tenant_id) as connection:
            return await training_policies.every(connection)

    async def put_policy(self, name: str, body: Mapping[str, Any], *, actor: str) -> None:
        """Write a policy down, over the one before; the audit log is told. Raises SchemaInvalid."""
        async with self._database.tenant(self._tenant_id) as connection:
            await policies.put(connection, self._tenant_id, name, body, actor)

    async def policy(self, name: str) -> Policy | None:
        async with self._database.tenant(self._tenant_id) as connection:
            return await policies.find(connection, name)

    async def add_replay(self, report: ReplayReport, *, actor: str) -> None:
        """Write down what a replay came to.

        Raises:
            UnknownModel: no such model, or no such version.
            SchemaInvalid: that version has another digest.
        """
        async with self._database.tenant(self._tenant_id) as connection:
            await replays.add(connection, self._tenant_id, report, actor)

    async def replay(self, model: str, version: str) -> Replay | None:
        """The latest of a version. Raises UnknownModel, SchemaInvalid."""
        async with self._database.tenant(self._tenant_id) as connection:
            found = await versions.version(connection, model, version)
            return await replays.newest(connection, found)

    async def kept(self, since_s: float) -> set[str]:
        """Digests in the store of artifacts that it refers to, or did so long ago."""
        async with self._database.tenant(self._tenant_id) as connection:
            return await kept.digests(connection, since_s)

    async def promotion_policy(self, model: str) -> PromotionPolicy:
        """What a version of the model has to show. Raises UnknownModel, SchemaInvalid."""
        async with self._database.tenant(self._tenant_id) as connection:
            await versions.model_id(connection, model)
            return await replays.policy(connection, model)
