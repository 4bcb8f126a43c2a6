"""The warehouse as a process on a real broker: rows in ClickHouse, each once, through its deaths."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from confluent_kafka import Producer

from chimera.cli.warehousing import engine
from chimera.schemas.history_settings import ClickHouseSettings
from chimera.stores import warehouse_tables
from tests.stores.sink_records import record

COUNT = (
    "SELECT count() AS n, uniqExact(offset) AS distinct, max(offset) + 1 AS size FROM inference_log"
)


def environment(kafka: str, prefix: str, folder: Path) -> dict[str, str]:
    return os.environ | {
        "CHIMERA_KAFKA__BOOTSTRAP": kafka,
        "CHIMERA_KAFKA__TOPIC_PREFIX": prefix,
        "CHIMERA_KAFKA__GROUP": prefix,
        "CHIMERA_KAFKA__PARTITIONS": "1",
        "CHIMERA_CLICKHOUSE__DIR": str(folder / "clickhouse"),
        "CHIMERA_CLICKHOUSE__BATCH_MS": "100",
    }


def chimera(env: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "chimera.cli", *arguments]
    return subprocess.run(command, env=env, check=False, capture_output=True, text=True, timeout=60)


@contextmanager
def started(env: dict[str, str], folder: Path) -> Generator[subprocess.Popen[bytes]]:
    """A warehouse that reads."""
    ready = folder / "warehouse-ready"
    command = [sys.executable, "-m", "chimera.cli", "warehouse", "--ready-file", str(ready)]
    ready.unlink(missing_ok=True)
    process = subprocess.Popen(command, env=env)
    try:
        ends = time.monotonic() + 60
        while not ready.exists():
            assert process.poll() is None and time.monotonic() < ends
            time.sleep(0.05)
        yield process
    finally:
        process.kill()
        process.wait()


def produce(kafka: str, topic: str, numbers: range) -> None:
    producer = Producer({"bootstrap.servers": kafka})
    for number in numbers:
        producer.produce(topic, record(0, number).value, partition=0)
    producer.flush(30)


def until_committed(kafka: str, group: str, topic: str, offset: int) -> None:
    """Positions are committed after the rows are there."""
    from confluent_kafka import Consumer, TopicPartition

    consumer = Consumer({"bootstrap.servers": kafka, "group.id": group})
    ends = time.monotonic() + 60
    try:
        while consumer.committed([TopicPartition(topic, 0)], 10)[0].offset < offset:
            assert time.monotonic() < ends
            time.sleep(0.1)
    finally:
        consumer.close()


def test_segments_become_rows_once_through_kills(kafka: str, prefix: str, tmp_path: Path) -> None:
    env = environment(kafka, prefix, tmp_path)
    assert chimera(env, "topics", "sync", "--apply").returncode == 0
    topic, group = f"{prefix}inference.journal", f"{prefix}.warehouse"
    for life in range(3):
        produce(kafka, topic, range(life * 20, life * 20 + 20))
        with started(env, tmp_path) as process:
            held = chimera(env, "sql", "SELECT 1")
            assert (held.returncode, str(process.pid) in held.stderr) == (1, True)
            until_committed(kafka, group, topic, life * 20 + 10)
            if life == 2:
                until_committed(kafka, group, topic, 60)
                process.send_signal(signal.SIGTERM)
                assert process.wait(30) == 0
    found = chimera(env, "sql", COUNT, "--format", "json")
    assert json.loads(found.stdout) == {"n": 600, "distinct": 600, "size": 600}


def test_sql_changes_nothing_and_reads_no_file(tmp_path: Path) -> None:
    env = environment("localhost:1", "x", tmp_path)
    assert "chimera sql: " in chimera(env, "sql", "SELECT 1").stderr  # nothing was ever here
    with engine.opened(ClickHouseSettings(dir=tmp_path / "clickhouse")) as clickhouse:
        warehouse_tables.migrate(clickhouse)
    refused = chimera(env, "sql", "SELECT * FROM file('/etc/hostname', 'LineAsString')")
    assert (refused.returncode, refused.stdout) == (1, "")
    assert refused.stderr.startswith("chimera sql: ")
    found = chimera(
        env, "sql", "SELECT version, name FROM migrations ORDER BY 1", "--format", "tsv"
    )
    assert (found.returncode, found.stdout) == (0, "1\tinference_log\n2\tmodel_log\n")
