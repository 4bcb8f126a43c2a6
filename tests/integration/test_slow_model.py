"""A slow model and a backlog, on a real node: all of it is answered, however long that takes."""

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false
# (confluent-kafka's functions are typed in part)

import json
import time
from pathlib import Path

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition

from tests.integration.chaos.cases import counting
from tests.integration.chaos.models import write_models
from tests.integration.test_node import started_node

COUNT = 1_000
STEPS = 8_000  # some milliseconds each; the model takes one at a time
DECIDE_WITHIN_MS = 3_000  # all of them take longer
WITHIN_S = 200.0


@pytest.mark.timeout(300)
def test_backlog_of_a_slow_model_is_answered_whole(kafka: str, prefix: str, tmp_path: Path) -> None:
    write_models(tmp_path / "models")
    settings = {"CHIMERA_SERVING__DECIDE_WITHIN_MS": str(DECIDE_WITHIN_MS)}
    with started_node(kafka, prefix, tmp_path, settings=settings):
        producer = Producer({"bootstrap.servers": kafka})
        value = counting(STEPS).value
        for _ in range(COUNT):
            producer.produce(f"{prefix}inference.requests", value, partition=0)
        assert producer.flush(30) == 0
        began_s = time.monotonic()
        codes = answered(kafka, prefix)
        took_s = time.monotonic() - began_s
    assert codes == ["ok"] * COUNT
    assert took_s > DECIDE_WITHIN_MS / 1000, "else the model is not slow"


def answered(bootstrap: str, prefix: str) -> list[str]:
    """What became of the requests, in the order of their results; dead letters count as well."""
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": f"{prefix}reader",
            "isolation.level": "read_committed",
            "auto.offset.reset": "earliest",
        }
    )
    topics = [f"{prefix}{name}" for name in ("inference.results", "inference.requests.dlq")]
    consumer.assign([TopicPartition(topic, 0, 0) for topic in topics])
    given_up_s = time.monotonic() + WITHIN_S
    found: list[str] = []
    while len(found) < COUNT and time.monotonic() < given_up_s:
        for record in consumer.consume(1_000, 0.2):
            assert record.error() is None
            told = json.loads(record.value() or b"").get("parameters", {})
            is_dead = str(record.topic()).endswith("dlq")
            found.append("dead" if is_dead else told.get("code", "ok"))
    consumer.close()
    return found
