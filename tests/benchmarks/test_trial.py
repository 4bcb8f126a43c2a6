"""A trial on a real broker: what it counts, what it refuses, and that it leaves nothing behind."""

import os
import sys
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from benchmarks import model
from benchmarks.broker import Broker
from benchmarks.contenders import Command, Contender, Place, rivals
from benchmarks.environments import NotRun
from benchmarks.reader import Reader
from benchmarks.trial import trial


@pytest.fixture
def models_dir(tmp_path: Path) -> Path:
    model.write(tmp_path / "models")
    return tmp_path / "models"


@pytest.fixture
def broker(kafka: str) -> Broker:
    return Broker(kafka)


def rival(name: str) -> Contender:
    return next(one for one in rivals() if one.name == name)


def script(text: str) -> Callable[[Place], list[Command]]:
    """A contender of a few lines; it gets its topics as arguments."""

    def commands(place: Place) -> list[Command]:
        told = [place.bootstrap, place.requests, place.results]
        return [Command([sys.executable, "-c", text, *told])]

    return commands


LOSES_AND_REPEATS = """
import sys, time
from confluent_kafka import Consumer, Producer
bootstrap, requests, results = sys.argv[1:]
consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": results,
                     "auto.offset.reset": "earliest"})
producer = Producer({"bootstrap.servers": bootstrap})
consumer.subscribe([requests])
for _ in range(1000):
    message = consumer.poll(0.1)
    if message is None or message.error():
        producer.flush()
        continue
    if message.key() != b"7":                      # loses one
        producer.produce(results, b"x", message.key())
    if message.key() == b"9":                      # repeats another
        producer.produce(results, b"x", message.key())
"""


def test_throughput_trial_counts_every_result_and_leaves_nothing(
    broker: Broker, models_dir: Path, tmp_path: Path
) -> None:
    with trial(broker, rival("loop_aiokafka x2"), models_dir=models_dir, work=tmp_path) as one:
        found = one.throughput(3_000, 30.0)
        assert one.sampler is not None
        pids = [track.pid for track in one.sampler.tracks if track.root == "contender"]
    assert (found["visible"], found["lost"], found["repeated"]) == (3_000, 0, 0)
    assert found["rps"] > 0
    assert not [pid for pid in pids if psutil.pid_exists(pid)]
    assert not broker.names(f"bench-{os.getpid()}-")


def test_throughput_trial_counts_what_is_lost_and_what_is_repeated(
    broker: Broker, models_dir: Path, tmp_path: Path
) -> None:
    bad = Contender("bad", "none", script(LOSES_AND_REPEATS))
    with trial(broker, bad, models_dir=models_dir, work=tmp_path) as one:
        found = one.throughput(50, 20.0, patience_s=2.0)
    assert (found["visible"], found["lost"], found["repeated"]) == (49, 1, 1)


def test_trial_of_a_contender_that_ends_is_not_run_with_its_last_words(
    broker: Broker, models_dir: Path, tmp_path: Path
) -> None:
    ends = Contender("ends", "none", script("raise SystemExit('no model today')"))
    with (
        trial(broker, ends, models_dir=models_dir, work=tmp_path) as one,
        pytest.raises(NotRun, match="exited with 1: no model today"),
    ):
        one.throughput(50, 12.0)


def test_latency_trial_measures_the_requests_after_the_warm_up(
    broker: Broker, models_dir: Path, tmp_path: Path
) -> None:
    with trial(broker, rival("txn_loop x1"), models_dir=models_dir, work=tmp_path) as one:
        found = one.latency(rate=200, seconds=2, warmup_s=1)
    assert (found["measured"], found["lost"], found["repeated"]) == (400, 0, 0)
    assert 0 < found["p50_ms"] <= found["p99_ms"] <= found["max_ms"]
    assert found["producer"]["sent"] == 600


def test_reader_does_not_count_what_is_not_committed(broker: Broker, tmp_path: Path) -> None:
    from confluent_kafka import Producer

    name = "bench-uncommitted"
    broker.create([name], 1)
    producer = Producer({"bootstrap.servers": broker.bootstrap, "transactional.id": name})
    producer.init_transactions(10)
    producer.begin_transaction()
    producer.produce(name, b"x", b"1")
    producer.flush(10)
    reader = Reader(broker.bootstrap, name)
    try:
        assert reader.stable_ends() == [0]
        producer.commit_transaction(10)
        found = reader.count(1, limit_s=10.0, patience_s=2.0)
        assert (found["visible"], found["lost"]) == (1, 0)
    finally:
        broker.delete(name)
