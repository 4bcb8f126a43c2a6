"""The warehouse as a process on a real broker: rows in ClickHouse, each once, through its deaths."""

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest
import typer
from aiokafka.errors import NodeNotReadyError  # pyright: ignore[reportMissingTypeStubs]  # has none

from chimera.agents import holding
from chimera.cli.refusals import told
from chimera.cli.stack import locks
from chimera.cli.stack import state as stack_state
from chimera.cli.stack.state import NodeState, StackState
from chimera.cli.warehousing.warehouse import started_again
from chimera.schemas.errors import (
    ClickHouseRefused,
    ClickHouseUnavailable,
    HistoryConflict,
    KafkaUnavailable,
)
from chimera.schemas.server_settings import KafkaSettings
from chimera.stores import warehouse_tables
from chimera.topics import admin
from chimera.topics.producers import Fenced
from tests.cli.letters import starts
from tests.integration.topics import produce, produce_values
from tests.waiting import until

MIGRATE = """
import pathlib, sys
from chimera.stores import clickhouse, warehouse_tables
warehouse_tables.migrate(clickhouse.embedded(pathlib.Path(sys.argv[1]) / "clickhouse" / "data"))
"""
EMPTY = """
import pathlib, sys
from chimera.stores import clickhouse
engine = clickhouse.embedded(pathlib.Path(sys.argv[1]) / "clickhouse" / "data")
engine.command("TRUNCATE TABLE chimera.inference_log")
"""
SERVED = """
from chimera.cli.warehousing.engine import opened, served
from chimera.schemas.settings import load
with opened(load().clickhouse):
    print(served(load().clickhouse))
"""
GOLDEN = Path(__file__).parents[1] / "schemas" / "golden" / "model_events_v1.jsonl"
EVENT = GOLDEN.read_bytes().splitlines()[0]
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
        "CHIMERA_CLICKHOUSE__HTTP_PORT": "0",
        "CHIMERA_CLICKHOUSE__INFERENCE_LOG_DAYS": "null",  # its rows are of one past day
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


def metrics(folder: Path) -> str:
    address = (folder / "clickhouse" / "http").read_text("utf-8")
    with urllib.request.urlopen(f"{address}/metrics", timeout=30) as answer:
        return str(answer.read().decode())


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


@pytest.mark.campaign
def test_segments_become_rows_once_through_kills(kafka: str, prefix: str, tmp_path: Path) -> None:
    env = environment(kafka, prefix, tmp_path)
    assert chimera(env, "topics", "sync", "--apply").returncode == 0
    topic, group = f"{prefix}inference.journal", f"{prefix}.warehouse"
    for life in range(3):
        produce(kafka, topic, range(life * 20, life * 20 + 20))
        with started(env, tmp_path) as process:
            until_committed(kafka, group, topic, life * 20 + 10)
            if life == 2:
                until_committed(kafka, group, topic, 60)
                served = chimera(env, "sql", COUNT, "--format", "json")  # over HTTP
                assert json.loads(served.stdout) == {"n": 600, "distinct": 600, "size": 600}
                shown = metrics(tmp_path)
                assert 'chimera_sink_lag_records{partition="0",table="inference_log"} 0.0' in shown
                assert "chimera_sink_visible_seconds_count" in shown
                second = chimera(env, "warehouse")  # one folder, one sink
                assert (second.returncode, str(process.pid) in second.stderr) == (70, True)
                process.send_signal(signal.SIGTERM)
                assert process.wait(30) == 0
    found = chimera(env, "sql", COUNT, "--format", "json")
    assert json.loads(found.stdout) == {"n": 600, "distinct": 600, "size": 600}
    assert starts(kafka, prefix) == ["warehouse"]  # of three, the first


def stopped(folder: Path) -> dict[str, float]:
    """By table."""
    found = re.findall(
        r'^chimera_sink_stopped\{table="(\w+)"\} (\S+)$', metrics(folder), re.MULTILINE
    )
    return {table: float(value) for table, value in found}


def status_of_stack_with(warehouse: int, env: dict[str, str], folder: Path) -> str:
    """Of a stack that has this process, and nothing else."""
    lock = locks.take(stack_state.lock_file(folder))
    assert lock is not None
    state = StackState(
        pid=os.getpid(),
        bootstrap=env["CHIMERA_KAFKA__BOOTSTRAP"],
        kafka_pid=None,
        postgres=None,
        postgres_pid=None,
        nodes=(),
        sequencer=None,
        warehouse=NodeState(warehouse, ready=True, restarts=0),
        trainer=None,
        ready=True,
    )
    state.write(folder)
    try:
        shown = chimera(env | {"CHIMERA_STACK__DIR": str(folder)}, "status")
    finally:
        os.close(lock)
    assert shown.returncode == 0, shown.stderr
    return shown.stdout


