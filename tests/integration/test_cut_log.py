"""A log that lost its end under a running node: its lane halts, as what comes will have old offsets."""

import json
from pathlib import Path

from confluent_kafka import Producer

from chimera.cli.kafka.server import EmbeddedKafka
from tests.integration.test_journal import answered
from tests.integration.test_node import started_node
from tests.waiting import until

COUNT = 20


def cut(broker: EmbeddedKafka, topic: str) -> None:
    """Partition 0 is empty when the broker is there again, and of the same topic as before."""
    broker.kill()
    for file in (broker.folder / "data" / f"{topic}-0").iterdir():
        if file.name != "partition.metadata":
            file.unlink()
    broker.start()


def test_lane_halts_when_its_log_was_cut(prefix: str, tmp_path: Path) -> None:
    """It would pass over requests at offsets that it has answered before."""
    topic, log = f"{prefix}inference.requests", tmp_path / "node.log"
    with EmbeddedKafka(is_brief=True) as broker, started_node(broker.bootstrap, prefix, tmp_path):
        producer = Producer({"bootstrap.servers": broker.bootstrap})
        for _ in range(COUNT):
            producer.produce(topic, json.dumps({"model_name": "nobody"}).encode(), partition=0)
        assert producer.flush(30) == 0
        until(answered(broker.bootstrap, prefix, COUNT))
        cut(broker, topic)
        until(lambda: "lane_halted" in log.read_text())
        assert f"{topic}-0 ends at 0, before what was read of it" in log.read_text()
