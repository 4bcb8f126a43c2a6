"""A node that follows `models.state`: versions come, share, and go back, and no request is lost."""

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false
# (confluent-kafka's functions are typed in part)

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from confluent_kafka import Producer
from msgspec import structs

from chimera.schemas.model_names import key
from chimera.schemas.model_settings import KeysSettings
from chimera.schemas.model_state import (
    LiveVersion,
    ModelState,
    ShadowVersion,
    TierArtifact,
    encode_state,
)
from chimera.stores import keys
from chimera.stores.artifacts import Artifacts
from chimera.stores.versions import Versions
from chimera.workers.backends.onnx_runtime import OnnxRuntime
from chimera.workers.inspection.rules import Rules
from chimera.workers.packing import pack, write_folder
from tests.cli.places import MANIFEST, Place, digits_model, image, make_place

WITHIN_S = 40.0


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

    def compile(self, version: str, *, spoilt: bool = False) -> LiveVersion:
        """Register the digits' model as a version, with one verified tier."""
        manifest = structs.replace(MANIFEST, version=version)
        folder = write_folder(
            self._place.folder / f"upload-{version}", manifest, {"model.onnx": digits_model()}
        )
        packed = pack(folder, self._key, Rules())
        digest = Versions(self._artifacts).add(folder, packed.raw, packed.signature)
        graph = self._place.folder / f"graph-{version}.onnx"
        OnnxRuntime("cpu", 1).save_optimised(packed.manifest, digits_model(), graph)
        if spoilt:
            graph.write_bytes(b"no graph at all")
        tier = TierArtifact("onnx-cpu", self._artifacts.put(graph).sha256, {1: 100.0})
        return LiveVersion(version=version, sha256=digest, weight=1.0, tiers=(tier,))

    def publish(
        self,
        *live: LiveVersion,
        before: tuple[LiveVersion, ...] = (),
        shadow: LiveVersion | None = None,
    ) -> None:
        self._revision += 1
        shadowing = None
        if shadow is not None:
            told = shadow.version, shadow.sha256, shadow.tiers
            shadowing = ShadowVersion(version=told[0], sha256=told[1], share=1.0, tiers=told[2])
        state = ModelState(
            tenant="default",
            model="digits",
            revision=self._revision,
            changed_ms=int(time.time() * 1000),
            command_id=f"c{self._revision}",
            live=live,
            before=before,
            shadow=shadowing,
        )
        topic = f"{self._place.prefix}models.state"
        self._producer.produce(topic, encode_state(state), key("default", "digits"))
        assert self._producer.flush(10) == 0


@pytest.fixture
def registry(kafka: str, tmp_path: Path, prefix: str) -> Iterator[tuple[Place, Registry]]:
    place = make_place(kafka, tmp_path, prefix.rstrip("."))
    registry = Registry(place)
    yield replace(place, environment={**place.environment, **registry.environment}), registry


def version_that_answers(place: Place) -> str:
    asked = place.run("infer", "digits", "--input", "-", text=json.dumps(body()))
    assert asked.returncode == 0, asked.stderr + (place.folder / "node.log").read_text()[-3000:]
    return str(json.loads(asked.stdout)["model_version"])


def body() -> dict[str, object]:
    tensor = {"name": "image", "shape": [1, 64], "datatype": "FP32", "data": image(3)}
    return {"inputs": [tensor]}


def until(condition: Callable[[], bool]) -> None:
    given_up_s = time.monotonic() + WITHIN_S
    while not condition():
        assert time.monotonic() < given_up_s
        time.sleep(0.1)


def test_node_serves_what_the_topic_says_and_follows_its_changes(
    registry: tuple[Place, Registry],
) -> None:
    place, controller = registry
    one, two, bad = (
        controller.compile("1"),
        controller.compile("2"),
        controller.compile("3", spoilt=True),
    )
    controller.publish(one)
    log = place.folder / "node.log"
    node = place.node()
    try:
        assert version_that_answers(place) == "1"
        controller.publish(two, before=(one,))
        until(lambda: version_that_answers(place) == "2")
        controller.publish(bad, before=(two,))
        until(lambda: "version_refused" in log.read_text())
        assert version_that_answers(place) == "2"
        controller.publish(one, before=(two,))
        until(lambda: version_that_answers(place) == "1")
        started = log.read_text().count("executor_started")
        controller.publish(two, before=(one,))
        until(lambda: version_that_answers(place) == "2")
        assert log.read_text().count("executor_started") == started, "a rollback is only a word"
        refused = log.read_text().count("version_refused")
        controller.publish(one, shadow=bad)
        until(lambda: log.read_text().count("version_refused") > refused)
        until(lambda: version_that_answers(place) == "1")
    finally:
        assert node.stop(30) == 0
