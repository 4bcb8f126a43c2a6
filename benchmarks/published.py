"""A folder with keys and a store of artifacts, and states of models as a controller would publish them.

For benchmarks of nodes that follow `models.state`, without Postgres: versions are signed, stored, and
get an optimised graph for this processor, as compiling makes it; nothing is verified.
"""

# pyright: reportUnknownMemberType=false
# (confluent-kafka's functions are typed in part)

import time
from pathlib import Path

from confluent_kafka import Producer

from benchmarks.broker import QUIET
from benchmarks.contenders import Place
from chimera.schemas.manifest import Manifest
from chimera.schemas.model_names import key
from chimera.schemas.model_settings import KeysSettings
from chimera.schemas.model_state import LiveVersion, ModelState, TierArtifact, encode_state
from chimera.stores import keys
from chimera.stores.artifacts import Artifacts
from chimera.stores.versions import Versions
from chimera.workers.backends.onnx_runtime import OnnxRuntime
from chimera.workers.inspection.rules import Rules
from chimera.workers.packing import pack, write_folder

P99_US = {1: 100.0, 32: 200.0, 256: 1_000.0}  # as if measured: which tier is first is no question


class Published:
    """What nodes of one benchmark follow."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        settings = KeysSettings(signing_file=folder / "signing.pem")
        self._key = keys.create(settings)
        self._store = Artifacts(str(folder / "store"), folder / "cache")
        self._revision = 0
        self.environment = {
            "CHIMERA_SERVING__FOLLOW": "true",
            "CHIMERA_STACK__REGISTRY": "false",
            "CHIMERA_KEYS__SIGNING_FILE": str(settings.signing_file),
            "CHIMERA_ARTIFACTS__URL": str(folder / "store"),
            "CHIMERA_ARTIFACTS__CACHE_DIR": str(folder / "cache"),
        }

    def register(
        self, manifest: Manifest, model: bytes, tiers: tuple[str, ...] = ("onnx-cpu",)
    ) -> LiveVersion:
        """Signed and stored, with the same optimised graph as each of these tiers."""
        name = f"{manifest.name}-{manifest.version}"
        folder = write_folder(self._folder / name, manifest, {manifest.source: model})
        packed = pack(folder, self._key, Rules())
        digest = Versions(self._store).add(folder, packed.raw, packed.signature)
        graph = self._folder / f"{name}.onnx"
        OnnxRuntime("cpu", 1).save_optimised(packed.manifest, model, graph)
        stored = self._store.put(graph).sha256
        made = tuple(TierArtifact(tier, stored, P99_US) for tier in tiers)
        return LiveVersion(version=manifest.version, sha256=digest, weight=1.0, tiers=made)

    def say(
        self, place: Place, model: str, *live: LiveVersion, before: tuple[LiveVersion, ...] = ()
    ) -> int:
        """From now on these answer; returns the state's revision."""
        self._revision += 1
        state = ModelState(
            tenant="default",
            model=model,
            revision=self._revision,
            changed_ms=time.time_ns() // 1_000_000,
            command_id=f"benchmark-{self._revision}",
            live=live,
            before=before,
        )
        producer = Producer({"bootstrap.servers": place.bootstrap, **QUIET})
        producer.produce(f"{place.prefix}models.state", encode_state(state), key("default", model))
        if producer.flush(10):
            raise RuntimeError("the broker does not take a state")
        return self._revision
