"""From a folder to what answers, and back: register, compile, deploy, promote, roll back, by commands.

And by itself: a version that fails is promoted under traffic, and rolled back without anybody's word.
"""

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false
# (confluent-kafka's functions are typed in part)

import json
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from msgspec import structs

from chimera.cli.postgres.server import EmbeddedPostgres
from chimera.cli.watching.scrape import pages
from chimera.workers.packing import write_folder
from tests.cli.places import FAULT, MANIFEST, Place, digits_model, image

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


def register(place: Place, model: str, version: str, graph: bytes | None = None) -> None:
    manifest = structs.replace(MANIFEST, name=model, version=version)
    content = {"model.onnx": graph or digits_model()}
    folder = write_folder(place.folder / version, manifest, content)
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


@pytest.mark.timeout(360)
def test_version_is_deployed_followed_by_another_and_rolled_back(registry: Place) -> None:
    place, model = registry, f"digits-{registry.environment['CHIMERA_KAFKA__GROUP']}"
    log = place.folder / "node.log"
    node = place.node()  # its controller compiles
    try:
        register(place, model, "1")
        register(place, model, "2")
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


@contextmanager
def traffic(place: Place, model: str) -> Generator[None]:
    """Some hundred requests a second meanwhile; of every fourth a faulty version makes an error."""
    ended = threading.Event()
    producer = Producer({"bootstrap.servers": place.bootstrap, "linger.ms": 5})

    def send() -> None:
        at = 0
        while not ended.wait(0.02):
            for _ in range(4):
                at += 1
                pixels = [*image(at % 10)[:63], FAULT if at % 4 == 0 else 0.0]
                tensor = {"name": "image", "shape": [1, 64], "datatype": "FP32", "data": pixels}
                value = json.dumps({"model_name": model, "inputs": [tensor]})
                producer.produce(f"{place.prefix}inference.requests", value, str(at % 7))
            producer.poll(0)

    sending = threading.Thread(target=send)
    sending.start()
    try:
        yield
    finally:
        ended.set()
        sending.join()
        assert producer.flush(20) == 0


def requests_and_results(place: Place) -> tuple[set[tuple[int, int]], Counter[tuple[int, int]]]:
    """Coordinates of all requests, and how many visible results each has."""
    consumer = Consumer(
        {
            "bootstrap.servers": place.bootstrap,
            "group.id": uuid.uuid4().hex,
            "enable.auto.commit": False,
            "enable.partition.eof": False,
        }
    )
    requests, results = f"{place.prefix}inference.requests", f"{place.prefix}inference.results"
    asked: set[tuple[int, int]] = set()
    answered: Counter[tuple[int, int]] = Counter()
    whole = [TopicPartition(topic, part, 0) for topic in (requests, results) for part in (0, 1)]
    consumer.assign(whole)
    silent = 0
    while silent < 4:
        found = consumer.consume(5_000, 0.5)
        silent = 0 if found else silent + 1
        for record in found:
            if record.topic() == requests:
                asked.add((record.partition() or 0, record.offset() or 0))
                continue
            told = dict(record.headers() or [])
            where = (told["chimera-request-partition"], told["chimera-request-offset"])
            answered[int(where[0] or 0), int(where[1] or 0)] += 1
    consumer.close()
    return asked, answered


@pytest.mark.timeout(480)
def test_version_that_fails_is_rolled_back_by_itself_and_no_request_is_lost(
    registry: Place,
) -> None:
    quick = {"CHIMERA_CONTROLLER__JUDGE_MS": "200", "CHIMERA_SERVING__INLINE_RETRY_MS": "200"}
    place = replace(registry, environment={**registry.environment, **quick})
    model, log = f"digits-{place.environment['CHIMERA_KAFKA__GROUP']}", place.folder / "node.log"
    node = place.node()
    try:
        register(place, model, "1")
        register(place, model, "2", digits_model(is_faulty=True))
        told(place, "models", "deploy", model, "1")
        until(lambda: answering(place, model) == "1", log)
        with traffic(place, model):
            limits = ("--watch", "600", "--max-error-rate", "0.05", "--max-p99-ratio", "0")
            told(place, "models", "promote", model, "2", *limits)
            assert "2 is watched since" in told(place, "models", "show", model)
            until(lambda: "breached" in told(place, "models", "history", model), log)
            until(lambda: answering(place, model) == "1", log)
        last = json.loads(told(place, "models", "history", model, "--json"))[-1]
        assert (last["action"], last["actor"]) == ("rollback", "controller")
        assert "error rate" in last["reason"]

        def all_are_answered() -> bool:
            asked, answered = requests_and_results(place)
            assert set(answered.values()) <= {1}
            return asked == answered.keys()

        until(all_are_answered, log)
    finally:
        assert node.stop(30) == 0, log.read_text()[-3000:]


def publish(place: Place, model: str, count: int) -> None:
    """Images of all digits in turn."""
    producer = Producer({"bootstrap.servers": place.bootstrap})
    for at in range(count):
        tensor = {"name": "image", "shape": [1, 64], "datatype": "FP32", "data": image(at % 10)}
        body = {"model_name": model, "id": f"r{at}", "inputs": [tensor]}
        producer.produce(f"{place.prefix}inference.requests", json.dumps(body))
    assert producer.flush(10) == 0


def shadowed(place: Place) -> Counter[str]:
    """What the node's page tells of shadows."""
    port = place.environment["CHIMERA_OBSERVABILITY__METRICS_PORT"]
    page, failures = pages([f"http://127.0.0.1:{port}/metrics"])
    assert not failures
    return sum(page.shadows.values(), Counter[str]())


@pytest.mark.timeout(240)
def test_shadow_computes_what_another_answers_and_is_seen_by_operators_alone(
    registry: Place,
) -> None:
    place, model = registry, f"digits-{registry.environment['CHIMERA_KAFKA__GROUP']}"
    log = place.folder / "node.log"
    node = place.node()
    try:
        register(place, model, "1")
        register(place, model, "2", digits_model(3, 7))
        told(place, "models", "deploy", model, "1")
        told(place, "models", "deploy", model, "2", "--shadow", "1")
        assert "1 serves 100 %, 2 shadows 100 %" in told(place, "models", "show", model)
        until(lambda: "revision=2" in log.read_text(), log)
        publish(place, model, 200)
        until(lambda: shadowed(place)["compared"] == 200, log)
        found = shadowed(place)
        assert (found["disagreed"], found["errors"], found["dropped"]) == (40, 0, 0)
        assert answering(place, model) == "1"
    finally:
        assert node.stop(30) == 0, log.read_text()[-3000:]
