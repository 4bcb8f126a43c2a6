"""The versions of one model that a campaign deploys: registered, compiled, and live one at a time.

    Postgres of its own ── four versions, each compiled and verified ── a command ── the first is live

Version v computes y = x * [2, v, v, v]: all answer what is expected, and each leaves its number in the
answer, so a result that names another version than computed it is seen. `SHADOW` never answers. The
product's own code makes all this, before there is a node; what it does later is judged from topics.
"""

import asyncio
from pathlib import Path
from typing import Self

import numpy as np
from onnx import TensorProto, helper, numpy_helper
from pydantic import SecretStr

from chimera.agents.controlling.controller import Controller
from chimera.cli.models.registering import register
from chimera.cli.models.registry import opened
from chimera.cli.postgres.config import APPLICATION
from chimera.cli.postgres.server import EmbeddedPostgres
from chimera.schemas.deployments import Live
from chimera.schemas.manifest import Manifest, TensorSpec
from chimera.schemas.model_settings import ArtifactsSettings, CompilingSettings, KeysSettings
from chimera.schemas.server_settings import PostgresSettings
from chimera.schemas.settings import Settings
from chimera.stores import keys, schema
from chimera.stores.artifacts import Artifacts
from chimera.stores.postgres import Database
from chimera.stores.registry.outbox import Outbox
from chimera.stores.registry.records import Artifact, Version
from chimera.stores.registry.reports import row_of
from chimera.stores.versions import Versions
from chimera.workers.compiling.pipeline import Targets, compile
from chimera.workers.packing import write_folder
from tests.integration.chaos.cluster import Cluster
from tests.integration.chaos.models import graph

MODEL = "double"
VERSIONS = ("1", "2", "3")  # that may answer
SHADOW = "4"
TIER = "onnx-cpu"
FIRST_WITHIN_S = 60.0
POLL_S = 0.05


class Releases:
    """A context: the registry is there, and nodes that follow it find version 1 live."""

    def __init__(self, folder: Path, cluster: Cluster) -> None:
        self.digests: dict[str, str] = {}  # by version
        self._folder = folder
        self._server = EmbeddedPostgres()
        self._kafka = cluster.settings.kafka

    def __enter__(self) -> Self:
        self._server.__enter__()
        try:
            asyncio.run(self._release())
        except BaseException:
            self._server.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._server.stop()

    def environment(self) -> dict[str, str]:
        """What a node needs to follow the registry."""
        settings = self._settings()
        return {
            "CHIMERA_SERVING__FOLLOW": "true",
            "CHIMERA_POSTGRES__DSN": self._server.dsn,
            "CHIMERA_KEYS__SIGNING_FILE": str(settings.keys.signing_file),
            "CHIMERA_ARTIFACTS__URL": settings.artifacts.url,
            "CHIMERA_ARTIFACTS__CACHE_DIR": str(settings.artifacts.cache_dir),
        }

    def live(self) -> Live:
        """What the registry says now."""

        async def ask() -> Live:
            async with opened(self._settings().postgres) as registry:
                return await registry.live(MODEL)

        return asyncio.run(ask())

    def lead_until_published(self, sequence: int) -> None:
        """Be the controller, as long as no node is, until so many changes are made and told."""
        asyncio.run(self._lead(sequence))

    def _settings(self) -> Settings:
        return Settings(
            kafka=self._kafka,
            postgres=PostgresSettings(dsn=SecretStr(self._server.dsn)),
            keys=KeysSettings(signing_file=self._folder / "signing.pem"),
            artifacts=ArtifactsSettings(
                url=str(self._folder / "artifacts"), cache_dir=self._folder / "cache"
            ),
        )

    async def _release(self) -> None:
        await schema.upgrade(self._server.owner_dsn, APPLICATION)
        settings = self._settings()
        keys.create(settings.keys)
        for version in (*VERSIONS, SHADOW):
            await self._add(version, settings)

    async def _add(self, version: str, settings: Settings) -> None:
        nodes = [helper.make_node("Mul", ["x", "by"], ["y"])]
        content = graph(MODEL, nodes, [_by(version)], [_X], _Y)
        manifest = Manifest(MODEL, version, (_X,), (_Y,), "0" * 64, max_batch_size=64)
        upload = write_folder(self._folder / f"upload-{version}", manifest, {"model.onnx": content})
        registered = (await register(upload, settings, "chaos")).version
        made = self._compiled(registered, settings)
        async with opened(settings.postgres) as registry:
            await registry.add_artifact(MODEL, version, made)
        self.digests[version] = registered.digest

    def _compiled(self, version: Version, settings: Settings) -> Artifact:
        """As the controller's compile command does it, in this process: one tier, hardly measured."""
        store = Artifacts(settings.artifacts.url, settings.artifacts.cache_dir)
        trusted = keys.trusted(settings.keys)
        source = Versions(store).materialize(version.digest, self._folder / "sources", trusted)
        out = self._folder / f"compiled-{version.version}"
        quick = CompilingSettings(batch_sizes=(1,), measure_s=0.02, int8=False)
        report = compile(source, Targets((TIER,), native=False), out, quick)
        (tier,) = (one for one in report.tiers if one.tier == TIER)
        for name in tier.files:
            store.put(out / tier.variant / name)
        return row_of(tier, version, {})

    async def _lead(self, sequence: int) -> None:
        settings = self._settings()
        async with (
            asyncio.timeout(FIRST_WITHIN_S),
            opened(settings.postgres) as registry,
            Database(self._server.dsn, settings.postgres) as database,
        ):
            controller = Controller(settings, self._kafka.bootstrap or "", database)
            await controller.start()
            try:
                # the registry tells nobody of its changes
                while (await registry.live(MODEL)).sequence < sequence:  # noqa: ASYNC110
                    await asyncio.sleep(POLL_S)
                while await Outbox(database).pending():  # noqa: ASYNC110
                    await asyncio.sleep(POLL_S)
            finally:
                await controller.stop()


_X, _Y = TensorSpec("x", "FP32", (-1, 4)), TensorSpec("y", "FP32", (-1, 4))


def _by(version: str) -> TensorProto:
    number = float(version)
    return numpy_helper.from_array(np.array([2, number, number, number], np.float32), "by")