def test_table_that_cannot_go_on_stops_alone(kafka: str, prefix: str, tmp_path: Path) -> None:
    """Though it is met by who reads ahead: going on would lose rows in silence. Others lose none."""
    env = environment(kafka, prefix, tmp_path)
    assert chimera(env, "topics", "sync", "--apply").returncode == 0
    produce_values(kafka, f"{prefix}inference.journal", [b"no segment"])
    events = f"{prefix}models.events"
    with started(env, tmp_path) as process:
        until(lambda: stopped(tmp_path)["inference_log"] == 1)
        produce_values(kafka, events, [EVENT])
        until_committed(kafka, f"{prefix}.warehouse", events, 1)
        told = chimera(env, "sql", "SELECT event FROM model_log", "--format", "tsv")  # over HTTP
        assert told.stdout == "answered\n", told.stderr
        assert {table for table, value in stopped(tmp_path).items() if value} == {"inference_log"}
        assert "table  inference_log  stopped" in status_of_stack_with(process.pid, env, tmp_path)
        assert process.poll() is None
    with started(env, tmp_path):  # as long as nobody mends it
        until(lambda: stopped(tmp_path)["inference_log"] == 1)


async def take(kafka: str, group: str, topic: str) -> None:
    """The right to write one table, as another warehouse does."""
    settings = KafkaSettings(bootstrap=kafka, group=group)
    async with admin.connected(settings) as client, holding.held(client, settings, topic):
        pass


def test_warehouse_that_another_takes_over_from_ends(
    kafka: str, prefix: str, tmp_path: Path
) -> None:
    """Whole, to be started again: nothing is wrong with the table that is taken first."""
    env = environment(kafka, prefix, tmp_path)
    assert chimera(env, "topics", "sync", "--apply").returncode == 0
    events = f"{prefix}models.events"
    with started(env, tmp_path) as process:
        asyncio.run(take(kafka, prefix, events))
        produce_values(kafka, events, [EVENT])
        assert process.wait(60) == 70


def test_table_that_does_not_fit_what_was_decided_stops_alone(
    kafka: str, prefix: str, tmp_path: Path
) -> None:
    """Where it begins: others begin, and the warehouse is ready."""
    env = environment(kafka, prefix, tmp_path)
    assert chimera(env, "topics", "sync", "--apply").returncode == 0
    journal = f"{prefix}inference.journal"
    with started(env, tmp_path):
        for end in (5, 10):  # two batches: the one before the last had been inserted for certain
            produce(kafka, journal, range(end - 5, end))
            until_committed(kafka, f"{prefix}.warehouse", journal, end)
    subprocess.run([sys.executable, "-c", EMPTY, str(tmp_path)], check=True)
    with started(env, tmp_path):
        assert {table for table, value in stopped(tmp_path).items() if value} == {"inference_log"}


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (ClickHouseUnavailable("connection refused"), 70),
        (KafkaUnavailable("no broker"), 70),
        (Fenced("another one"), 70),
        (NodeNotReadyError(), 70),
        (HistoryConflict("rows are gone"), 1),
        (ClickHouseRefused("no such table"), 1),
    ],
)
def test_only_what_may_pass_is_started_again(error: Exception, status: int) -> None:
    with pytest.raises(typer.Exit) as ended, told("warehouse"), started_again():
        raise error
    assert ended.value.exit_code == status


def test_sql_changes_nothing_and_reads_no_file(tmp_path: Path) -> None:
    env = environment("localhost:1", "x", tmp_path)
    assert "chimera sql: " in chimera(env, "sql", "SELECT 1").stderr  # nothing was ever here
    subprocess.run([sys.executable, "-c", MIGRATE, str(tmp_path)], check=True)  # one engine each
    refused = chimera(env, "sql", "SELECT * FROM file('/etc/hostname', 'LineAsString')")
    assert (refused.returncode, refused.stdout) == (1, "")
    assert refused.stderr.startswith("chimera sql: ")
    found = chimera(
        env, "sql", "SELECT version, name FROM migrations ORDER BY 1", "--format", "tsv"
    )
    names = [f"{one.version}\t{one.name}\n" for one in warehouse_tables.MIGRATIONS]
    assert (found.returncode, found.stdout) == (0, "".join(names))


def test_killed_warehouse_answers_nobody(kafka: str, prefix: str, tmp_path: Path) -> None:
    """Its address is not believed, while the next one has the folder and does not serve yet."""
    env = environment(kafka, prefix, tmp_path)
    assert chimera(env, "topics", "sync", "--apply").returncode == 0
    with started(env, tmp_path):
        pass
    assert (tmp_path / "clickhouse" / "http").exists()
    command = [sys.executable, "-c", SERVED]
    found = subprocess.run(command, env=env, check=True, capture_output=True, text=True)
    assert found.stdout == "None\n"


@pytest.mark.skipif(not Path("/proc/net/if_inet6").exists(), reason="no IPv6 here")
def test_address_of_ipv6_is_asked(kafka: str, prefix: str, tmp_path: Path) -> None:
    env = environment(kafka, prefix, tmp_path) | {"CHIMERA_CLICKHOUSE__HTTP_HOST": "::1"}
    assert chimera(env, "topics", "sync", "--apply").returncode == 0
    with started(env, tmp_path):
        found = chimera(env, "sql", "SELECT 1", "--format", "tsv")
        assert found.stdout == "1\n", found.stderr
