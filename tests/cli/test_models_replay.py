"""`chimera models replay` and `policy`, on what a real node has served; promotions that ask for it."""

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false
# (aiokafka ships no type information)

import asyncio
import json
from pathlib import Path
from typing import Any

import onnx
import pytest
from aiokafka import AIOKafkaProducer
from msgspec import structs
from onnx import numpy_helper

from chimera.agents.replaying import history
from chimera.cli.asking import results
from chimera.cli.models import registering
from chimera.cli.models.registry import opened
from chimera.cli.postgres.server import EmbeddedPostgres
from chimera.schemas.server_settings import KafkaSettings
from chimera.schemas.settings import Settings, load
from chimera.stores.artifacts import Artifacts
from chimera.workers.compiling.targets import here
from chimera.workers.packing import write_folder
from tests.cli.places import MANIFEST, Place, digits_model, image
from tests.cli.registered import answering, registered, told, until
from tests.stores.places import verified

REQUESTS, WITHIN_S = 560, 60.0


def swapped() -> bytes:
    """A model that takes 3 for 8, and 8 for 3."""
    model = onnx.load_from_string(digits_model())
    (weights,) = model.graph.initializer
    changed = numpy_helper.to_array(weights).copy()
    changed[[3, 8]] = changed[[8, 3]]
    weights.CopyFrom(numpy_helper.from_array(changed, weights.name))
    return bytes(model.SerializeToString())


async def register(settings: Settings, folder: Path, model: str, contents: list[bytes]) -> None:
    """Versions 1, 2, ... of a model, each with its own graph as the artifact of its only tier."""
    store = Artifacts(settings.artifacts.url, settings.artifacts.cache_dir)
    async with opened(settings.postgres) as registry:
        for number, content in enumerate(contents, 1):
            manifest = structs.replace(MANIFEST, name=model, version=str(number))
            made = write_folder(folder / str(number), manifest, {"model.onnx": content})
            await registering.register(made, settings, "test")
            graph = store.put(made / "model.onnx")
            await registry.add_artifact(
                model, str(number), verified(graph.sha256, target=here("onnxruntime"))
            )


async def ask(place: Place, model: str) -> int:
    """Each digit equally often; returns once all are answered: how many results there are."""
    async with (
        results.reading(
            KafkaSettings(), place.bootstrap, [f"{place.prefix}inference.results"], start="end"
        ) as consumer,
        AIOKafkaProducer(bootstrap_servers=place.bootstrap, compression_type="snappy") as producer,
        asyncio.timeout(WITHIN_S),
    ):
        for number in range(REQUESTS):
            tensor = {"name": "image", "shape": [1, 64], "datatype": "FP32"}
            body = {"model_name": model, "inputs": [{**tensor, "data": image(number % 10)}]}
            await producer.send(f"{place.prefix}inference.requests", json.dumps(body).encode())
        await producer.flush()
        found = 0
        while found < REQUESTS:
            for records in (await consumer.getmany(timeout_ms=200)).values():
                assert all(results.story(record).code is None for record in records)
                found += len(records)
        return found


async def visible(place: Place) -> int:
    """How many results there are."""
    topic, count = f"{place.prefix}inference.results", 0
    async with history.opened(load(), place.bootstrap, [topic]) as past:
        for reader in map(past.reader, await past.spans(topic, 0)):
            while not reader.is_at_end:
                count += len(await reader.read())
    return count


def replayed(place: Place, model: str, version: str, *options: str, status: int) -> Any:
    arguments = ("models", "replay", model, version, "--max-p99-ratio", "0", "--json", *options)
    done = place.run(*arguments)
    assert done.returncode == status, (done.stdout, done.stderr)
    return json.loads(done.stdout)


@pytest.mark.timeout(300)
def test_replay_gives_the_verdict_that_a_promotion_asks_for(
    place: Place, server: EmbeddedPostgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    place, model = registered(place, server), f"digits-{place.environment['CHIMERA_KAFKA__GROUP']}"
    log = place.folder / "node.log"
    for name, value in place.environment.items():
        monkeypatch.setenv(name, value)
    contents = [digits_model(), digits_model(), swapped()]
    asyncio.run(register(load(), place.folder, model, contents))
    node = place.node()
    try:
        told(place, "models", "deploy", model, "1")
        until(lambda: answering(place, model) == "1", log)
        asyncio.run(ask(place, model))
        _require(place, model)
        count = asyncio.run(visible(place))

        undecided = replayed(place, model, "2", "--max-requests", "40", status=2)
        assert undecided["counts"]["agreed"] == 40
        assert "not replayed" in told(place, "models", "promote", model, "2", status=1)

        failed = replayed(place, model, "3", status=1)
        assert failed["counts"]["agreed"] == REQUESTS * 8 // 10  # 3 and 8 are swapped
        assert _others(failed, "disagreed") == count - REQUESTS * 8 // 10
        assert failed["verdict"] == "failed" and "disagreement" in failed["reason"]
        assert len(failed["differences"]) == 5
        assert "its replay failed" in told(place, "models", "promote", model, "3", status=1)

        passed = replayed(place, model, "2", status=0)
        assert _others(passed, "agreed") == count
        assert list(passed["served_by"]) == ["1"]
        assert passed["candidate"]["p99_us"] > 0
        assert asyncio.run(visible(place)) == count
        told(place, "models", "promote", model, "2")
        until(lambda: answering(place, model) == "2", log)

        shown = place.run("models", "replay", model, "2", "--since", "7d").stdout
        assert "answered by this very version" in shown
        assert "replayed" in told(place, "models", "show", model, "3")
    finally:
        assert node.stop(30) == 0, log.read_text()[-3000:]


def _others(report: Any, named: str) -> int:
    """So many, and the questions that came before the model was there; all others are none."""
    counts = {name: count for name, count in report["counts"].items() if count}
    assert counts.keys() <= {"agreed", "disagreed", "unrelated"}
    return int(counts[named] + counts.get("unrelated", 0))


def _require(place: Place, model: str) -> None:
    options = ("--require-replay", "--max-age", "1h", "--max-p99-ratio", "0")
    assert "not older than 3600 s" in told(place, "models", "policy", model, *options)
    assert "is registered" in told(place, "models", "policy", "nobody", *options, status=1)
