"""Requests to a place and their results, without a command for each: nodes are watched by their pages."""

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false
# (confluent-kafka's functions are typed in part)

import itertools
import json
from collections.abc import Sequence

from confluent_kafka import Consumer, Producer, TopicPartition

from chimera.cli.watching import scrape
from tests.cli.places import Place, image
from tests.waiting import until

WITHIN_S = 90.0
PARTITIONS = (0, 1)


class Traffic:
    """Requests to a place, and their results so far."""

    def __init__(self, place: Place, partitions: Sequence[int] = PARTITIONS) -> None:
        self._prefix = place.prefix
        self._producer = Producer({"bootstrap.servers": place.bootstrap})
        self._consumer = Consumer(
            {
                "bootstrap.servers": place.bootstrap,
                "group.id": f"{place.prefix}reader",
                "isolation.level": "read_committed",
                "auto.offset.reset": "earliest",
            }
        )
        topics = [
            f"{self._prefix}{name}" for name in ("inference.results", "inference.requests.dlq")
        ]
        self._consumer.assign(
            [TopicPartition(topic, at, 0) for topic in topics for at in partitions]
        )
        self._names = itertools.count()
        self.answers: list[tuple[str, str]] = []  # id, and version or error code, as they came
        self.dead: list[str] = []  # ids

    def send(
        self,
        model: str,
        partition: int,
        count: int,
        name: str,
        *,
        deadline_ms: int = 0,
        last_pixel: float = 0.0,
    ) -> None:
        headers: list[tuple[str, str | bytes | None]] = []
        if deadline_ms:
            headers.append(("chimera-deadline", str(deadline_ms)))
        for number in range(count):
            self._producer.produce(
                f"{self._prefix}inference.requests",
                body(model, f"{name}-{number}", last_pixel),
                name,
                partition,
                headers=headers,
            )
        assert self._producer.flush(30) == 0

    def answered(self, name: str) -> list[str]:
        """What became of requests of that name, in the order of their results."""
        for record in self._consumer.consume(1_000, 0.1):
            assert record.error() is None
            found = json.loads(record.value() or b"")
            if str(record.topic()).endswith("dlq"):
                self.dead.append(found["id"])
            else:
                code = found.get("parameters", {}).get("code")
                self.answers.append((found["id"], code or found["model_version"]))
        return [what for which, what in self.answers if which.rpartition("-")[0] == name]

    def version(self, model: str = "digits") -> str:
        """The version that answers now."""
        name = f"asked{next(self._names)}"
        self.send(model, PARTITIONS[0], 1, name)
        until(lambda: bool(self.answered(name)))
        return self.answered(name)[0]

    def close(self) -> None:
        self._consumer.close()


def body(model: str, name: str, last_pixel: float) -> bytes:
    pixels = [*image(3)[:63], last_pixel]
    tensor = {"name": "image", "shape": [1, 64], "datatype": "FP32", "data": pixels}
    return json.dumps({"id": name, "model_name": model, "inputs": [tensor]}).encode()


def page(place: Place) -> scrape.Page:
    port = place.environment["CHIMERA_OBSERVABILITY__METRICS_PORT"]
    found, failures = scrape.pages([f"http://127.0.0.1:{port}/metrics"])
    assert not failures
    return found
