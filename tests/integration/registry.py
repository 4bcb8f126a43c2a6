"""What a controller would do, without one: stores versions, and says which of them are live."""

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false
# (confluent-kafka's functions are typed in part)

import time
from pathlib import Path

import numpy as np
import onnx
from confluent_kafka import Producer
from msgspec import structs
from onnx import numpy_helper

from chimera.schemas.model_names import key
from chimera.schemas.model_settings import KeysSettings
from chimera.schemas.model_state import (
    LiveVersion,
    ModelState,
    ShadowVersion,
    TierArtifact,
    encode_state,
)
from chimera.schemas.tiers import BY_NAME
from chimera.stores import keys
from chimera.stores.artifacts import Artifacts
from chimera.stores.versions import Versions
from chimera.workers.backends.onnx_runtime import OnnxRuntime
from chimera.workers.inspection.rules import Rules
from chimera.workers.packing import pack, write_folder
from tests.cli.places import MANIFEST, Place, digits_model


class Registry:
    """What a controller would do: stores versions, and says which are live."""

    def __init__(self, place: Place) -> None:
        settings = KeysSettings(signing_file=place.folder / "signing.pem")
        self._key = keys.create(settings)
        self._place = place
        self._artifacts = Artifacts(str(place.folder / "artifacts"), place.folder / "cache")
        self._producer = Producer({"bootstrap.servers": place.bootstrap})
        self._revision = 0
        self.environment = {
            "CHIMERA_SERVING__FOLLOW": "true",
            "CHIMERA_KEYS__SIGNING_FILE": str(settings.signing_file),
            "CHIMERA_ARTIFACTS__URL": str(place.folder / "artifacts"),
            "CHIMERA_ARTIFACTS__CACHE_DIR": str(place.folder / "cache"),
        }

    def compile(
        self,
        version: str,
        *,
        model: str = "digits",
        spoilt: bool = False,
        is_faulty: bool = False,
    ) -> LiveVersion:
        """Register the digits' model as a version, with one verified tier."""
        manifest = structs.replace(MANIFEST, name=model, version=version)
        source = _model(float(version), is_faulty)
        folder = write_folder(
            self._place.folder / f"upload-{model}-{version}",
            manifest,
            {"model.onnx": source},
        )
        packed = pack(folder, self._key, Rules())
        digest = Versions(self._artifacts).add(folder, packed.raw, packed.signature)
        graph = self._place.folder / f"graph-{model}-{version}.onnx"
        OnnxRuntime("cpu", 1).save_optimised(packed.manifest, source, graph)
        if spoilt:
            graph.write_bytes(b"no graph at all")
        tier = TierArtifact("onnx-cpu", self._artifacts.put(graph).sha256, {1: 100.0})
        return LiveVersion(version=version, sha256=digest, weight=1.0, tiers=(tier,))

    def placed(self, version: LiveVersion) -> Path:
        """Where nodes put the file of its one tier."""
        (tier,) = version.tiers
        file = BY_NAME[tier.tier].file
        assert file is not None
        return self._place.folder / "cache" / "placed" / "artifacts" / tier.sha256 / file

    def publish(
        self,
        *live: LiveVersion,
        before: tuple[LiveVersion, ...] = (),
        model: str = "digits",
        shadow: LiveVersion | None = None,
        paused: bool = False,
    ) -> None:
        self._revision += 1
        state = ModelState(
            tenant="default",
            model=model,
            revision=self._revision,
            changed_ms=int(time.time() * 1000),
            command_id=f"c{self._revision}",
            live=live,
            before=before,
            shadow=None if shadow is None else _shadow(shadow),
            paused=paused,
        )
        topic = f"{self._place.prefix}models.state"
        self._producer.produce(topic, encode_state(state), key("default", model))
        assert self._producer.flush(10) == 0


def _shadow(one: LiveVersion) -> ShadowVersion:
    """Of all requests."""
    return ShadowVersion(version=one.version, sha256=one.sha256, share=1.0, tiers=one.tiers)


def _model(scale: float, is_faulty: bool) -> bytes:
    """The digits' model, with weights of its own: no two versions share an artifact."""
    model = onnx.load_from_string(digits_model(is_faulty=is_faulty))
    weights = model.graph.initializer[0]
    weights.CopyFrom(
        numpy_helper.from_array(numpy_helper.to_array(weights) * np.float32(scale), weights.name)
    )
    return bytes(model.SerializeToString())
