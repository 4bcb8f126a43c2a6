"""From a folder to what answers, and back: register, compile, deploy, promote, roll back, by commands."""

import json
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from msgspec import structs

from chimera.cli.postgres import EmbeddedPostgres
from chimera.workers.packing import write_folder
from tests.cli.places import MANIFEST, Place, digits_model, image

WITHIN_S = 40.0


@pytest.fixture
def registry(place: Place, server: EmbeddedPostgres) -> Place:
    """With the registry's server, keys, and a store of artifacts; nodes follow."""
    folder = place.folder
    environment = {
        **place.environment,
        "CHIMERA_POSTGRES__DSN": server.dsn,
        "CHIMERA_SERVING__FOLLOW": "true",
        "CHIMERA_KEYS__SIGNING_FILE": str(folder / "signing.pem"),
        "CHIMERA_ARTIFACTS__URL": str(folder / "artifacts"),
        "CHIMERA_ARTIFACTS__CACHE_DIR": str(folder / "cache"),
        "CHIMERA_COMPILING__MEASURE_S": "0.02",
    }
    found = replace(place, environment=environment)
    told(found, "keys", "init")
    return found


def told(place: Place, *arguments: str, text: str | None = None, status: int = 0) -> str:
    done = place.run(*arguments, text=text)
    assert done.returncode == status, (arguments, done.stdout, done.stderr)
    return done.stdout + done.stderr


def register(place: Place, model: str, version: str) -> None:
    manifest = structs.replace(MANIFEST, name=model, version=version)
    folder = write_folder(place.folder / version, manifest, {"model.onnx": digits_model()})
    told(place, "models", "register", str(folder))
    told(place, "models", "compile", model, version, "--tiers", "onnx-cpu")


def answering(place: Place, model: str) -> str:
    tensor = {"name": "image", "shape": [1, 64], "datatype": "FP32", "data": image(3)}
    text = json.dumps({"inputs": [tensor]})
    return str(
        json.loads(place.run("infer", model, "--input", "-", text=text).stdout or "{}").get(
            "model_version"
        )
    )


def until(condition: Callable[[], bool], log: Path) -> None:
    given_up_s = time.monotonic() + WITHIN_S
    while not condition():
        assert time.monotonic() < given_up_s, log.read_text()[-3000:]
        time.sleep(0.1)


@pytest.mark.timeout(240)
def test_version_is_deployed_followed_by_another_and_rolled_back(registry: Place) -> None:
    place, model = registry, f"digits-{registry.environment['CHIMERA_KAFKA__GROUP']}"
    log = place.folder / "node.log"
    register(place, model, "1")
    register(place, model, "2")
    node = place.node()
    try:
        refused = told(place, "models", "deploy", model, "9", status=1)
        assert "9" in refused
        told(place, "models", "deploy", model, "1")
        until(lambda: answering(place, model) == "1", log)
        told(place, "models", "deploy", model, "2")
        until(lambda: answering(place, model) == "2", log)
        told(place, "models", "rollback", model, "--reason", "it was worse")
        until(lambda: answering(place, model) == "1", log)
        history = told(place, "models", "history", model)
        assert "it was worse" in history
        assert "1" in told(place, "models", "what-served")
    finally:
        assert node.stop(30) == 0, log.read_text()[-3000:]
