"""A place whose node follows a registry, and what an operator does there."""

import json
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from chimera.cli.postgres.server import EmbeddedPostgres
from chimera.schemas.model_settings import KeysSettings
from chimera.stores import keys
from tests.cli.places import Place, image

WITHIN_S = 40.0


def registered(place: Place, server: EmbeddedPostgres) -> Place:
    """With the registry's server, keys, and a store of artifacts; its controller is quick to judge."""
    signing = place.folder / "signing.pem"
    keys.create(KeysSettings(signing_file=signing))
    environment = {
        **place.environment,
        "CHIMERA_POSTGRES__DSN": server.dsn,
        "CHIMERA_SERVING__FOLLOW": "true",
        "CHIMERA_SERVING__INLINE_RETRY_MS": "200",
        "CHIMERA_CONTROLLER__JUDGE_MS": "200",
        "CHIMERA_KEYS__SIGNING_FILE": str(signing),
        "CHIMERA_ARTIFACTS__URL": str(place.folder / "artifacts"),
        "CHIMERA_ARTIFACTS__CACHE_DIR": str(place.folder / "cache"),
        "CHIMERA_COMPILING__MEASURE_S": "0.02",
    }
    return replace(place, environment=environment)


def told(place: Place, *arguments: str, status: int = 0) -> str:
    """What `chimera` said."""
    done = place.run(*arguments)
    assert done.returncode == status, (arguments, done.stdout, done.stderr)
    return done.stdout + done.stderr


def answering(place: Place, model: str) -> str:
    """The version that answers, as a person would ask."""
    tensor = {"name": "image", "shape": [1, 64], "datatype": "FP32", "data": image(3)}
    done = place.run("infer", model, "--input", "-", text=json.dumps({"inputs": [tensor]}))
    return str(json.loads(done.stdout or "{}").get("model_version"))


def until(condition: Callable[[], bool], log: Path) -> None:
    given_up_s = time.monotonic() + WITHIN_S
    while not condition():
        assert time.monotonic() < given_up_s, log.read_text()[-3000:]
        time.sleep(0.1)
