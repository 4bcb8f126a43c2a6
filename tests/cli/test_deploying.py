"""From a folder to what answers, and back: register, compile, deploy, promote, roll back, by commands.

And by itself: a version that fails is promoted under traffic, and rolled back without anybody's word.
"""

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false
# (confluent-kafka's functions are typed in part)

import json
import threading
import uuid
from collections import Counter
from collections.abc import Generator, Iterator
from contextlib import contextmanager

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from msgspec import structs

from chimera.cli.postgres.server import EmbeddedPostgres
from chimera.cli.watching.scrape import pages
from chimera.workers.packing import write_folder
from tests.cli.places import FAULT, MANIFEST, Place, digits_model, image, make_place
from tests.cli.registered import answering, registered, told, until

MODEL = "digits-deploying"


@pytest.fixture(scope="module")
def place(
    kafka: str, server: EmbeddedPostgres, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Place]:
    """A node that follows the registry, and three versions: 1 serves, and each test leaves it so.

    Version 2 takes 3 for 7; version 3 raises where an image asks for it.
    """
    made = make_place(kafka, tmp_path_factory.mktemp("deploying"), "deploying")
    found = registered(made, server)
    node = found.node()  # its controller compiles
    try:
        for number, graph in enumerate(
            (digits_model(), digits_model(3, 7), digits_model(is_faulty=True)), 1
        ):
            register(found, str(number), graph)
        deploy(found, "1")
        yield found
    finally:
        assert node.stop(30) == 0, (found.folder / "node.log").read_text()[-3000:]


def register(place: Place, version: str, graph: bytes) -> None:
    manifest = structs.replace(MANIFEST, name=MODEL, version=version)
    folder = write_folder(place.folder / version, manifest, {"model.onnx": graph})
    told(place, "models", "register", str(folder))
    told(place, "models", "compile", MODEL, version, "--tiers", "onnx-cpu")


def deploy(place: Place, version: str, *options: str) -> None:
    """Returns when the node has what was commanded."""
    done = told(place, "models", "deploy", MODEL, version, *options)
    follows(place, done)


def follows(place: Place, done: str) -> None:
    revision = done.strip().rpartition("revision ")[2]
    log = place.folder / "node.log"

    def is_followed() -> bool:
        followed = [one for one in log.read_text().splitlines() if "model_state_followed" in one]
        return any(f"revision={revision} " in f"{one} " for one in followed)

    until(is_followed, log)


@pytest.mark.timeout(360)
def test_version_is_deployed_followed_by_another_and_rolled_back(place: Place) -> None:
    log = place.folder / "node.log"
    assert "9" in told(place, "models", "deploy", MODEL, "9", status=1)
    until(lambda: answering(place, MODEL) == "1", log)
    deploy(place, "2")
    until(lambda: answering(place, MODEL) == "2", log)
    follows(place, told(place, "models", "rollback", MODEL, "--reason", "it was worse"))
    until(lambda: answering(place, MODEL) == "1", log)
    assert "it was worse" in told(place, "models", "history", MODEL)
    assert "1" in told(place, "models", "what-served")


@contextmanager
def traffic(place: Place) -> Generator[None]:
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
                value = json.dumps({"model_name": MODEL, "inputs": [tensor]})
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
def test_version_that_fails_is_rolled_back_by_itself_and_no_request_is_lost(place: Place) -> None:
    log = place.folder / "node.log"
    until(lambda: answering(place, MODEL) == "1", log)
    with traffic(place):
        limits = ("--watch", "600", "--max-error-rate", "0.05", "--max-p99-ratio", "0")
        told(place, "models", "promote", MODEL, "3", *limits)
        assert "3 is watched since" in told(place, "models", "show", MODEL)
        until(lambda: "breached" in told(place, "models", "history", MODEL), log)
        until(lambda: answering(place, MODEL) == "1", log)
    last = json.loads(told(place, "models", "history", MODEL, "--json"))[-1]
    assert (last["action"], last["actor"]) == ("rollback", "controller")
    assert "error rate" in last["reason"]

    def all_are_answered() -> bool:
        asked, answered = requests_and_results(place)
        assert set(answered.values()) <= {1}
        return asked == answered.keys()

    until(all_are_answered, log)


def publish(place: Place, count: int) -> None:
    """Images of all digits in turn."""
    producer = Producer({"bootstrap.servers": place.bootstrap})
    for at in range(count):
        tensor = {"name": "image", "shape": [1, 64], "datatype": "FP32", "data": image(at % 10)}
        body = {"model_name": MODEL, "id": f"r{at}", "inputs": [tensor]}
        producer.produce(f"{place.prefix}inference.requests", json.dumps(body))
    assert producer.flush(10) == 0


def shadowed(place: Place) -> Counter[str]:
    """What the node's page tells of shadows."""
    port = place.environment["CHIMERA_OBSERVABILITY__METRICS_PORT"]
    page, failures = pages([f"http://127.0.0.1:{port}/metrics"])
    assert not failures
    return sum(page.shadows.values(), Counter[str]())


@pytest.mark.timeout(240)
def test_shadow_computes_what_another_answers_and_is_seen_by_operators_alone(place: Place) -> None:
    log = place.folder / "node.log"
    deploy(place, "2", "--shadow", "1")
    assert "1 serves 100 %, 2 shadows 100 %" in told(place, "models", "show", MODEL)
    publish(place, 200)
    until(lambda: shadowed(place)["compared"] == 200, log)
    found = shadowed(place)
    assert (found["disagreed"], found["errors"], found["dropped"]) == (40, 0, 0)
    assert answering(place, MODEL) == "1"
